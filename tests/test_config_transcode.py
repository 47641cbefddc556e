"""Renditions in the configuration."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from castd.config import load
from castd.errors import ConfigError


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "castd.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(("text", "words"), [
    ('[mounts."/a"]\ntranscode_from = "/a"', 'mounts."/a".transcode_from: goes round in a circle: /a -> /a'),
    (
        '[mounts."/a"]\ntranscode_from = "/b"\n[mounts."/b"]\ntranscode_from = "/a"',
        "goes round in a circle: /a -> /b -> /a",
    ),
    ('[mounts."/a"]\ntranscode_from = "/live"\ncodec = "vorbis"', 'codec = "vorbis": must be "aac" or "opus" or "mp3"'),
    ('[mounts."/a"]\ntranscode_from = "/live"\nbitrate = 64', "8,000 to 320,000 bit/s"),
    ('[mounts."/a"]\nbitrate = 64000', 'mounts."/a".bitrate: needs transcode_from'),
    ('[mounts.default]\ntranscode_from = "/live"', "mounts.default.transcode_from: must be set for a mount"),
    (
        '[mounts."/a"]\ntranscode_from = "/live"\n[[relays]]\nmount = "/a"\nurls = ["http://other.example/a"]',
        'mounts."/a".transcode_from: the mount is a relay already',
    ),
])  # fmt: skip
def test_what_cannot_be_made_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), {})
    assert words in str(caught.value)


def test_renditions_of_renditions(tmp_path: Path) -> None:
    file = write(
        tmp_path, '[mounts."/a"]\ntranscode_from = "/live"\n[mounts."/b"]\ntranscode_from = "/a"\ncodec = "mp3"\n'
    )
    config = load(file, {})
    assert (config.mount("/b").transcode_from, config.mount("/b").codec, config.mount("/b").bitrate) == (
        "/a",
        "mp3",
        64_000,
    )


def test_nothing_to_encode_with_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, '[mounts."/a"]\ntranscode_from = "/live"\n')
    load(file, {})
    assert "castd[transcode]" not in caplog.text
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert load(file, {}).mount("/a").transcode_from == "/live", "the rest of the server works"
    assert "no mount is transcoded without the package av: pip install 'castd[transcode]'" in caplog.text

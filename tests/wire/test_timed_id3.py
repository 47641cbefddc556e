"""Tags as others read them: by the letter of the standard, and by ffprobe."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castd.wire.text import one_line
from castd.wire.timed_id3 import tag

from .segments import frames_of, probe

TEXTS = st.text(max_size=300).map(one_line)


def synchsafe(size: bytes) -> int:
    assert all(byte < 0x80 for byte in size)
    return sum(byte << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))


def frames(data: bytes) -> dict[str, bytes]:
    """The frames of a tag of version 2.4 (https://id3.org/id3v2.4.0-structure §3, §4) that is all of `data`."""
    assert data[:6] == b"ID3\4\0\0"
    assert synchsafe(data[6:10]) == len(data) - 10
    found, at = {}, 10
    while at < len(data):
        size = synchsafe(data[at + 4 : at + 8])
        assert data[at + 8 : at + 10] == b"\0\0"
        name = data[at : at + 4].decode()
        assert name not in found
        found[name] = data[at + 10 : at + 10 + size]
        assert len(found[name]) == size
        at += 10 + size
    return found


@given(title=TEXTS, artist=TEXTS, album=TEXTS)
@settings(deadline=None)
def test_texts(title: str, artist: str, album: str) -> None:
    given = {"TIT2": title, "TPE1": artist, "TALB": album}
    expected = {name: b"\3" + text.encode() for name, text in given.items() if text}
    found = frames(tag(title, artist, album)) if expected else {}
    assert {name: data.removesuffix(b"\0") for name, data in found.items()} == expected


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://radio.example/now?x=1&y=%20#top", b"https://radio.example/now?x=1&y=%20#top"),
        ("http://radio.example/Stück 7", b"http://radio.example/St%C3%BCck%207"),
    ],
)
def test_url(url: str, told: bytes) -> None:
    assert frames(tag(url=url)) == {"WXXX": b"\3\0" + told + b"\0"}


@pytest.mark.needs("ffprobe")
def test_ffprobe_reads_it() -> None:
    data = tag("Straße, früh", "Ünïcode 東京", "LP") + frames_of("lc-44100-stereo.aac")
    told = probe(data, "-f", "aac", "-show_entries", "format_tags=title,artist,album")
    assert set(told.strip().split(",")) >= {"Ünïcode 東京", "LP"}
    assert "Straße, früh" in told

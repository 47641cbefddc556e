"""Content types of files."""

from __future__ import annotations

import pytest

from castd.http.media_types import media_type, plays


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/x.mp3", "audio/mpeg"),
        ("/x.MP3", "audio/mpeg"),
        ("/x.opus", "audio/ogg"),
        ("/x.flac", "audio/flac"),
        ("/x.m4a", "audio/mp4"),
        ("/x.html", "text/html; charset=utf-8"),
        ("/x.js", "text/javascript; charset=utf-8"),
        ("/x.svg", "image/svg+xml"),
        ("/x.json", "application/json"),
        ("/x.tar.gz", "application/octet-stream"),
        ("/x.mp3/noname", "application/octet-stream"),
        ("/x", "application/octet-stream"),
        ("/x.", "application/octet-stream"),
    ],
)
def test_media_type(name: str, expected: str) -> None:
    assert media_type(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("a.mp3", True), ("a.webm", True), ("a.m3u", False), ("a.pls", False), ("a.txt", False)]
)
def test_plays(name: str, expected: bool) -> None:
    assert plays(media_type(name)) is expected

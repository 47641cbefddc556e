"""Playlists: nothing in a name or a Host gets out of its place."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.wire.playlist import FORMATS, Track, web_url

XSPF = "{http://xspf.org/ns/0/}"

TRACK = Track("http://radio.test:8000/live.mp3", "Night & day", "One\nTwo <3", "https://radio.test/?a=1&b=2")

HOSTILE = '"><script>alert(1)</script>\r\nX-Injected: 1\r\n#EXTINF:\x00\u2028]]>\ud800\ufffe'


def test_m3u() -> None:
    write = FORMATS[".m3u"].write
    assert write([Track(TRACK.location)]) == b"http://radio.test:8000/live.mp3\r\n"  # capture B15
    assert write([TRACK]) == b"#EXTM3U\r\n#EXTINF:-1,Night & day\r\nhttp://radio.test:8000/live.mp3\r\n"


def test_pls() -> None:
    assert FORMATS[".pls"].write([TRACK, Track("https://b/")]).decode().split("\r\n") == [
        "[playlist]",
        "NumberOfEntries=2",
        "File1=http://radio.test:8000/live.mp3",
        "Title1=Night & day",
        "Length1=-1",
        "File2=https://b/",
        "Length2=-1",
        "Version=2",
        "",
    ]


def test_xspf() -> None:
    root = ElementTree.fromstring(FORMATS[".xspf"].write([TRACK]))
    assert (root.tag, root.attrib) == (f"{XSPF}playlist", {"version": "1"})
    (track,) = root.iter(f"{XSPF}track")
    assert [(field.tag.removeprefix(XSPF), field.text) for field in track] == [
        ("location", TRACK.location),
        ("title", TRACK.title),
        ("annotation", TRACK.annotation),
        ("info", TRACK.info),
    ]


def test_empty() -> None:
    assert FORMATS[".m3u"].write([]) == b""
    assert b"NumberOfEntries=0" in FORMATS[".pls"].write([])
    ElementTree.fromstring(FORMATS[".xspf"].write([]))


@pytest.mark.parametrize(
    "location", ["", "/live", "javascript:alert(1)", "http://", "http:///x", "#http://x/", "file:///etc"]
)
def test_only_web_urls(location: str) -> None:
    for form in FORMATS.values():
        with pytest.raises(ValueError, match="no absolute"):
            form.write([Track(location)])


def test_urls_are_encoded_once() -> None:
    assert web_url("http://h/caf%C3%A9 é?a=b") == "http://h/caf%C3%A9%20%C3%A9?a=b"


@given(st.text(max_size=50) | st.just(HOSTILE))
def test_nothing_gets_out_of_its_place(text: str) -> None:
    track = Track(f"http://radio.test/{text}", text, text, f"http://radio.test/{text}")
    m3u = FORMATS[".m3u"].write([track]).decode()
    lines = m3u.removesuffix("\r\n").split("\r\n")
    assert sum(not line.startswith("#") for line in lines) == 1
    assert all("\r" not in line and "\n" not in line for line in lines)
    assert lines[-1].isascii()
    assert not set(lines[-1]) & set('<>"\\ ')
    pls = FORMATS[".pls"].write([track]).decode().split("\r\n")
    assert [line.partition("=")[0] for line in pls if line not in ("", "[playlist]")] in (
        ["NumberOfEntries", "File1", "Title1", "Length1", "Version"],
        ["NumberOfEntries", "File1", "Length1", "Version"],
    )
    fields = next(ElementTree.fromstring(FORMATS[".xspf"].write([track])).iter(f"{XSPF}track"))
    assert all(len(field) == 0 for field in fields)
    assert fields[0].text == lines[-1]

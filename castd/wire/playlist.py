"""Playlists that send a player to a stream or a file: M3U, PLS, VCLT, XSPF version 1.

M3U and PLS have no standard; captures B15 and B19 show what Icecast writes, quirk 79 SHOUTcast's PLS. Both hold one
thing a line, so nothing written here contains a line break of its own; XSPF is XML and escaped as such.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote
from xml.sax.saxutils import escape

from castd.wire.text import one_line

WEB = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)

URL_CHARACTERS = "%:/?#[]@!$&'()*+,;=-._~"
"""What RFC 3986 §2 allows in a URL besides letters and digits."""


@dataclass(frozen=True, slots=True)
class Track:
    """One entry.

    Attributes:
        location: absolute URL, http or https.
        title: for people; "" leaves it out.
        annotation: more about it, in lines (XSPF only).
        info: URL of a page about it (XSPF only).
    """

    location: str
    title: str = ""
    annotation: str = ""
    info: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of playlist.

    Attributes:
        content_type: of the reply.
        write: the tracks as bytes; raises ValueError if a location is no web URL.
    """

    content_type: str
    write: Callable[[Sequence[Track]], bytes]


def write_m3u(tracks: Sequence[Track]) -> bytes:
    """M3U; with titles in its extended form, without them bare URLs as Icecast has them."""
    lines = ["#EXTM3U"] if any(track.title for track in tracks) else []
    for track in tracks:
        if title := one_line(track.title):
            lines.append(f"#EXTINF:-1,{title}")
        lines.append(web_url(track.location))
    return _lines(lines)


def write_pls(tracks: Sequence[Track]) -> bytes:
    """PLS, version 2."""
    lines = ["[playlist]", f"NumberOfEntries={len(tracks)}"]
    for number, track in enumerate(tracks, 1):
        lines.append(f"File{number}={web_url(track.location)}")
        if title := one_line(track.title):
            lines.append(f"Title{number}={title}")
        lines.append(f"Length{number}=-1")
    return _lines([*lines, "Version=2"])


def write_xspf(tracks: Sequence[Track]) -> bytes:
    """XSPF, https://xspf.org/spec."""
    entries = "".join(f"    <track>\n{_xspf_fields(track)}    </track>\n" for track in tracks)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<playlist version="1" xmlns="http://xspf.org/ns/0/">\n'
        f"  <trackList>\n{entries}  </trackList>\n"
        "</playlist>\n"
    ).encode()


def write_vclt(tracks: Sequence[Track]) -> bytes:
    """VCLT, as Icecast has it for vorbis tools (capture B20)."""
    lines = []
    for track in tracks:
        lines += [f"STREAMURL={web_url(track.location)}", f"SERVER_NAME={one_line(track.title)}", "=="]
    return "".join(f"{line}\n" for line in lines).encode()


FORMATS = {
    ".m3u": Format("audio/x-mpegurl", write_m3u),
    ".pls": Format("audio/x-scpls", write_pls),
    ".vclt": Format("audio/x-vclt; charset=utf-8", write_vclt),
    ".xspf": Format("application/xspf+xml; charset=utf-8", write_xspf),
}
"""Every kind, by what is appended to the path of a mount or file."""


def web_url(text: str) -> str:
    """A URL with everything percent-encoded that no URL holds: it cannot end a line, an attribute or an element.

    Raises:
        ValueError: it is no absolute http or https URL.
    """
    if not WEB.match(text):
        raise ValueError("no absolute http or https URL")
    return quote(text, safe=URL_CHARACTERS, errors="replace")


def _xspf_fields(track: Track) -> str:
    # the order is the schema's
    annotation = "\n".join(filter(None, map(one_line, track.annotation.splitlines())))
    fields = [
        ("location", web_url(track.location)),
        ("title", one_line(track.title)),
        ("annotation", annotation),
        ("info", web_url(track.info) if WEB.match(track.info) else ""),
    ]
    return "".join(f"      <{name}>{escape(value)}</{name}>\n" for name, value in fields if value)


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()

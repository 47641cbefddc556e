"""The few frames of an ID3v2 tag that castd asks for, taken out of it before mutagen reads them.

mutagen reads all frames, compares those of one kind with each other and unpacks compressed ones, without a bound: a tag
of a megabyte would keep a thread busy for hours, or become a gigabyte. So it is given a tag of few frames, whose texts
are short, and none of which is compressed or encrypted.

The layout is that of https://id3.org/id3v2-00 (version 2.2), id3v2.3.0 and id3v2.4.0-structure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

TEXTS = frozenset(b"TIT2 TPE1 TALB TCON TDRC TYER TDAT TIME TT2 TP1 TAL TCO TYE TDA TIM".split())
"""Title, artist, album, genre and time, in the versions from 2.3 on, and in 2.2."""

PICTURES = frozenset((b"APIC", b"PIC"))

SAME = {b"T": 1, b"A": 8, b"P": 8}
"""Frames kept of one name, by its first letter: there is one of each text, but several pictures."""

TEXT_BYTES = 16 * 1024
"""Of one text; longer ones are left out."""

_HEADER_BYTES = 10
_UNSYNCHRONISED, _EXTENDED = 0x80, 0x40  # of the tag's flags; unsynchronisation means frames, not the tag, in 2.4
_PACKED = {3: 0xC0, 4: 0x0C}  # of a frame's second byte of flags: compression and encryption
_NAME = re.compile(rb"[A-Z0-9]{3}[A-Z0-9\0]?")


class _Frame(NamedTuple):
    """Attributes:
    name: without the NUL of a name of 2.2 in a tag of 2.3.
    data: header and all.
    """

    name: bytes
    data: bytes
    packed: bool


def synchsafe(data: bytes) -> int:
    """A number of seven bits a byte (id3v2.4.0-structure §6.2)."""
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number


def written_synchsafe(number: int) -> bytes:
    """It, in the four bytes of a size."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def reduced(tag: bytes, names: Collection[bytes]) -> bytes:
    """A tag of the same version with nothing but frames of some names, as they were; b"" if this is no tag.

    Args:
        tag: as much of it as there is; frames that are not whole are left out. Untrusted.
        names: TEXTS or PICTURES.
    """
    if len(tag) < _HEADER_BYTES or not tag.startswith(b"ID3") or tag[3] not in (2, 3, 4):
        return b""
    version, flags = tag[3], tag[5]
    body = tag[_HEADER_BYTES : _HEADER_BYTES + synchsafe(tag[6:10])]
    if flags & _UNSYNCHRONISED and version < 4:
        body, flags = body.replace(b"\xff\0", b"\xff"), flags & ~_UNSYNCHRONISED
    at = 0
    if flags & _EXTENDED and version > 2:
        at = synchsafe(body[:4]) if version == 4 else 4 + int.from_bytes(body[:4], "big")
    kept: dict[bytes, list[bytes]] = {}
    for frame in _frames(body, at, version):
        same = kept.setdefault(frame.name, []) if frame.name in names else None
        if same is None or frame.packed or len(same) >= SAME[frame.name[:1]]:
            continue
        if frame.name not in TEXTS or len(frame.data) <= TEXT_BYTES:
            same.append(frame.data)
    frames = b"".join(data for same in kept.values() for data in same)
    return tag[:5] + bytes((flags & ~_EXTENDED,)) + written_synchsafe(len(frames)) + frames


def _frames(body: bytes, at: int, version: int) -> Iterator[_Frame]:
    """The frames of a tag, up to padding, damage or the end."""
    head, long = (6, 3) if version == 2 else (10, 4)
    while (match := _NAME.fullmatch(body, at, at + long)) and at + head <= len(body):
        size_bytes = body[at + long : at + 2 * long]
        size = int.from_bytes(size_bytes, "big")
        if version == 4 and max(size_bytes) < 0x80:
            spread = synchsafe(size_bytes)
            # iTunes wrote sizes of eight bits a byte: then a frame, or the end, stands where these say
            if spread == size or _ends(body, at + head + spread) or not _ends(body, at + head + size):
                size = spread
        end = at + head + size
        if end > len(body):
            return
        data = body[at:end]
        if version == 4:
            data = data[:4] + written_synchsafe(size) + data[8:]
        packed = version > 2 and bool(data[9] & _PACKED[version])
        if size:
            yield _Frame(match[0].rstrip(b"\0"), data, packed)
        at = end


def _ends(body: bytes, at: int) -> bool:
    """Whether a frame can end here."""
    return at == len(body) or bool(_NAME.fullmatch(body, at, at + 4)) or body[at : at + 4] == bytes(4)

"""Pictures that come with titles: found in Ogg comments, FLAC headers and ID3 tags, and recognised by their bytes.

What a stream says a picture is, is not believed: a page of another kind served from our address would be our page.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from mutagen.id3 import ID3

from castd.wire.id3_frames import PICTURES, reduced
from castd.wire.ogg_codecs import comment_block
from castd.wire.ogg_pages import Page, PageCutter

PICTURE_BYTES = 1024 * 1024
"""The largest picture taken from a stream: what a head of Ogg may hold (castd.wire.ogg_headers)."""

COMMENT_NAME = b"metadata_block_picture="
"""https://wiki.xiph.org/VorbisComment#Cover_art"""

FLAC_PICTURE = 6
"""The type of FLAC's metadata block (RFC 9639 §8.8)."""

FRONT_COVER = 3
"""RFC 9639 §8.8, table 13; ID3v2 has the same numbers."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture, true to its type.

    Attributes:
        data: the file.
        content_type: "image/jpeg", "image/png", "image/gif" or "image/webp".
    """

    data: bytes
    content_type: str


def recognise(data: bytes) -> Picture | None:
    """A picture of a kind that browsers show and that cannot hold a script; None for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return Picture(data, "image/jpeg")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return Picture(data, "image/png")
    if data.startswith((b"GIF87a", b"GIF89a")):
        return Picture(data, "image/gif")
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return Picture(data, "image/webp")
    return None


def in_ogg(codec: str, comment: bytes, headers: bytes) -> Picture | None:
    """The picture of an Ogg link.

    Args:
        codec, comment, headers: as castd.wire.framer.Head has them. Untrusted.
    """
    found = _in_comments(comment_block(codec, comment))
    if not found and codec == "flac":
        found = _in_flac_blocks(headers)
    found.sort(key=lambda pair: pair[0] != FRONT_COVER)
    return next((picture for _, data in found if (picture := recognise(data))), None)


def in_id3(tag: bytes) -> Picture | None:
    """The picture of an ID3v2 tag.

    Args:
        tag: all of it. Untrusted: mutagen reads it, so call this in a thread.
    """
    try:
        frames: Any = ID3(BytesIO(reduced(tag, PICTURES)), load_v1=False)  # type: ignore[no-untyped-call]
        pictures = sorted(frames.getall("APIC"), key=lambda each: int(each.type) != FRONT_COVER)
        found = [bytes(each.data) for each in pictures]
    except Exception:  # see castd.wire.tags
        return None
    return next((picture for data in found if len(data) <= PICTURE_BYTES and (picture := recognise(data))), None)


def _in_comments(block: bytes) -> list[tuple[int, bytes]]:
    """Kind and bytes of each picture in a Vorbis comment block."""
    found = []
    lowered, at = block.lower(), block.lower().find(COMMENT_NAME)
    while at >= 0:
        size = int.from_bytes(block[max(at - 4, 0) : at], "little")  # of the comment, which begins here
        after = lowered.find(COMMENT_NAME, at + 1)
        if after >= 0:  # no comment reaches over the name of another, which is no base64
            size = min(size, after - at)
        value = block[at + len(COMMENT_NAME) : at + size]
        at = after
        try:
            found += _block(base64.b64decode(value, validate=True))
        except binascii.Error:
            continue
    return found


def _in_flac_blocks(headers: bytes) -> list[tuple[int, bytes]]:
    """Likewise, of the metadata blocks in the header pages of FLAC in Ogg, of which each is a packet."""
    packets: list[bytearray] = []
    for page in map(Page.read, PageCutter().feed(headers)):
        pieces = page.packets()
        if page.continued and packets and pieces:
            packets[-1] += pieces.pop(0)
        packets += map(bytearray, pieces)
    # the first is the stream's own header; see castd.wire.ogg_codecs
    blocks = [bytes(each[4:]) for each in packets[1:] if each and each[0] & 0x7F == FLAC_PICTURE]
    return [pair for each in blocks for pair in _block(each)]


def _block(data: bytes) -> list[tuple[int, bytes]]:
    """Kind and bytes of a FLAC picture block (RFC 9639 §8.8), as a list of one; of none where it is broken."""

    def number(at: int) -> int:
        return int.from_bytes(data[at : at + 4], "big")

    at = 8 + number(4)  # behind the media type
    at += 4 + number(at) + 16  # the description, and four figures
    size = number(at)
    picture = data[at + 4 : at + 4 + size]
    return [(number(0), picture)] if size and len(picture) == size and size <= PICTURE_BYTES else []

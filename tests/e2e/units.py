"""Streams cut into frames or packets, strictly: judges of what a listener received, independent of castd's framers.

Each walk takes a stream from its first byte and returns its whole frames or packets in order; a last one that is cut
off is left out. A tag before the first frame (ID3v2, from ffmpeg) is passed over, and nothing else: AssertionError
names the place where anything but a frame, or a page, stands.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Walk = Callable[[bytes], list[bytes]]

# ISO/IEC 11172-3 §2.4.2.3, MPEG-1 Layer III by bitrate index (kbit/s) and by sampling frequency index (Hz).
MP3_KILOBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MP3_HERTZ = (44100, 48000, 32000)

# RFC 3533 §6, up to and with page_segments.
OGG_PAGE = struct.Struct("<4sBBqIIIB")
CONTINUED, BEGINS, ENDS = 1, 2, 4


def mp3_frames(data: bytes) -> list[bytes]:
    """The frames of MPEG-1 Layer III."""

    def size(at: int) -> int:
        header = int.from_bytes(data[at : at + 2])
        assert header & 0xFFFE == 0xFFFA, f"no frame at byte {at}: {header:04x}"
        kilobits, hertz = MP3_KILOBITS[data[at + 2] >> 4], MP3_HERTZ[data[at + 2] >> 2 & 3]
        return 144_000 * kilobits // hertz + (data[at + 2] >> 1 & 1)

    return list(_frames(data, size, header_bytes=4))


def adts_frames(data: bytes) -> list[bytes]:
    """The frames of ADTS (ISO/IEC 13818-7 §6.2)."""

    def size(at: int) -> int:
        header = int.from_bytes(data[at : at + 2])
        assert header & 0xFFF6 == 0xFFF0, f"no frame at byte {at}: {header:04x}"
        return (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5

    return list(_frames(data, size, header_bytes=7))


def _frames(data: bytes, size: Callable[[int], int], header_bytes: int) -> Iterator[bytes]:
    at = _id3_bytes(data)
    while at + header_bytes <= len(data) and at + size(at) <= len(data):
        yield data[at : at + size(at)]
        at += size(at)


def _id3_bytes(data: bytes) -> int:
    if data[:3] != b"ID3":
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))


@dataclass(frozen=True, slots=True)
class Page:
    """One Ogg page; `packets` are its pieces, the last of which goes on in the next page unless it is `complete`."""

    data: bytes
    flags: int
    granule: int
    serial: int
    packets: tuple[bytes, ...]
    complete: bool


def ogg_pages(data: bytes) -> Iterator[Page]:
    """The pages of an Ogg stream (RFC 3533 §6)."""
    at = 0
    while at + OGG_PAGE.size <= len(data):
        capture, version, flags, granule, serial, _, _, segments = OGG_PAGE.unpack_from(data, at)
        assert (capture, version) == (b"OggS", 0), f"no page at byte {at}: {data[at : at + 8]!r}"
        body = at + OGG_PAGE.size + segments
        lacing = data[at + OGG_PAGE.size : body]
        sizes = _packet_sizes(lacing)
        ends = list(itertools.accumulate(sizes, initial=body))
        if body > len(data) or ends[-1] > len(data):
            return
        pieces = tuple(data[start:end] for start, end in itertools.pairwise(ends))
        yield Page(data[at : ends[-1]], flags, granule, serial, pieces, complete=not lacing or lacing[-1] < 255)
        at = ends[-1]


def _packet_sizes(lacing: bytes) -> list[int]:
    """Values of 255 go on, a smaller one ends a packet."""
    sizes = [0]
    for value in lacing:
        sizes[-1] += value
        if value < 255:
            sizes.append(0)
    return sizes if lacing and lacing[-1] == 255 else sizes[:-1]


def ogg_packets(data: bytes) -> list[bytes]:
    """The packets of an Ogg stream of one link, without those of its headers, which ffmpeg writes anew when it copies.

    The stream has to begin as a decoder needs it: with the headers, then a packet from its start.
    """
    pages = ogg_pages(data)
    first = next(pages, None)
    assert first, "not one page was received"
    assert first.flags & BEGINS, "the stream does not begin with a page that says so"
    audio = itertools.dropwhile(lambda page: page.granule == 0, pages)  # header pages have none; audio is later than 0
    packets, piece, fresh = list[bytes](), b"", True
    for page in audio:
        assert page.serial == first.serial, "a second stream begins"
        assert not (fresh and page.flags & CONTINUED), "the audio begins within a packet"
        assert fresh or bool(page.flags & CONTINUED) == bool(piece), "the rest of a packet is missing"
        fresh = False
        for number, packet in enumerate(page.packets):
            piece += packet
            if page.complete or number < len(page.packets) - 1:
                packets.append(piece)
                piece = b""
    return [packet for packet in packets if packet]  # ffmpeg ends a FLAC stream with an empty one

"""Ogg pages, RFC 3533 §6: the page as a value, its checksum, and cutting pages out of a byte stream.

A page is believed only when its CRC is right. After a wrong one the search goes on just behind its capture pattern, so
that damage anywhere in a page, its lengths included, costs that page and no other.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

PAGE_BYTES = 27 + 255 + 255 * 255
"""The largest page there can be (RFC 3533 §6), 65,307 bytes; also all that a cutter keeps between two feeds."""

CONTINUED, BOS, EOS = 0x01, 0x02, 0x04
"""The bits of header_type_flag."""

NO_PACKET_ENDS = -1
"""The granule position of a page on which no packet ends."""

_CAPTURE = b"OggS"
_HEADER = struct.Struct("<4sBBqIIIB")
_CHECKSUM = slice(22, 26)

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

_RETRY_BYTES = 1024 * 1024
_RETRY_EARNED = 8
"""Pages nested in one another's bodies, every one with a wrong CRC, would make each byte be summed up a thousand times.
So failed checks are paid from a credit of this many bytes, and each byte of the stream earns this many more. Sixteen
of the largest pages may fail in a row before it runs out; then a failed page is stepped over whole."""


def checksum(page: bytes) -> int:
    """The CRC of a page, whatever its own CRC field says: polynomial 0x04c11db7, start 0, bits not reflected (§6, 7).

    zlib has this polynomial reflected. Reflecting each byte, and then its answer, turns the one into the other, and all
    of it runs in C.
    """
    crc = zlib.crc32(page[: _CHECKSUM.start].translate(_REVERSED), 0xFFFFFFFF)
    crc = zlib.crc32(bytes(4), crc)
    crc = zlib.crc32(page[_CHECKSUM.stop :].translate(_REVERSED), crc) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "big").translate(_REVERSED), "little")


@dataclass(frozen=True, slots=True)
class Page:
    """One page, its fields in the order of RFC 3533 §6; the constant ones and the checksum are left to write().

    Attributes:
        header_type: CONTINUED, BOS and EOS, or-ed.
        granule_position: of the last packet that ends here, in the codec's units, signed; NO_PACKET_ENDS if none does.
        serial: the logical stream this page belongs to.
        sequence: counts the pages of that stream.
        segment_table: the lacing values, at most 255.
        body: as many bytes as the lacing values add up to.
    """

    header_type: int
    granule_position: int
    serial: int
    sequence: int
    segment_table: bytes
    body: bytes

    @classmethod
    def read(cls, data: bytes) -> Page:
        """Take apart one whole page, such as PageCutter returns; its checksum is not looked at again."""
        _, _, header_type, granule_position, serial, sequence, _, segments = _HEADER.unpack_from(data)
        body = _HEADER.size + segments
        return cls(header_type, granule_position, serial, sequence, data[_HEADER.size : body], data[body:])

    def write(self) -> bytes:
        """The page's bytes, with the checksum they need."""
        segments = len(self.segment_table)
        fields = (_CAPTURE, 0, self.header_type, self.granule_position, self.serial, self.sequence)
        data = _HEADER.pack(*fields, 0, segments) + self.segment_table + self.body
        return _HEADER.pack(*fields, checksum(data), segments) + data[_HEADER.size :]

    @property
    def continued(self) -> bool:
        """Whether the first packet began on an earlier page."""
        return bool(self.header_type & CONTINUED)

    @property
    def bos(self) -> bool:
        return bool(self.header_type & BOS)

    @property
    def eos(self) -> bool:
        return bool(self.header_type & EOS)

    @property
    def unfinished(self) -> bool:
        """Whether the last packet goes on, on a later page (§5: a lacing value of 255 does not end a packet)."""
        return self.segment_table.endswith(b"\xff")

    def packets(self) -> list[bytes]:
        """The packets, or pieces of packets, on this page; see continued and unfinished."""
        packets, start, end = [], 0, 0
        for lacing in self.segment_table:
            end += lacing
            if lacing < 255:
                packets.append(self.body[start:end])
                start = end
        if self.unfinished:
            packets.append(self.body[start:])
        return packets


def ending(pages: bytes) -> bytes:
    """Empty last pages (§6: one "may be a nil page") for those logical streams among some pages that have not ended.

    Args:
        pages: whole ones, the last of their streams.
    """
    last: dict[int, Page] = {}
    granules: dict[int, int] = {}
    for page in map(Page.read, PageCutter().feed(pages)):
        last[page.serial] = page
        if page.granule_position != NO_PACKET_ENDS:
            granules[page.serial] = page.granule_position
    return b"".join(
        Page(EOS, granules.get(serial, NO_PACKET_ENDS), serial, (page.sequence + 1) & 0xFFFFFFFF, b"", b"").write()
        for serial, page in last.items()
        if not page.eos
    )


class PageCutter:
    """Cuts whole, undamaged pages out of a byte stream.

    Attributes:
        skipped_bytes: how many bytes were part of no such page so far.
    """

    def __init__(self) -> None:
        self.skipped_bytes = 0
        self._buffer = bytearray()
        self._offset = 0  # of the buffer's first byte in the stream
        self._credit = _RETRY_BYTES
        self._credited_to = 0  # the offset in the stream up to which bytes have earned their credit

    @property
    def unread(self) -> bytes:
        """What may be the beginning of a page."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream; return the pages they complete."""
        self._buffer += data
        return self._cut(ended=False)

    def finish(self) -> list[bytes]:
        """The stream has ended: return the pages behind one that never became whole."""
        return self._cut(ended=True)

    def _cut(self, *, ended: bool) -> list[bytes]:
        buffer, at, taken = self._buffer, 0, 0
        pages = []
        while (found := buffer.find(_CAPTURE, at)) >= 0:
            at = found
            size = self._page_size(at)
            if size > len(buffer) - at:
                if not ended:
                    break
                at += len(_CAPTURE)
                continue
            page = bytes(buffer[at : at + size])
            if page[4:5] == b"\0" and int.from_bytes(page[_CHECKSUM], "little") == checksum(page):
                pages.append(page)
                taken += size
                at += size
            else:
                at += len(_CAPTURE) if self._may_retry(at, size) else size
        else:
            # nothing left to look at but, perhaps, the beginning of a capture pattern
            at = len(buffer) if ended else max(at, len(buffer) - len(_CAPTURE) + 1)
        self.skipped_bytes += at - taken
        self._offset += at
        del buffer[:at]
        return pages

    def _page_size(self, at: int) -> int:
        """How long the page that begins here is, or more than there is while its header is incomplete."""
        header = at + _HEADER.size
        if len(self._buffer) < header:
            return _HEADER.size
        segments = self._buffer[header - 1]
        return _HEADER.size + segments + sum(self._buffer[header : header + segments])

    def _may_retry(self, at: int, size: int) -> bool:
        """Pay for the failed check of a page, and say whether its inside may be searched for pages."""
        earned = _RETRY_EARNED * (self._offset + at - self._credited_to)
        self._credited_to = self._offset + at
        self._credit = min(_RETRY_BYTES, self._credit + earned) - size
        return self._credit >= 0

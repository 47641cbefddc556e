"""Silent FLAC frames, RFC 9639: §8.2 for the stream information, §9 for frames."""

from __future__ import annotations

from castd.wire.bits import Bits
from castd.wire.unmakeable import Unmakeable

STREAM_INFO_BYTES = 34

_USUAL_BLOCK = 4096

_RATES = {
    88_200: 1, 176_400: 2, 192_000: 3, 8_000: 4, 16_000: 5, 22_050: 6, 24_000: 7, 32_000: 8, 44_100: 9, 48_000: 10,
    96_000: 11,
}  # fmt: skip
"""§9.1.2; of others the stream information tells, which is 0."""

_DEPTHS = {8: 1, 12: 2, 16: 4, 20: 5, 24: 6, 32: 7}
"""§9.1.4; likewise."""

_LONGEST_RICE = 14
"""A parameter of 15 would mean something else (§9.2.7.1)."""


class SilentFlac:
    """Frames for a stream.

    Args:
        stream_info: of that stream.
        bitrate: in bit/s; 0 for the shortest frames.

    Attributes:
        stream_info: of theirs: without lengths and checksum, which nobody knows of it.
        block_size: samples in each frame.
    """

    def __init__(self, stream_info: bytes, bitrate: int) -> None:
        if len(stream_info) != STREAM_INFO_BYTES:
            raise Unmakeable("is FLAC without stream information")
        shortest, longest = (int.from_bytes(stream_info[at : at + 2], "big") for at in (0, 2))
        if not 16 <= shortest <= longest:
            raise Unmakeable("is FLAC whose block sizes make no sense")
        self.stream_info = (
            stream_info[:4] + bytes(6) + stream_info[10:13] + bytes((stream_info[13] & 0xF0,)) + bytes(20)
        )
        self._varies = shortest < longest
        self.block_size = max(shortest, min(longest, _USUAL_BLOCK)) if self._varies else longest
        rate = int.from_bytes(stream_info[10:13], "big") >> 4
        self._channels = (stream_info[12] >> 1 & 7) + 1
        self._depth = ((stream_info[12] & 1) << 4 | stream_info[13] >> 4) + 1
        self._codes = 7 << 12 | _RATES.get(rate, 0) << 8 | (self._channels - 1) << 4 | _DEPTHS.get(self._depth, 0) << 1
        self._body = self._make_body(round(bitrate / rate / self._channels))
        # CRCs are linear: what the body makes of each bit of the header's is known once and for all
        self._body_crc = _crc(self._body, 16)
        self._carried = _carried(len(self._body))

    def _make_body(self, bits_per_sample: int) -> bytes:
        """A subframe for each channel: a constant (§9.2.3), or residuals of 0 to a prediction of 0 (§9.2.5, order 0),
        each a one bit and as many zeros as the Rice parameter says, in one partition (§9.2.7)."""
        body = Bits()
        for _ in range(self._channels):
            if bits_per_sample < 1:
                body.add(0, 8)
                body.add(0, self._depth)
                continue
            parameter = min(bits_per_sample - 1, _LONGEST_RICE)
            body.add(0b0001000 << 1, 8)
            body.add(0, 2 + 4)  # a parameter of four bits; 2**0 partitions
            body.add(parameter, 4)
            code = "1" + "0" * parameter
            body.add(int(code * self.block_size, 2), len(code) * self.block_size)
        return body.padded()

    def frame(self, number: int) -> bytes:
        """The frame of that number, counted from 0."""
        header = Bits()
        header.add(0b11111111111110 << 2 | int(self._varies), 16)
        header.add(self._codes, 16)
        first = number * self.block_size if self._varies else number
        data = header.padded() + _coded(first) + (self.block_size - 1).to_bytes(2, "big")
        data += bytes((_crc(data, 8),))
        head_crc, crc = _crc(data, 16), self._body_crc
        for bit, carried in enumerate(self._carried):
            if head_crc >> bit & 1:
                crc ^= carried
        return data + self._body + crc.to_bytes(2, "big")


def _coded(number: int) -> bytes:
    """A number of up to 36 bits, in the way of UTF-8 (§9.1.5)."""
    if number < 0x80:
        return bytes((number,))
    tail = bytearray()
    while number >= 1 << (6 - len(tail)):
        tail.insert(0, 0x80 | number & 0x3F)
        number >>= 6
    return bytes(((0xFF00 >> len(tail) + 1) & 0xFF | number,)) + bytes(tail)


def _table(width: int, polynomial: int) -> tuple[int, ...]:
    top, mask = 1 << width - 1, (1 << width) - 1
    table = []
    for byte in range(256):
        crc = byte << width - 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc & top else 0)
        table.append(crc & mask)
    return tuple(table)


_TABLES = {8: _table(8, 0x07), 16: _table(16, 0x8005)}


def _crc(data: bytes, width: int, start: int = 0) -> int:
    """§9.1.8 (8 bits) and §9.3 (16): from 0, bits not reflected."""
    table, crc, mask = _TABLES[width], start, (1 << width) - 1
    for byte in data:
        crc = crc << 8 & mask ^ table[crc >> width - 8 ^ byte]
    return crc


def _carried(count: int) -> list[int]:
    """What each bit of a CRC of 16 bits has become behind so many bytes of zeros: one byte's map, by repeated squaring.

    A body has up to a megabyte, and a turn of the loop for each byte of it is long enough once.
    """
    power = [_crc(b"\0", 16, 1 << bit) for bit in range(16)]
    carried = [1 << bit for bit in range(16)]
    while count:
        if count & 1:
            carried = [_mapped(each, power) for each in carried]
        power = [_mapped(each, power) for each in power]
        count >>= 1
    return carried


def _mapped(crc: int, bits: list[int]) -> int:
    """The sum of what the bits of a CRC become."""
    total = 0
    for bit, becomes in enumerate(bits):
        if crc >> bit & 1:
            total ^= becomes
    return total

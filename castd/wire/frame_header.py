"""What a frame header says, and what the bytes around it say about whether it is right.

These are judgements on bytes, without state; castd.wire.frame_sync, which acts on them, tells the strategy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from castd.wire.frame_tags import tag_bytes

_FALSE_SYNCS = 8
"""Sync words looked at in one payload. Seldom is there one; a payload full of them must not take the server's time."""


class Header(NamedTuple):
    """What a frame header says.

    Attributes:
        kind: the first 32 bits under KIND_MASK; equal for all frames of one stream.
        length: of the whole frame, in bytes.
        ticks: duration, in 1/TICKS_PER_SECOND s.
        sample_rate: in Hz.
        channels: 0 if the header does not say.
        bitrate: of this frame, in bit/s; never 0.
    """

    kind: int
    length: int
    ticks: int
    sample_rate: int
    channels: int
    bitrate: int


class FrameFormat(ABC):
    """A format whose frames begin with a header that gives their length.

    The methods speak of data[at:], and of `stop`: where a chain of frames or the end of the stream is known to stand,
    which no frame reaches over.
    """

    HEADER_BYTES: ClassVar[int]
    """What read_header looks at; at least 4."""
    KIND_MASK: ClassVar[int]
    """The bits of the first 32 that do not change within a stream."""
    STEADY_MASK: ClassVar[int]
    """The bits of the first 32 that encoders do not change within a stream, although they might."""
    MAX_FRAME_BYTES: ClassVar[int]
    """The longest frame a header can announce. The buffer holds up to five of these beyond what one feed brings: a gap
    (3) and the chain after it (2)."""

    @abstractmethod
    def read_header(self, data: bytes | bytearray, at: int) -> Header | None:
        """The header in the HEADER_BYTES at `at`; None if no frame can begin like this."""

    def agree(self, data: bytearray, at: int, other: int) -> bool:
        """Whether the headers at these places are alike in all that encoders leave alone."""
        return not (_word(data, at) ^ _word(data, other)) & self.STEADY_MASK

    def ends_well(self, data: bytearray, at: int, header: Header, stop: int) -> bool:
        """Whether there is something at the end of this frame to show that its length is right."""
        end = at + header.length
        return self.begins(data, end, header.kind, stop) or self.begins_damaged(data, end, at, stop)

    def begins(self, data: bytearray, at: int, kind: int, stop: int) -> bool:
        """Whether a frame of this kind or a tag begins here, or `stop` is here."""
        if at >= stop:
            return at == stop
        rest = len(data) - at
        if rest < self.HEADER_BYTES:  # the end of the stream, in the middle of a header
            seen = ~0 << 8 * max(0, 4 - rest)
            return not (_word(data, at) ^ kind) & self.KIND_MASK & seen
        header = self.read_header(data, at)
        return (header is not None and header.kind == kind) or tag_bytes(data, at) > 0

    def begins_damaged(self, data: bytearray, at: int, other: int, stop: int) -> bool:
        """Whether a header like the one at `other`, or a tag, stands here with one wrong byte, it seems."""
        if at + self.HEADER_BYTES > min(stop, len(data)):
            return False
        word, like = _word(data, at), _word(data, other)
        wrong = (word ^ like) & self.STEADY_MASK
        if wrong in (wrong & 0x0000_FF00, wrong & 0x0000_00FF):
            return True  # all of the sync word is right, so the length may be what is not
        # Of the sync word too little is left to be evidence, but then the length is right and must lead somewhere.
        kind = like & self.KIND_MASK
        if wrong in (wrong & 0xFF00_0000, wrong & 0x00FF_0000):
            mended = (word ^ wrong).to_bytes(4, "big") + data[at + 4 : at + self.HEADER_BYTES]
            header = self.read_header(mended, 0)
            return header is not None and self.begins(data, at + header.length, kind, stop)
        size = tag_bytes(data, at, damaged=1)
        return 0 < size <= self.MAX_FRAME_BYTES and self.begins(data, at + size, kind, stop)

    def swallows(self, data: bytearray, at: int, header: Header) -> bool:
        """Whether there are frames in this one that end where it ends, its length being damaged to the sum of theirs.

        At 48 kHz all lengths of a layer are multiples of one, and one damaged bit makes 128 kbit/s 256: no rare case.
        About one sound frame in 40 million looks like this by chance, so do not ask while the bitrate never changed.
        """
        end = at + header.length
        sync, inner = data[at : at + 2], at
        for _ in range(_FALSE_SYNCS):
            inner = data.find(sync, inner + 1, end)
            if inner < 0:
                break
            follower = inner
            while follower + self.HEADER_BYTES <= end and self.agree(data, at, follower):
                if (swallowed := self.read_header(data, follower)) is None:
                    break
                follower += swallowed.length
            if follower > inner and self.begins(data, follower, header.kind, end):
                return True
        return False


def _word(data: bytearray, at: int) -> int:
    """32 bits, filled up with zeros at the end of the data."""
    return int.from_bytes(data[at : at + 4].ljust(4, b"\0"), "big")

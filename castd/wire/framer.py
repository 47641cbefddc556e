"""What every framer takes and gives.

A framer is fed an encoder's bytes as they come and returns **runs**: whole frames or whole pages, never a piece of one,
with their media time and the places at which a decoder may start. It resynchronises on noise instead of raising, counts
what it skipped, and keeps a bounded buffer.

Media time is in seconds since the first frame this framer returned. It is computed from an integer count of samples at
each point, never by adding up seconds, so that it stays within a small part of one sample for as long as a stream runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

RUN_BYTES = 16 * 1024
"""Frames are joined into runs of at most this many bytes (a single larger frame or Ogg page is a run of its own; the
largest is an Ogg page, 65,307 bytes), so that a run always fits the smallest ring."""

ENTRY_SECONDS = 0.1
"""Entries are marked at least this far apart: finer ones would only fill the timeline."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A place where a decoder may start (given the head in force, where the format has one).

    Attributes:
        offset: bytes from the start of the run.
        time: media time of the first sample decoded from there, in seconds.
    """

    offset: int
    time: float


@dataclass(frozen=True, slots=True)
class Head:
    """Header bytes a decoder must be given before it can start at an entry; one for each link of an Ogg stream.

    Attributes:
        data: the header pages, whole, as the source sent them.
        codec: of the first audio stream: "vorbis", "opus", "flac", "speex" or "unknown".
        sample_rate: in Hz, 0 if unknown.
        channels: 0 if unknown.
        comment: the comment header packet of that stream, b"" if it has none. Untrusted.
        unchained: serial number of the stream that several links were made into; None if they were not. Heads that
            have it equal are of one stream, and who has had one needs no other.
    """

    data: bytes
    codec: str
    sample_rate: int
    channels: int
    comment: bytes
    unchained: int | None = None

    def needed_after(self, other: Head | None) -> bool:
        """Whether a decoder that has had the other one must be given this."""
        return self is not other and (other is None or self.unchained is None or self.unchained != other.unchained)


@dataclass(frozen=True, slots=True)
class Run:
    """Whole frames or pages, ready for the ring.

    Attributes:
        data: the bytes.
        start: media time in seconds at the first byte; None where the format is not understood and has no time.
        end: media time in seconds after the last byte; None likewise.
        entries: in order of offset.
        head: the headers completed by the last byte of this run; they are in force from its end on.
        tag: an ID3v2 tag that the source sent before or between these frames; b"" for none. Untrusted.
    """

    data: bytes
    start: float | None
    end: float | None
    entries: tuple[Entry, ...] = ()
    head: Head | None = None
    tag: bytes = b""


class Framer(Protocol):
    """Cuts one source's byte stream into runs; never raises on noise.

    Attributes:
        skipped_bytes: bytes that were no part of a frame so far: noise, tags, damaged frames.
        tag_bytes: those of them that were recognised tags (ID3, Xing); the rest is damage.
        codec: as in Head.codec, or "mp3", "mp2", "mp1", "aac"; "unknown" until frames or headers told.
        sample_rate: in Hz, 0 likewise.
        unread: bytes that wait for others, at the end of what was fed: another framer could go on with them.
    """

    @property
    def codec(self) -> str: ...

    @property
    def sample_rate(self) -> int: ...

    @property
    def skipped_bytes(self) -> int: ...

    @property
    def tag_bytes(self) -> int: ...

    @property
    def unread(self) -> bytes: ...

    def feed(self, data: bytes) -> list[Run]:
        """Take the next bytes of the stream.

        Args:
            data: any number of bytes, cut anywhere.

        Returns:
            The runs these bytes complete, in order.

        Raises:
            FramingError: the stream exceeds a bound (the encoder's fault), for instance endless headers.
        """
        ...

    def finish(self) -> list[Run]:
        """The source has ended: return what was complete but still waited for confirmation. Call once."""
        ...


class Headed:
    """What a framer knows of streams that begin with headers.

    Attributes:
        head: the headers in force; None before there are any.
    """

    head: Head | None = None

    @property
    def codec(self) -> str:
        return self.head.codec if self.head else "unknown"

    @property
    def sample_rate(self) -> int:
        return self.head.sample_rate if self.head else 0

    @property
    def channels(self) -> int:
        return self.head.channels if self.head else 0


class Opaque:
    """A framer for types castd does not understand: bytes pass as they come, an entry at every run, no media time."""

    codec = "unknown"
    sample_rate = 0
    skipped_bytes = 0
    tag_bytes = 0
    unread = b""

    def feed(self, data: bytes) -> list[Run]:
        return [Run(data[at : at + RUN_BYTES], None, None, (Entry(0, 0.0),)) for at in range(0, len(data), RUN_BYTES)]

    def finish(self) -> list[Run]:
        return []

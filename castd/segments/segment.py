"""What a mount's audio is cut into for HLS and DASH: periods, segments, parts; and what their files are called.

Media time is counted in samples of the period's track, from 1970 on, as wall time is: so what was on the air at one
moment has the same time at every mount, and players can go from one to the other. A name stands for the same bytes for
ever: it holds the session of the segmenter that made them, and a number within it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from castd.wire.packets import Track  # noqa: TC001 - msgspec reads the annotations of periods

FILE = re.compile(
    r"(?P<session>[0-9a-f]{16})-(?P<number>[0-9]{1,18})(\.(?P<part>[0-9]{1,6})|t(?P<time>[0-9]{1,18}))?"
    r"\.(?P<kind>m4s|mp4|ts)"
)
"""Names of files: an initialisation segment's number is its period's, and so is that of one called by its time."""

MP4_TYPE, TS_TYPE = "audio/mp4", "video/mp2t"
"""RFC 4337; RFC 3555 §4.1.12, the one name there is for MPEG-TS, sound alone or not."""


@dataclass(frozen=True, slots=True, eq=False)
class Period:
    """Audio of one decoder set-up, without a gap.

    Attributes:
        number: discontinuities before it.
        track: of its packets.
        init: the initialisation segment; b"" where there is none, in MPEG-TS.
        start: media time of its first sample, in samples of the track.
        origin: what is added to the times on the mount's timeline, in seconds.
    """

    number: int
    track: Track
    init: bytes
    start: int
    origin: float

    def seconds(self, samples: int) -> float:
        """A number of samples as seconds."""
        return samples / self.track.sample_rate

    def wall(self, time: int) -> float:
        """The wall time of a media time in samples."""
        return time / self.track.sample_rate


class Part(NamedTuple):
    """A part of a segment, as a file.

    Attributes:
        start: media time in samples of the track.
        samples: its duration.
        data: the bytes; of a segment that is complete, a part of its own.
    """

    start: int
    samples: int
    data: bytes | memoryview


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a segment's bytes lie in a spool; see castd.segments.spool.

    Attributes:
        position: of the first.
        size: in bytes.
        checksum: CRC-32 of them.
    """

    position: int
    size: int
    checksum: int


@dataclass(slots=True, eq=False)
class Segment:
    """A segment: its parts, one behind the other.

    Attributes:
        number: its media sequence number.
        start: media time in samples of the track.
        parts: those that are complete; none any more where its bytes lie in a spool.
        complete: there come no more.
        position: in the ring, up to which its audio reaches.
        kept_until: monotonic time at which nobody may ask for it any more; None while it is listed.
        samples: its duration, as far as it is complete.
        size: in bytes.
        place: in the spool; None while they are in memory.
        data: the whole file, of one that is complete and in memory; one copy for all who are sent it.
    """

    number: int
    period: Period
    start: int
    parts: list[Part] = field(default_factory=list)
    complete: bool = False
    position: int = 0
    kept_until: float | None = None
    samples: int = 0
    size: int = 0
    place: Place | None = None
    data: bytes = b""

    def add(self, part: Part) -> None:
        """It has a part more."""
        self.parts.append(part)
        self.samples += part.samples
        self.size += len(part.data)

    def finish(self) -> None:
        """There come no more parts."""
        self.complete = True
        self.data = b"".join(part.data for part in self.parts)
        view, at = memoryview(self.data), 0
        for number, part in enumerate(self.parts):
            size = len(part.data)
            self.parts[number] = part._replace(data=view[at : at + size])
            at += size

    def put_by(self, place: Place) -> None:
        """Its bytes lie in a spool now."""
        self.place, self.parts, self.data = place, [], b""

    @property
    def end(self) -> int:
        """Media time in samples behind its last, as far as it is complete."""
        return self.start + self.samples

    @property
    def seconds(self) -> float:
        """Its duration, as far as it is complete."""
        return self.period.seconds(self.samples)

    @property
    def wall(self) -> float:
        """Wall time of its first sample."""
        return self.period.wall(self.start)


def init_name(session: str, period: int) -> str:
    """Of a period's initialisation segment."""
    return f"{session}-{period}.mp4"


def timed_name(session: str, period: int) -> str:
    """Of a period's MP4 segments by their time, as DASH has it (ISO/IEC 23009-1 §5.3.9.4.4).

    ffmpeg 5.1 loses count of segments by number when the first of a manifest goes.
    """
    return f"{session}-{period}t$Time$.m4s"


def segment_name(session: str, number: int, kind: str) -> str:
    """Of a segment.

    Args:
        kind: "m4s" or "ts".
    """
    return f"{session}-{number}.{kind}"


def part_name(session: str, number: int, part: int) -> str:
    """Of a part of an MP4 segment."""
    return f"{session}-{number}.{part}.m4s"

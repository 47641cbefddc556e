"""How long segments, parts and playlists are, and where a wall time lies among them: what is cut by the same lengths is
cut at the same moments, whoever cuts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from castd.config import MountSettings

LONGEST_PACKET = 0.125
"""Seconds by which a segment may be longer than asked for; an Opus packet has 0.12."""


class Lengths(NamedTuple):
    """In seconds.

    Attributes:
        segment, part: at which they are cut, give or take a packet.
        window: of a playlist in memory.
    """

    segment: float
    part: float
    window: float

    @classmethod
    def of(cls, settings: MountSettings) -> Lengths:
        """Those of a mount."""
        return cls(settings.hls_segment_seconds, settings.hls_part_seconds, settings.hls_window_seconds)

    @property
    def target(self) -> int:
        """EXT-X-TARGETDURATION."""
        return round(self.segment + LONGEST_PACKET)

    @property
    def first(self) -> float:
        """Of audio that is read at the beginning, where the ring has it."""
        return self.window + self.segment

    def cell(self, wall: float) -> tuple[int, int]:
        """Which segment of all time, and which part of it, a wall time belongs to."""
        segment = int(wall // self.segment)
        return segment, int((wall - segment * self.segment) // self.part)

    def end_of(self, start: float) -> float:
        """The wall time at which a segment that begins at another one ends: the next multiple of its length. If that is
        near, in the middle of it and the one after it: of DASH, ffmpeg takes two that begin within a second for one."""
        end = (start // self.segment + 1) * self.segment
        return end if end - start >= self.segment / 2 else end + self.segment / 2

"""A segmenter as another process can go on with it: with the bytes of its segments, for which their names stand for
ever. Monotonic times are of the process that tells them."""

from __future__ import annotations

import msgspec

from castd.delivery.muxers import Kind
from castd.delivery.segments import Part, Period
from castd.delivery.title_marks import TitleMark
from castd.wire.packets import Packet


class SegmentState(msgspec.Struct):
    """See castd.delivery.segments.Segment.

    Attributes:
        period: its place among those told beside.
    """

    number: int
    period: int
    start: int
    parts: list[Part]
    complete: bool
    position: int
    kept_until: float | None


class SegmenterState(msgspec.Struct):
    """See castd.delivery.segmenter.Segmenter.

    Attributes:
        muxer: the state of it.
        period: the place of the one that goes on; None if none does.
        time: media time of the next packet, in samples.
        pending: packets of the part that is being made, from `pending_start` on.
        origin: see castd.delivery.segments.Period; None where media time counted from the beginning of the mount, as it
            once did: nobody can go on with that.
    """

    session: str
    kind: Kind
    muxer: tuple[int, ...]
    segment_seconds: float
    part_seconds: float
    window_seconds: float
    part_target: float
    low_latency: bool
    position: int
    splices_from: int
    listed: int
    periods: list[Period]
    segments: list[SegmentState]
    titles: list[TitleMark]
    period: int | None
    time: int
    pending: list[Packet]
    pending_start: int
    origin: float | None = None

    def later(self, seconds: float) -> None:
        """Have all monotonic times so much later."""
        for each in self.segments:
            if each.kept_until is not None:
                each.kept_until += seconds

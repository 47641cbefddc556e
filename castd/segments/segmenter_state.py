"""A segmenter as another process can go on with it: with the bytes of its segments, for which their names stand for
ever. Monotonic times are of the process that tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from castd.segments.lengths import Lengths
from castd.segments.muxers import Kind, muxer_of
from castd.segments.segment import Part, Period, Place, Segment
from castd.segments.segmenter import Segmenter
from castd.segments.spool import SpoolState
from castd.segments.title_marks import TitleMark, TitleMarks
from castd.segments.unison import Stretch
from castd.wire.packets import Packet

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.segments.spool import Spool


class PartState(NamedTuple):
    """See castd.segments.segment.Part. What is told is any bytes, and what is read is bytes."""

    start: int
    samples: int
    data: Any


class SegmentState(msgspec.Struct):
    """See castd.segments.segment.Segment.

    Attributes:
        period: its place among those told beside.
        samples, size: of one whose bytes lie in a spool; else its parts tell.
    """

    number: int
    period: int
    start: int
    parts: list[PartState]
    complete: bool
    position: int
    kept_until: float | None
    samples: int = 0
    size: int = 0
    place: Place | None = None

    @classmethod
    def of(cls, segment: Segment, periods: dict[Period, int]) -> SegmentState:
        """What there is of a segment."""
        return cls(
            segment.number, periods[segment.period], segment.start,
            [PartState(each.start, each.samples, each.data) for each in segment.parts], segment.complete,
            segment.position, segment.kept_until, segment.samples, segment.size, segment.place,
        )  # fmt: skip

    def segment(self, periods: list[Period]) -> Segment:
        """The segment, as it was."""
        made = Segment(
            self.number, periods[self.period], self.start, [], self.complete, self.position, self.kept_until,
            self.samples if self.place else 0, self.size if self.place else 0, self.place,
        )  # fmt: skip
        for part in self.parts:
            made.add(Part(*part))
        if self.complete:
            made.finish()
        return made


class SegmenterState(msgspec.Struct):
    """See castd.segments.segmenter.Segmenter.

    Attributes:
        muxer: the state of it.
        period: the place of the one that goes on; None if none does.
        time: media time of the next packet, in samples.
        pending: packets of the part that is being made, from `pending_start` on.
        origin: see castd.segments.segment.Period; None where media time counted from the beginning of the mount, as it
            once did: nobody can go on with that.
        spool: its file goes beside the ring's.
        spool_bytes: that it may have.
        stretches, watched: see castd.segments.unison.Unison.
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
    back_seconds: float = 0.0
    spool: SpoolState | None = None
    spool_bytes: int = 0
    joined: int = 0
    stretches: list[Stretch] = msgspec.field(default_factory=list)
    watched: bool = False

    @classmethod
    def of(cls, segmenter: Segmenter) -> SegmenterState | None:
        """All of a segmenter; None if there is nothing yet."""
        held, reading, clock, cutter = segmenter.held, segmenter.reading, segmenter.clock, segmenter.cutter
        spool, unison, lengths = held.spool, segmenter.unison, segmenter.lengths
        if cutter.muxer is None or reading.position is None or not held or segmenter.fills:
            return None
        periods = {each: at for at, each in enumerate(dict.fromkeys(each.period for each in held))}
        return cls(
            session=segmenter.session,
            kind=cutter.muxer.kind,
            muxer=tuple(cutter.muxer.state),
            segment_seconds=lengths.segment,
            part_seconds=lengths.part,
            window_seconds=lengths.window,
            part_target=cutter.part_target,
            low_latency=cutter.low_latency,
            position=reading.position,
            splices_from=reading.splices_from,
            listed=held.first,
            periods=list(periods),
            segments=[SegmentState.of(each, periods) for each in held],
            titles=cutter.titles.told,
            period=periods.get(segmenter.period) if segmenter.period is not None else None,
            time=clock.time,
            pending=cutter.pending,
            pending_start=cutter.pending_start,
            origin=clock.origin,
            back_seconds=held.back_seconds,
            spool=spool.state() if spool is not None else None,
            spool_bytes=held.spool_bytes,
            joined=segmenter.joined,
            stretches=list(unison.stretches) if unison is not None else [],
            watched=unison is not None and unison.watched,
        )

    def segmenter(self, mount: Mount, spool: Spool | None = None) -> Segmenter:
        """The segmenter, as it was; its media time counts from 1970.

        Args:
            spool: of `spool`; owned from now on.
        """
        lengths = Lengths(self.segment_seconds, self.part_seconds, self.window_seconds)
        made = Segmenter(mount, lengths=lengths)
        held, reading, clock, cutter = made.held, made.reading, made.clock, made.cutter
        made.session, made.joined = self.session, self.joined
        held.go_on_with((each.segment(self.periods) for each in self.segments), self.listed, spool)
        held.allow(self.back_seconds, self.spool_bytes)
        reading.position, reading.splices_from = self.position, self.splices_from
        clock.time, clock.origin = self.time, self.origin or 0.0
        cutter.muxer = muxer_of(self.kind, self.muxer)
        cutter.titles = TitleMarks(self.titles)
        cutter.part_target, cutter.low_latency = self.part_target, self.low_latency
        cutter.go_on(self.pending, self.pending_start)
        if self.period is not None:
            made.period = self.periods[self.period]
            reading.goes_on = clock.on_grid = True
        return made

    def later(self, seconds: float) -> None:
        """Have all monotonic times so much later."""
        for each in self.segments:
            if each.kept_until is not None:
                each.kept_until += seconds

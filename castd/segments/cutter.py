"""Packets to parts and segments, at the moments where these are cut, with the titles heard in them."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from castd.segments.arrivals import come_finely
from castd.segments.segment import Part, Segment
from castd.segments.title_marks import TitleMarks
from castd.wire.timed_id3 import Event

if TYPE_CHECKING:
    from castd.mount.timeline import Timeline
    from castd.segments.held import Held
    from castd.segments.lengths import Lengths
    from castd.segments.muxers import Muxer
    from castd.segments.segment import Period
    from castd.wire.packets import Packet


class Cutter:
    """See the module.

    Args:
        timeline: of the mount, where its titles are.
        held: takes the segments.

    Attributes:
        muxer: of the files; None before the first track is known.
        titles: those told.
        part_target: seconds, of the longest part; 0 before the first packet.
        low_latency: audio comes finely enough for parts to be worth asking for.
        pending: packets of the part that is being made.
        pending_start: media time of the first of them, in samples.
        made: parts, so far.
    """

    def __init__(self, timeline: Timeline, lengths: Lengths, held: Held) -> None:
        self._timeline = timeline
        self._lengths = lengths
        self._held = held
        self.muxer: Muxer | None = None
        self.titles = TitleMarks()
        self.part_target = 0.0
        self.low_latency = False
        self.pending: list[Packet] = []
        self.pending_start = 0
        self.made = 0
        self._segment_end = 0.0  # wall time

    def go_on(self, pending: list[Packet], pending_start: int) -> None:
        """Go on with the part and the segment that another process began."""
        self.pending, self.pending_start = pending, pending_start
        if (segment := self._held.open) is not None:
            self._segment_end = self._lengths.end_of(segment.wall)

    def begin_session(self) -> None:
        """What was made is forgotten, and so is how."""
        self._held.clear()
        self.titles = TitleMarks()
        self.part_target = 0.0

    def take(self, period: Period, time: int, packet: Packet) -> bool:
        """Put a packet into the part that is being made.

        Args:
            time: its media time, in samples.

        Returns:
            Whether the segment ends behind it.
        """
        if self._held.open is None:
            self._open_segment(period, time)
        after = time + packet.samples
        if not self.part_target:
            self.part_target = ceil((self._lengths.part + period.seconds(packet.samples)) * 1000) / 1000
        if self._has_parts and period.seconds(after - self.pending_start) > self.part_target:
            self._close_part()  # packets became longer
        if not self.pending:
            self.pending_start = time
        self.pending.append(packet)
        wall = period.wall(after)
        if wall >= self._segment_end:
            return True
        if self._has_parts and self._lengths.cell(wall) != self._lengths.cell(period.wall(self.pending_start)):
            self._close_part()
        return False

    def close_segment(self, position: int) -> Segment | None:
        """Complete the segment that is being made.

        Args:
            position: in the ring, up to which was read.

        Returns:
            The segment; None if there is none.
        """
        self._close_part()
        segment = self._held.open
        if segment is None:
            return None
        segment.position = position
        self._held.complete()
        self.titles.forget(self._held.listed_from)
        finest = self._lengths.part * (1.5 if self.low_latency else 1.0)  # so that it does not come and go
        self.low_latency = self._has_parts and come_finely(self._timeline, finest)
        return segment

    @property
    def _has_parts(self) -> bool:
        return self.muxer is not None and self.muxer.parts

    def _open_segment(self, period: Period, time: int) -> None:
        held, wall = self._held, period.wall(time)
        number = held[-1].number + 1 if held else self._lengths.cell(wall)[0]
        held.begin(Segment(number, period, time))
        self._segment_end = self._lengths.end_of(wall)

    def _close_part(self) -> None:
        segment = self._held.open
        if segment is None or not self.pending or self.muxer is None:
            return
        period, first = segment.period, self.pending_start
        after = first + sum(each.samples for each in self.pending)
        start, end = period.wall(first), period.wall(after)
        new = self.titles.gather(self._timeline, start, end, period.origin)
        if not segment.parts and (before := self.titles.at(start)) is not None and before not in new:
            new.insert(0, before)  # for those who begin here
        rate = period.track.sample_rate
        # none before the sound it comes with: GStreamer would take its time for the beginning of all
        events = [Event(max(first, round(mark.time * rate)), mark.id, mark.tag) for mark in new]
        data = self.muxer.make(period.track, first, self.pending, events)
        segment.add(Part(first, after - first, data))
        self.pending = []
        self.made += 1

"""Cuts one mount's audio into segments, once, for everybody who asks for them.

A segmenter reads the ring as any reader does, by position. It cuts at packets, whatever the encoder's pages or bursts
are, where the wall time of the audio passes a multiple of the segment length, so that mounts with one programme are cut
alike. That wall time is media time and an origin that stays the same until the stream breaks off: its origin is where
audio that came without delay would have it. Packets lie on a grid of their own length that begins in 1970, so mounts
whose packets are equally long are cut at exactly the same times, however their encoders were started.

A **period** ends where a decoder, or the clock, cannot go on: another source, another track, bytes that the ring lost
before they were read, media time that has drifted from packets or from the wall. In HLS it ends with a discontinuity.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from math import ceil
from secrets import token_hex
from typing import TYPE_CHECKING

from castd.errors import FramingError
from castd.segments.arrivals import come_finely, zero_at
from castd.segments.changes import Changes
from castd.segments.held import Held
from castd.segments.muxers import Muxer, kind_for, muxer_of
from castd.segments.rows import Rows
from castd.segments.segment import Part, Period, Segment
from castd.segments.segmenter_state import SegmenterState, SegmentState
from castd.segments.title_marks import TitleMarks
from castd.wire.packets import Packet, Unsupported, depacketizer
from castd.wire.timed_id3 import Event

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.segments.spool import Spool
    from castd.segments.unison import Unison
    from castd.wire.packets import Depacketizer, Track

log = logging.getLogger(__name__)

STEP_BYTES = 128 * 1024
"""Read at one go, about: some 3 ms of work."""

LONGEST_PACKET = 0.125
"""Seconds by which a segment may be longer than asked for; an Opus packet has 0.12."""

ASTRAY_SECONDS = 0.5
"""Packets and the timeline may differ by so much: lost pages are time there, and the first samples of Opus are not."""

DRIFT_SEGMENTS = 2
"""Segments by which the live end may be later than its wall time, before the clock is set anew."""


_TOLD = (
    "session", "segment_seconds", "part_seconds", "window_seconds", "part_target", "low_latency", "position",
    "joined",
)  # fmt: skip
_TOLD_PRIVATELY = ("splices_from", "time", "pending", "pending_start", "origin")
"""Fields of castd.segments.segmenter_state.SegmenterState that a segmenter has as they are."""

GOES_ON_SECONDS = 2.0
"""Before the place where a new depacketizer goes on, it reads so much again: no packet lies on more pages."""


class Segmenter:
    """See the module. Everything but `changed` is synchronous.

    Args:
        back_seconds: of audio to begin with, if the ring has it, where old segments are going to be put by.

    Attributes:
        mount: whose ring it reads.
        session: in all names; another one when the container changes.
        muxer: of the files; None before the first track is known.
        target: EXT-X-TARGETDURATION, seconds.
        part_target: seconds, of the longest part; 0 before the first packet.
        held: all segments that may be asked for, oldest first; the last may be incomplete.
        rows: of its playlists, as far as castd.adaptive.playlists keeps them.
        titles: those told.
        refused: why there can be no segments, a sentence for listeners; "" while there can.
        low_latency: audio comes finely enough for parts to be worth asking for.
        version: counts what changed, so that answers can be kept until it does.
        changed: tells when that rises.
        position: in the ring, up to which it has read; None before it began.
        caught_up: it has read all there was when it began.
        awaited: requests that wait for that.
        closed: it makes no more.
        unison: with whom it counts periods; None if it does so by itself.
        joined: the number of the first period of which players of those mounts know it.
    """

    def __init__(self, mount: Mount, back_seconds: float = 0.0) -> None:
        settings = mount.settings
        self.mount = mount
        self.session = token_hex(8)
        self.muxer: Muxer | None = None
        self.segment_seconds = settings.hls_segment_seconds
        self.part_seconds = settings.hls_part_seconds
        self.window_seconds = settings.hls_window_seconds
        self.target = round(self.segment_seconds + LONGEST_PACKET)
        self.part_target = 0.0
        self._begins_back = back_seconds
        self.held = self._new_held()
        self.rows = Rows()
        self.titles = TitleMarks()
        self.refused = ""
        self.low_latency = False
        self.version = 0
        self.changed = Changes()
        self.position: int | None = None
        self.awaited = 0
        self._begun_at = 0
        self._reading_to = 0  # position of the end of what is being read
        self.caught_up = self.closed = False
        self.unison: Unison | None = None
        self.joined = 0
        self._depacketizer: Depacketizer | None = None
        self._splices_from = 0  # position of the first splice not dealt with
        self._began = 0.0  # media time at which the packets of this depacketizer begin
        self._origin = 0.0  # see Period
        self._on_grid = False  # the packets of the period are
        self._period: Period | None = None
        self._time = 0  # media time of the next packet, in samples
        self._passing: int | None = None  # cell of packets that belong to a segment begun before
        self._skips = False
        self._goes_on = False  # where another process had read to
        self._pending: list[Packet] = []  # of the part that is being made
        self._pending_start = 0
        self._segment_end = 0.0  # wall time
        self._lags: deque[float] = deque(maxlen=3)  # seconds that the live end was late, at each segment's end

    @classmethod
    def of(cls, state: SegmenterState, mount: Mount, spool: Spool | None = None) -> Segmenter:
        """A segmenter as it was in another process.

        Args:
            spool: of `state.spool`; owned from now on.
        """
        segmenter = cls(mount)
        for name in _TOLD:
            setattr(segmenter, name, getattr(state, name))
        for name in _TOLD_PRIVATELY:
            setattr(segmenter, f"_{name}", getattr(state, name))
        segmenter.target = round(state.segment_seconds + LONGEST_PACKET)
        segmenter.muxer = muxer_of(state.kind, state.muxer)
        segmenter.titles = TitleMarks(state.titles)
        segmenter.held = held = segmenter._new_held()
        held.go_on_with((each.segment(state.periods) for each in state.segments), state.listed, spool)
        held.allow(state.back_seconds, state.spool_bytes)
        if held.open is not None:
            segmenter._segment_end = segmenter._end_of(held.open.wall)
        if state.period is not None:
            segmenter._period = state.periods[state.period]
            segmenter._goes_on = segmenter._on_grid = True
        return segmenter

    def _new_held(self) -> Held:
        mount = self.mount
        return Held(mount.name, mount.clock.monotonic, self.segment_seconds, self.window_seconds, self.target)

    def state(self) -> SegmenterState | None:
        """All of it, for another process; None if there is nothing yet."""
        held, spool = self.held, self.held.spool
        if self.muxer is None or self.position is None or not held or self.fills:
            return None
        periods = {each: at for at, each in enumerate(dict.fromkeys(each.period for each in held))}
        return SegmenterState(
            **{name: getattr(self, name) for name in _TOLD},
            **{name: getattr(self, f"_{name}") for name in _TOLD_PRIVATELY},
            kind=self.muxer.kind,
            muxer=tuple(self.muxer.state),
            listed=held.first,
            periods=list(periods),
            segments=[SegmentState.of(each, periods) for each in held],
            titles=self.titles.told,
            period=periods.get(self._period) if self._period is not None else None,
            back_seconds=held.back_seconds,
            spool=spool.state() if spool is not None else None,
            spool_bytes=held.spool_bytes,
            stretches=list(self.unison.stretches) if self.unison is not None else [],
            watched=self.unison is not None and self.unison.watched,
        )

    @property
    def open(self) -> Segment | None:
        """The segment that is being made."""
        return self.held.open

    @property
    def origin(self) -> float | None:
        """What is added to the mount's times now; None while nobody knows."""
        return self._period.origin if self._period is not None else None

    @property
    def ready(self) -> bool:
        """There is a playlist, as long as the ring allows."""
        return self.caught_up and self.held[0].complete if self.held else False

    @property
    def next_number(self) -> int:
        """Of the segment that is being made, or comes next."""
        return self.held.next_number

    @property
    def next_part(self) -> tuple[int, int]:
        """Segment and number of the part that is being made."""
        return self.next_number, len(self.open.parts) if self.open else 0

    @property
    def next_start(self) -> tuple[int, int]:
        """Of the segment that is being made, or comes next: its period's number, and the media time in samples at which
        it begins."""
        period = self._period or (self.held[-1].period if self.held else None)
        return period.number if period else 0, self.open.start if self.open else self._time

    @property
    def listed(self) -> list[Segment]:
        """The complete segments of the playlist; not to be changed."""
        return self.held.listed

    def find(self, number: int) -> Segment | None:
        """A segment that may be asked for, complete or not."""
        return self.held.find(number)

    def advance(self) -> bool:
        """Read what there is, up to about STEP_BYTES.

        Returns:
            Whether there may be more at once.
        """
        version, known = self.version, (self.session, self.refused, self.caught_up)
        more = self._advance()
        if not more and not self.caught_up:
            self.caught_up = True
            self.version += 1
        if self.version != version:
            goes_on = known == (self.session, self.refused, self.caught_up)
            self.changed.tell(self.next_part if goes_on else None)
        return more

    async def put_by(self) -> bool:
        """Put old segments by; see Held."""
        first = self.held.first
        more = await self.held.put_by()
        if self.held.first != first:
            self.version += 1
            self.changed.tell(self.next_part)
        return more

    @property
    def fills(self) -> bool:
        """It begins far back, and has not come to the live end."""
        return not self.caught_up and self._begins_back > self.window_seconds

    @property
    def filled(self) -> float:
        """The share that it has read of what it begins with."""
        if self.position is None:
            return 0.0
        return (self.position - self._begun_at) / max(1, self.mount.ring.head - self._begun_at)

    def hurry(self) -> None:
        """Begin again with the last window only: nobody has got a playlist, and somebody does not want to wait."""
        if self.fills:
            self._break_off()
            self._begin_session()
            self._begins_back = 0.0
            self.position = None

    def close(self) -> None:
        """Make no more; whoever waits waits no longer."""
        self.closed = True
        self.held.part_with_spool()
        self.version += 1
        self.changed.tell()

    def _advance(self) -> bool:
        timeline, ring = self.mount.timeline, self.mount.ring
        if self.position is None:
            return self._start()
        alike_from = self.mount.alike_from if self._depacketizer is None else 0
        if self.position < (oldest := max(ring.tail, alike_from)):
            self._break_off()
            entry = timeline.next_entry(oldest)
            self.position = self._splices_from = entry.position if entry else ring.head
        position = self.position
        splice = timeline.next_splice(self._splices_from)
        if splice is not None and splice.position <= position:
            self._break_off()
            self._splices_from = splice.position + 1
            return True
        if position == ring.head or not self._ready(position):
            return False
        self._reading_to = stop = self._stop(position, splice.position if splice else ring.head)
        assert self._depacketizer is not None
        try:
            for each in self._depacketizer.feed(ring.read(position, stop)):
                if isinstance(each, Packet):
                    self._take(each)
                else:
                    self._set_track(each)
        except (Unsupported, FramingError) as error:
            self._refuse(str(error))
        self.position = stop
        return stop < ring.head

    @property
    def _first_seconds(self) -> float:
        """Of audio that is read at the beginning, where the ring has it."""
        return self.window_seconds + self.segment_seconds

    def _start(self) -> bool:
        """Begin far enough back for a whole playlist, if the ring reaches so far."""
        timeline, mount = self.mount.timeline, self.mount
        entry = timeline.join(self._first_seconds)
        if self.fills and (oldest := timeline.oldest) is not None:
            # what is oldest goes while it is read
            begin = max(timeline.end - self._begins_back - self.segment_seconds, oldest.time + self.segment_seconds)
            after, newest = mount.alike_from, timeline.last_splice(mount.ring.head)
            if self.unison is not None and newest is not None:
                after = max(after, newest.position)  # nobody can be asked any more to begin a period in the past
            far = timeline.rewound(begin, after)
            entry = far if entry is None or (far is not None and far.position < entry.position) else entry
        if entry is None:
            return False
        self.position = self._begun_at = entry.position
        self._splices_from = entry.position + 1
        begins = (splice := timeline.last_splice(entry.position)) is not None and splice.position == entry.position
        self._skips = not begins and timeline.end - entry.time > 2 * self.segment_seconds
        return True

    def _ready(self, position: int) -> bool:
        """Have a depacketizer for the bytes at a position; False if nobody knows yet what they are."""
        timeline, here = self.mount.timeline, self.mount.timeline.next_entry(position)
        at_entry = here is not None and here.position == position
        if self._depacketizer is not None:
            if self._period is None or not at_entry or here is None:
                return True
            if abs(here.time - (self._period.wall(self._time) - self._origin)) < ASTRAY_SECONDS:
                return True
            log.info("%s: packets and media time differ by more than %g s", self.mount.name, ASTRAY_SECONDS)
            self._break_off()
        if not self.mount.format:
            return False
        first = self._read_again_from(position) if self._goes_on else position
        try:
            self._depacketizer = depacketizer(self.mount.format)
            head = timeline.head_at(first)
            if head is not None:
                self._depacketizer.feed(head.data)
            self._depacketizer.feed(self.mount.ring.read(first, position))
        except (Unsupported, FramingError) as error:
            self._refuse(str(error))
            return False
        if self._goes_on and self._period is not None and self._depacketizer.track == self._period.track:
            self._goes_on = False
            return True
        self._end_period()
        self._began = here.time if here is not None and at_entry else timeline.time_at(position)
        self._origin = self._origin_at(position)
        if self._depacketizer.track is not None:
            self._set_track(self._depacketizer.track)
        return True

    def _read_again_from(self, position: int) -> int:
        """An entry before a position, behind which everything was read before."""
        timeline = self.mount.timeline
        entry = timeline.position_at(timeline.time_at(position) - GOES_ON_SECONDS)
        begun = timeline.last_splice(position)
        return min(position, max(entry, begun.position if begun else 0, self.mount.ring.tail))

    def _stop(self, position: int, end: int) -> int:
        """Up to where to read: whole frames or pages."""
        if end - position <= STEP_BYTES:
            return end
        entry = self.mount.timeline.next_entry(position + STEP_BYTES)
        return min(entry.position, end) if entry is not None else end

    def _origin_at(self, position: int) -> float:
        """The wall time of the mount's time 0, to the millisecond; nothing begins before what was is over."""
        timeline, clock = self.mount.timeline, self.mount.clock
        origin = zero_at(timeline, position, self._first_seconds, clock.wall() - timeline.end)
        if self.unison is not None:
            origin = self.unison.origin(self, origin)
        if self.held:
            last = self.held[-1]
            origin = max(origin, last.period.wall(last.end) - self._began)
        return round(origin + 0.0005, 3)

    def _set_track(self, track: Track) -> None:
        """What comes is of this track."""
        if self._period is not None and track != self._period.track:
            self._began = self._period.wall(self._time) - self._origin
            self._end_period()
        if track.refused:
            self._refuse(track.refused)
            return
        kind = kind_for(track)
        if self.muxer is None or self.muxer.kind != kind:
            if self.muxer is not None:
                self._begin_session()
            self.muxer = muxer_of(kind)
        if self._period is not None:
            return
        try:
            init = self.muxer.init(track)
        except Unsupported as error:
            self._refuse(str(error))
            return
        self.refused = ""
        self._time = round((self._origin + self._began) * track.sample_rate)
        self._on_grid = False
        number = self._next_number(self._origin + self._began)
        self._period = Period(number, track, init, self._time, self._origin)

    def _next_number(self, wall: float) -> int:
        """Of a period that begins at a wall time."""
        last = self.held[-1].period.number if self.held else None
        if self.unison is None:
            return 0 if last is None else last + 1
        return self.unison.begin(self, wall, last)

    def _begin_session(self) -> None:
        """No player can go on from one container to the other within a playlist."""
        self.session = token_hex(8)
        self.held.clear()
        self.rows = Rows()
        self.part_target = 0.0
        self.titles = TitleMarks()
        self.version += 1

    def _refuse(self, why: str) -> None:
        self._end_period()
        if why != self.refused:
            log.info("%s: no segments: %s", self.mount.name, why)
            self.refused = why
            self.version += 1

    def _take(self, packet: Packet) -> None:
        if self.unison is not None and self._period is not None and self._period.number < self.unison.number:
            self._keep_in_unison(self._period, self.unison)
        if not self._on_grid and self._period is not None:
            self._put_on_grid(self._period, packet.samples)
        period = self._period
        if period is not None and self._skips:
            period = self._period = self._past_begun_segment(period)
        if period is None or self._skips:
            self._time += packet.samples
            return
        if self.open is None:
            self._open_segment(period)
        self.part_target = self.part_target or ceil((self.part_seconds + period.seconds(packet.samples)) * 1000) / 1000
        if period.seconds(self._time + packet.samples - self._pending_start) > self.part_target and self._has_parts:
            self._close_part()  # packets became longer
        if not self._pending:
            self._pending_start = self._time
        self._pending.append(packet)
        cells = self._cells(period, self._pending_start)
        self._time += packet.samples
        after = self._cells(period, self._time)
        if period.wall(self._time) >= self._segment_end:
            self._close_segment()
        elif after != cells and self._has_parts:
            self._close_part()

    def _put_on_grid(self, period: Period, samples: int) -> None:
        """Have a period begin at a multiple of the length of its packets: the nearest that is not in the last one."""
        start = round(period.start / samples) * samples
        if self.held and self.held[-1].period.wall(self.held[-1].start + self.held[-1].samples) > period.wall(start):
            start += samples
        self._period = replace(period, start=start)
        self._time, self._on_grid = start, True

    def _keep_in_unison(self, period: Period, unison: Unison) -> None:
        """Begin another period here if others have begun one: the same audio goes on under the next number."""
        number = unison.keep_up(period.wall(self._time), period.number)
        if number <= period.number:
            return
        self._close_segment()
        if self._period is period:  # else the wall wanted another one, too
            self._period = replace(period, number=number, start=self._time)

    @property
    def _has_parts(self) -> bool:
        return self.muxer is not None and self.muxer.parts

    def _past_begun_segment(self, period: Period) -> Period:
        """Skip what belongs to a segment whose beginning was not read; the period begins behind it."""
        cell, _ = self._cells(period, self._time)
        self._passing = cell if self._passing is None else self._passing
        self._skips = cell == self._passing
        return period if self._skips else replace(period, start=self._time)

    def _cells(self, period: Period, time: int) -> tuple[int, int]:
        """Which segment of all time, and which part of it, a media time in samples belongs to."""
        wall = period.wall(time)
        segment = int(wall // self.segment_seconds)
        return segment, int((wall - segment * self.segment_seconds) // self.part_seconds)

    def _open_segment(self, period: Period) -> None:
        number = self.held[-1].number + 1 if self.held else self._cells(period, self._time)[0]
        self.held.begin(Segment(number, period, self._time))
        self._segment_end = self._end_of(period.wall(self._time))

    def _end_of(self, start: float) -> float:
        """The wall time at which a segment ends: the next multiple of its length. If that is near, in the middle of it
        and the one after it: of DASH, ffmpeg takes two that begin within a second for one."""
        end = (start // self.segment_seconds + 1) * self.segment_seconds
        return end if end - start >= self.segment_seconds / 2 else end + self.segment_seconds / 2

    def _close_part(self) -> None:
        segment = self.open
        if segment is None or not self._pending or self.muxer is None:
            return
        period = segment.period
        start, end = period.wall(self._pending_start), period.wall(self._time)
        new = self.titles.gather(self.mount.timeline, start, end, period.origin)
        if not segment.parts and (before := self.titles.at(start)) is not None and before not in new:
            new.insert(0, before)  # for those who begin here
        rate = period.track.sample_rate
        # none before the sound it comes with: GStreamer would take its time for the beginning of all
        events = [Event(max(self._pending_start, round(mark.time * rate)), mark.id, mark.tag) for mark in new]
        data = self.muxer.make(period.track, self._pending_start, self._pending, events)
        segment.add(Part(self._pending_start, self._time - self._pending_start, data))
        self._pending = []
        self.version += 1

    def _close_segment(self) -> None:
        self._close_part()
        segment = self.open
        if segment is None:
            return
        segment.position = self._reading_to
        self.held.complete()
        self.titles.forget(self.held.listed_from)
        finest = self.part_seconds * (1.5 if self.low_latency else 1.0)  # so that it does not come and go
        self.low_latency = self._has_parts and come_finely(self.mount.timeline, finest)
        self._watch_wall(segment.period)

    def _end_period(self) -> None:
        self._close_segment()
        self._period, self._pending = None, []
        self._lags.clear()

    def _break_off(self) -> None:
        """What comes is no continuation of what was."""
        self._end_period()
        self._depacketizer = None
        self._skips = self._goes_on = False

    def _watch_wall(self, period: Period) -> None:
        """Set the clock anew where the source's is slower than ours, or it lost time on the way. One that is faster
        stays ahead until it has a gap: nothing can begin before what was is over."""
        entry, origin = self.mount.timeline.entry_before(self._reading_to), period.origin
        if entry is not None:
            origin = zero_at(self.mount.timeline, entry.position, self._first_seconds, origin)
        self._lags.append(origin - period.origin)
        late = len(self._lags) == self._lags.maxlen and min(self._lags) > DRIFT_SEGMENTS * self.segment_seconds
        if late and self._period is period:
            log.info("%s: the source is late by %.1f s", self.mount.name, self._lags[-1])
            self._began = period.wall(self._time) - self._origin
            self._period, self._lags = None, deque(maxlen=3)
            kin = self.unison.origin(self, origin) if self.unison is not None else origin
            self._origin = round(max(origin, kin), 3)
            self._set_track(period.track)

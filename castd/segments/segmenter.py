"""Cuts one mount's audio into segments, once, for everybody who asks for them.

A segmenter reads the ring (castd.segments.reading), has a clock (castd.segments.media_clock) and cuts packets
(castd.segments.cutter), whatever the encoder's pages or bursts are, where the wall time of the audio passes a multiple
of the segment length, so that mounts with one programme are cut alike. What is left to it is where periods begin and
end.

A **period** ends where a decoder, or the clock, cannot go on: another source, another track, bytes that the ring lost
before they were read, media time that has drifted from packets or from the wall. In HLS it ends with a discontinuity.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from secrets import token_hex
from typing import TYPE_CHECKING

from castd.errors import FramingError
from castd.segments.changes import Changes
from castd.segments.cutter import Cutter
from castd.segments.held import Held
from castd.segments.lengths import Lengths
from castd.segments.media_clock import MediaClock
from castd.segments.muxers import kind_for, muxer_of
from castd.segments.reading import Reading, first_entry, lies_within
from castd.segments.rows import Rows
from castd.segments.segment import Period, Segment
from castd.wire.packets import Packet, Unsupported

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.segments.muxers import Muxer
    from castd.segments.title_marks import TitleMarks
    from castd.segments.unison import Unison
    from castd.wire.packets import Track

log = logging.getLogger(__name__)

ASTRAY_SECONDS = 0.5
"""Packets and the timeline may differ by so much: lost pages are time there, and the first samples of Opus are not."""


class Segmenter:
    """See the module. Everything but `changed` and `put_by` is synchronous.

    Args:
        back_seconds: of audio to begin with, if the ring has it, where old segments are going to be put by.
        lengths: of segments that another process began; else they are those configured.

    Attributes:
        mount: whose ring it reads.
        session: in all names; another one when the container changes.
        lengths: of what it makes; the same for as long as it lives.
        target: EXT-X-TARGETDURATION, seconds.
        held: all segments that may be asked for, oldest first; the last may be incomplete.
        rows: of its playlists, as far as castd.adaptive.playlists keeps them.
        reading, clock, cutter: its parts, of which castd.segments.segmenter_state tells another process.
        period: that goes on; None if none does.
        refused: why there can be no segments, a sentence for listeners; "" while there can.
        version: counts what changed, so that answers can be kept until it does.
        changed: tells when that rises.
        caught_up: it has read all there was when it began.
        awaited: requests that wait for that.
        closed: it makes no more.
        unison: with whom it counts periods; None if it does so by itself.
        joined: the number of the first period of which players of those mounts know it.
    """

    def __init__(self, mount: Mount, back_seconds: float = 0.0, lengths: Lengths | None = None) -> None:
        self.mount = mount
        self.session = token_hex(8)
        self.lengths = lengths = lengths or Lengths.of(mount.settings)
        self.target = lengths.target
        self.held = Held(mount.name, mount.clock.monotonic, lengths.segment, lengths.window, lengths.target)
        self.rows = Rows()
        self.reading = Reading(mount)
        self.clock = MediaClock(mount, lengths, self._shared_origin)
        self.cutter = Cutter(mount.timeline, lengths, self.held)
        self.period: Period | None = None
        self.refused = ""
        self.version = 0
        self.changed = Changes()
        self.awaited = 0
        self.caught_up = self.closed = False
        self.unison: Unison | None = None
        self.joined = 0
        self._begins_back = back_seconds
        self._skips = False
        self._passing: int | None = None  # cell of packets that belong to a segment begun before

    @property
    def segment_seconds(self) -> float:
        """The length of segments, give or take a packet."""
        return self.lengths.segment

    @property
    def muxer(self) -> Muxer | None:
        """Of the files; None before the first track is known."""
        return self.cutter.muxer

    @property
    def titles(self) -> TitleMarks:
        """Those told."""
        return self.cutter.titles

    @property
    def part_target(self) -> float:
        """Seconds, of the longest part; 0 before the first packet."""
        return self.cutter.part_target

    @property
    def low_latency(self) -> bool:
        """Audio comes finely enough for parts to be worth asking for."""
        return self.cutter.low_latency

    @property
    def open(self) -> Segment | None:
        """The segment that is being made."""
        return self.held.open

    @property
    def origin(self) -> float | None:
        """What is added to the mount's times now; None while nobody knows."""
        return self.period.origin if self.period is not None else None

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
        period = self.period or (self.held[-1].period if self.held else None)
        return period.number if period else 0, self.open.start if self.open else self.clock.time

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
        made = self.cutter.made
        more = self._advance()
        self.version += self.cutter.made - made
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
        return not self.caught_up and self._begins_back > self.lengths.window

    @property
    def filled(self) -> float:
        """The share that it has read of what it begins with."""
        return self.reading.filled

    def hurry(self) -> None:
        """Begin again with the last window only: nobody has got a playlist, and somebody does not want to wait."""
        if self.fills:
            self._break_off()
            self._begin_session()
            self._begins_back = 0.0
            self.reading.position = None

    def close(self) -> None:
        """Make no more; whoever waits waits no longer."""
        self.closed = True
        self.held.part_with_spool()
        self.version += 1
        self.changed.tell()

    def _advance(self) -> bool:
        reading = self.reading
        if reading.position is None:
            return self._begin()
        if reading.skip_lost():
            self._break_off()
        if reading.pass_splice():
            self._break_off()
            return True
        if reading.here == self.mount.ring.head or not self._ready():
            return False
        try:
            for each in reading.read():
                if isinstance(each, Packet):
                    self._take(each)
                else:
                    self._set_track(each)
        except (Unsupported, FramingError) as error:
            self._refuse(str(error))
        return reading.go_on()

    def _begin(self) -> bool:
        """Begin far enough back for a whole playlist, if the ring reaches so far."""
        back_seconds = self._begins_back if self.fills else 0.0
        entry = first_entry(self.mount, self.lengths, back_seconds, united=self.unison is not None)
        if entry is None:
            return False
        self.reading.begin(entry)
        self._skips, self._passing = lies_within(self.mount, self.lengths, entry), None
        return True

    def _ready(self) -> bool:
        """Know what the bytes are that come; False if nobody knows yet."""
        reading, period = self.reading, self.period
        if reading.depacketizer is not None:
            if period is None or not reading.differs(self.clock.on_timeline(period), ASTRAY_SECONDS):
                return True
            log.info("%s: packets and media time differ by more than %g s", self.mount.name, ASTRAY_SECONDS)
            self._break_off()
        if not self.mount.format:
            return False
        try:
            if reading.open(self.period.track if self.period is not None else None):
                return True
        except (Unsupported, FramingError) as error:
            self._refuse(str(error))
            return False
        self._end_period()
        self.clock.begin(reading.here, reading.time, self._last)
        if reading.depacketizer is not None and reading.depacketizer.track is not None:
            self._set_track(reading.depacketizer.track)
        return True

    @property
    def _last(self) -> Segment | None:
        """The newest segment, complete or not."""
        return self.held[-1] if self.held else None

    def _shared_origin(self, own: float) -> float:
        return self.unison.origin(self, own) if self.unison is not None else own

    def _set_track(self, track: Track) -> None:
        """What comes is of this track."""
        if self.period is not None and track != self.period.track:
            self.clock.begin_behind(self.period)
            self._end_period()
        if track.refused:
            self._refuse(track.refused)
            return
        muxer, kind = self.muxer, kind_for(track)
        if muxer is None or muxer.kind != kind:
            if muxer is not None:
                self._begin_session()
            muxer = self.cutter.muxer = muxer_of(kind)
        if self.period is not None:
            return
        try:
            init = muxer.init(track)
        except Unsupported as error:
            self._refuse(str(error))
            return
        self.refused = ""
        self.clock.begin_track(track)
        number = self._next_number(self.clock.beginning)
        self.period = Period(number, track, init, self.clock.time, self.clock.origin)

    def _next_number(self, wall: float) -> int:
        """Of a period that begins at a wall time."""
        last = self._last.period.number if self._last is not None else None
        if self.unison is None:
            return 0 if last is None else last + 1
        return self.unison.begin(self, wall, last)

    def _begin_session(self) -> None:
        """No player can go on from one container to the other within a playlist."""
        self.session = token_hex(8)
        self.cutter.begin_session()
        self.rows = Rows()
        self.version += 1

    def _refuse(self, why: str) -> None:
        self._end_period()
        if why != self.refused:
            log.info("%s: no segments: %s", self.mount.name, why)
            self.refused = why
            self.version += 1

    def _take(self, packet: Packet) -> None:
        clock, unison = self.clock, self.unison
        if unison is not None and self.period is not None and self.period.number < unison.number:
            self._keep_in_unison(self.period, unison)
        if not clock.on_grid and self.period is not None:
            self.period = clock.put_on_grid(self.period, packet.samples, self._last)
        if self._skips and self.period is not None:
            self.period = self._past_begun_segment(self.period)
        period, time = self.period, clock.time
        clock.time += packet.samples
        if period is not None and not self._skips and self.cutter.take(period, time, packet):
            self._close_segment()

    def _keep_in_unison(self, period: Period, unison: Unison) -> None:
        """Begin another period here if others have begun one: the same audio goes on under the next number."""
        number = unison.keep_up(period.wall(self.clock.time), period.number)
        if number <= period.number:
            return
        self._close_segment()
        if self.period is period:  # else the wall wanted another one, too
            self.period = replace(period, number=number, start=self.clock.time)

    def _past_begun_segment(self, period: Period) -> Period:
        """Skip what belongs to a segment whose beginning was not read; the period begins behind it."""
        cell, _ = self.lengths.cell(period.wall(self.clock.time))
        self._passing = cell if self._passing is None else self._passing
        self._skips = cell == self._passing
        return period if self._skips else replace(period, start=self.clock.time)

    def _close_segment(self) -> None:
        position = self.reading.end
        segment = self.cutter.close_segment(position)
        if segment is None:
            return
        period = segment.period
        if self.clock.is_late(position, period) and self.period is period:
            self.period = None
            self.clock.set_anew(period)
            self._set_track(period.track)

    def _end_period(self) -> None:
        self._close_segment()
        self.period, self.cutter.pending = None, []
        self.clock.forget()

    def _break_off(self) -> None:
        """What comes is no continuation of what was."""
        self._end_period()
        self.reading.break_off()
        self._skips = False

"""The media time of one mount's segments: wall time, counted in samples.

It is the mount's own time and an origin that stays the same until the stream breaks off: where audio that came without
delay would have it. Packets lie on a grid of their own length that begins in 1970, so mounts whose packets are equally
long are cut at exactly the same times, however their encoders were started.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from castd.segments.arrivals import zero_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.mount.mount import Mount
    from castd.segments.lengths import Lengths
    from castd.segments.segment import Period, Segment
    from castd.wire.packets import Track

log = logging.getLogger(__name__)

DRIFT_SEGMENTS = 2
"""Segments by which the live end may be later than its wall time, before the clock is set anew."""


class MediaClock:
    """See the module.

    Args:
        shared: makes the origin of a mount by itself that of mounts with the same timeline.

    Attributes:
        origin: see castd.segments.segment.Period.
        time: media time of the next packet, in samples.
        on_grid: the packets of the period are.
    """

    def __init__(self, mount: Mount, lengths: Lengths, shared: Callable[[float], float]) -> None:
        self._mount = mount
        self._lengths = lengths
        self._shared = shared
        self.origin = 0.0
        self.time = 0
        self.on_grid = False
        self._began = 0.0  # on the mount's timeline, what comes
        self._origins: deque[float] = deque(maxlen=3)  # that there would be now, at each segment's end

    def begin(self, position: int, time: float, last: Segment | None) -> None:
        """Have an origin for what comes, to the millisecond; nothing begins before what was is over.

        Args:
            position: of its first byte.
            time: of it on the mount's timeline.
            last: the segment before.
        """
        timeline = self._mount.timeline
        self._began = time
        now = self._mount.clock.wall() - timeline.end
        origin = self._shared(zero_at(timeline, position, self._lengths.first, now))
        if last is not None:
            origin = max(origin, last.period.wall(last.end) - time)
        self.origin = round(origin + 0.0005, 3)

    @property
    def beginning(self) -> float:
        """The wall time at which what comes begins."""
        return self.origin + self._began

    def begin_track(self, track: Track) -> None:
        """What begins is of this track, in whose samples time is counted from now on."""
        self.time = round(self.beginning * track.sample_rate)
        self.on_grid = False

    def begin_behind(self, period: Period) -> None:
        """What comes begins where a period ends."""
        self._began = self.on_timeline(period)

    def on_timeline(self, period: Period) -> float:
        """The time of the next packet of a period, as the mount's timeline should have it."""
        return period.wall(self.time) - self.origin

    def put_on_grid(self, period: Period, samples: int, last: Segment | None) -> Period:
        """Have a period begin at a multiple of the length of its packets: the nearest that is not in the last one."""
        start = round(period.start / samples) * samples
        if last is not None and last.period.wall(last.end) > period.wall(start):
            start += samples
        self.time, self.on_grid = start, True
        return replace(period, start=start)

    def is_late(self, position: int, period: Period) -> bool:
        """Whether the live end has been late where the last segments ended: the source's clock is slower than ours, or
        it lost time on the way. One that is faster stays ahead until it has a gap: nothing can begin before what was is
        over.

        Args:
            position: up to which the last one reaches in the ring.
            period: of it.
        """
        entry, origin = self._mount.timeline.entry_before(position), period.origin
        if entry is not None:
            origin = zero_at(self._mount.timeline, entry.position, self._lengths.first, origin)
        self._origins.append(origin)
        late = min(self._origins) - period.origin > DRIFT_SEGMENTS * self._lengths.segment
        return late and len(self._origins) == self._origins.maxlen

    def set_anew(self, period: Period) -> None:
        """Have what comes begin where it is by now, and not where a period ends that is late."""
        origin = self._origins[-1]
        log.info("%s: the source is late by %.1f s", self._mount.name, origin - period.origin)
        self.begin_behind(period)
        self.forget()
        self.origin = round(max(origin, self._shared(origin)), 3)

    def forget(self) -> None:
        """A period is over, and how late it was."""
        self._origins.clear()

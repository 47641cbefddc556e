"""Mounts between which players change, and that therefore count discontinuities alike.

draft-pantos-hls-rfc8216bis §6.2.4 wants what was on the air at one moment to have the same discontinuity sequence
number in every variant, and players such as hls.js lay variants beside each other by these numbers. So where the
segments of one mount begin a period, those of the others do, too, at once: the numbers are a function of the wall time,
which all of them ask. DASH's periods are these very stretches.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.segments.segmenter import Segmenter

NEAR_SECONDS = 1.0
"""Periods of two mounts that begin so close to each other begin for one reason, as where one is made of the other."""

LATE_SECONDS = 1.5
"""Behind the beginning of a stretch, for a mount to have it begin there, too: audio comes in bursts."""

KEPT = 1000
"""Stretches, at most: no playlist holds as many."""


class Stretch(NamedTuple):
    """What was on the air under one number, until the next begins.

    Attributes:
        begun: wall time; 0 for the first.
    """

    number: int
    begun: float


class Unison:
    """Some mounts' segmenters.

    Attributes:
        members: those whose segments go on; none whose source is away.
        stretches: oldest first; the first began before all audio.
        watched: somebody has a manifest of these mounts, in which one more or less is another period.
        watched_at: monotonic time at which one was made last.
    """

    def __init__(self, number: int = 0) -> None:
        self.members: dict[Segmenter, None] = {}
        self.stretches = deque([Stretch(number, 0.0)], maxlen=KEPT)
        self.watched = False
        self.watched_at = 0.0

    @property
    def number(self) -> int:
        """The newest."""
        return self.stretches[-1].number

    def at(self, wall: float) -> Stretch:
        """The stretch that a moment belongs to."""
        return next((each for each in reversed(self.stretches) if each.begun <= wall), self.stretches[0])

    def begin(self, segmenter: Segmenter, wall: float, last: int | None) -> int:
        """The number of a period that a segmenter begins.

        Args:
            wall: time at which it begins.
            last: the number of its last period; None if there is none.

        Returns:
            More than `last`; not the next one, where the others began periods while this mount was away.
        """
        others = [each for each in self.members if each is not segmenter]
        joins = segmenter not in self.members
        self.members[segmenter] = None
        if last is None:
            if joins and self.watched and any(each.ready for each in others):
                segmenter.joined = self._add(segmenter.mount.clock.wall())
            return self.at(wall + NEAR_SECONDS).number
        there = self.at(wall + NEAR_SECONDS)
        if there.number > last and there.begun > wall - NEAR_SECONDS:
            return there.number
        return self._add(wall)

    def keep_up(self, wall: float, number: int) -> int:
        """The number of what goes on at a wall time, in a segmenter that is at a number less than the newest.

        A number that others began long before that moment, as in what lay in their rings, is no common one: players
        would take the beginnings of both for one moment. Then there is another one, for all.
        """
        there = self.at(wall)
        if number < there.number == self.number and there.begun < wall - LATE_SECONDS:
            return self._add(wall)
        return max(there.number, number)

    def watch(self, now: float) -> None:
        """Somebody is given a manifest."""
        self.watched, self.watched_at = True, now

    def go_on_from(self, stretches: list[Stretch], *, watched: bool, now: float) -> None:
        """Go on from what another process had, as one of the mounts tells it."""
        if watched:
            self.watch(now)
        if stretches[-1].number > self.number:
            self.stretches.clear()
            self.stretches += stretches

    def origin(self, segmenter: Segmenter, own: float) -> float:
        """What is added to the times of a mount: the same as at one that is made from it, or both from another, as they
        have one timeline.

        Args:
            own: what it would be by itself.
        """
        alike = (
            other.origin for other in self.members
            if other is not segmenter and _are_kin(segmenter.mount, other.mount) and other.origin is not None
        )  # fmt: skip
        return next((each for each in alike if abs(each - own) < NEAR_SECONDS), own)

    def leave(self, segmenter: Segmenter) -> None:
        """Its segments do not go on."""
        if segmenter in self.members:
            del self.members[segmenter]
            if self.watched and self.members:
                self._add(segmenter.mount.clock.wall())

    def _add(self, wall: float) -> int:
        self.stretches.append(Stretch(self.number + 1, max(round(wall, 3), self.stretches[-1].begun + 0.001)))
        return self.number


def _are_kin(one: Mount, other: Mount) -> bool:
    return bool({one.name, one.settings.transcode_from} & {other.name, other.settings.transcode_from} - {""})

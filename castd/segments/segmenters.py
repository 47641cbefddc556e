"""The segmenters of all mounts: made when somebody asks, kept while anybody does, driven by one task.

Nothing here is on the way of the audio: the source's append wakes this task, which reads the ring when it comes to it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import trio

from castd.segments.segmenter import Segmenter
from castd.segments.segmenter_state import SegmenterState
from castd.segments.unison import Stretch, Unison

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from castd.config import Config
    from castd.mount.mount import Mount
    from castd.mount.timeline import Title
    from castd.segments.spool import Spool
    from castd.wire.framer import Run

log = logging.getLogger(__name__)

IDLE_SECONDS = 90.0
"""A segmenter nobody asked anything of for so long ends; the next request makes another, from what the ring holds. A
player that reads one playlist is there again within a few seconds."""

MOMENT_SECONDS = 0.0005
"""For everybody else, before one reads on that somebody waits for."""

PACE_SECONDS = 0.02
"""Between two rounds: encoders write in small pieces."""


AWAY_SECONDS = 5.0
"""A mount whose source is gone for so long is away, and players of its groups go on with the others; the source may
still return to it."""


class _Ear:
    """Wakes the task when a mount has news; see castd.mount.mount.Tap."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def hear(self, run: Run) -> None:
        self._wake()

    def hear_title(self, title: Title) -> None:
        pass


class Segmenters:
    """All of them.

    Args:
        config: in force at the start.

    Attributes:
        reach: seconds that playlists of a mount reach back by; see castd.segments.windows.
        made: set and replaced whenever there is another segmenter.
        closed: there are to be no more.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.reach: Callable[[Mount], float] = lambda mount: 0.0
        self.made = trio.Event()
        self.closed = False
        self._unisons: dict[str, Unison] = {}  # by the names of mounts
        self._by_mount: dict[Mount, tuple[Segmenter, _Ear]] = {}
        self._asked: dict[Mount, float] = {}
        self._news: dict[Segmenter, None] = {}
        self._woken = trio.Event()
        if config is not None:
            self.prepare(config)()

    def prepare(self, config: Config) -> Callable[[], None]:
        """See castd.reload.Part: who counts discontinuities with whom."""

        def commit() -> None:
            unisons: dict[str, Unison] = {}
            for names in united(group.mounts for group in config.groups.values()):
                there = [each for each, _ in self._by_mount.values() if each.mount.name in names]
                known = {id(self._unisons.get(name)): self._unisons.get(name) for name in names}
                [before] = known.values() if len(known) == 1 else [None]
                newest = max((each.next_start[0] for each in there), default=0)
                unisons |= dict.fromkeys(names, before or Unison(newest))
            self._unisons = unisons
            for segmenter, _ in self._by_mount.values():
                self._unite(segmenter)

        return commit

    def _unite(self, segmenter: Segmenter) -> None:
        unison = self._unisons.get(segmenter.mount.name)
        if segmenter.unison is not unison:
            if segmenter.unison is not None:
                segmenter.unison.leave(segmenter)
            segmenter.unison = unison
            if unison is not None and segmenter.held:
                unison.members[segmenter] = None

    def __iter__(self) -> Iterator[Segmenter]:
        return iter([segmenter for segmenter, _ in self._by_mount.values()])

    def __len__(self) -> int:
        return len(self._by_mount)

    def of(self, mount: Mount) -> Segmenter:
        """The segmenter of a mount, which somebody asks something of."""
        self._asked[mount] = mount.clock.monotonic()
        found = self._by_mount.get(mount)
        if found is None:
            log.info("%s: segments are made", mount.name)
            return self._take_on(Segmenter(mount, self.reach(mount)))
        return found[0]

    def find(self, mount: Mount) -> Segmenter | None:
        """The segmenter of a mount, if it has one, of which somebody asks something."""
        return self.of(mount) if mount in self._by_mount else None

    def peek(self, mount: Mount) -> Segmenter | None:
        """The segmenter of a mount, if it has one; that is no request for anything."""
        found = self._by_mount.get(mount)
        return found[0] if found is not None else None

    def dates(self, mount: Mount) -> list[tuple[float, float]]:
        """How the playlist of a mount dates its audio; does not count as a request for it.

        Returns:
            For each period, the oldest first, the media time and the date of the first sample listed, in seconds.
        """
        found = self._by_mount.get(mount)
        firsts: dict[int, tuple[float, float]] = {}
        for each in found[0].listed if found else ():
            firsts.setdefault(each.period.number, (each.wall - each.period.origin, each.wall))
        return list(firsts.values())

    def go_on_with(self, state: SegmenterState, mount: Mount, spool: Spool | None) -> None:
        """Have segments made on that another process made, if it counted time alike; else they are begun anew.

        Args:
            spool: where the old ones are; owned from now on.
        """
        if state.origin is None:
            log.info("%s: segments are begun anew, with times that count from 1970", mount.name)
            if spool is not None:
                spool.close()
            return
        self._asked[mount] = mount.clock.monotonic()
        segmenter = state.segmenter(mount, spool)
        unison = self._unisons.get(mount.name)
        if unison is not None:
            stretches = state.stretches or [Stretch(segmenter.next_start[0], 0.0)]
            unison.go_on_from(stretches, watched=state.watched, now=mount.clock.monotonic())
        self._take_on(segmenter)

    def state(self, mount: Mount) -> SegmenterState | None:
        """The segments of a mount, for another process; None if there are none."""
        found = self._by_mount.get(mount)
        return SegmenterState.of(found[0]) if found is not None else None

    def spool(self, mount: Mount) -> Spool | None:
        """Where the old segments of a mount are; its descriptor goes with the state."""
        found = self._by_mount.get(mount)
        return found[0].held.spool if found is not None else None

    def _take_on(self, segmenter: Segmenter) -> Segmenter:
        self._unite(segmenter)
        ear = _Ear(lambda: self._wake(segmenter))
        self._by_mount[segmenter.mount] = segmenter, ear
        segmenter.mount.taps += (ear,)
        self.made.set()
        self.made = trio.Event()
        self._wake(segmenter)
        return segmenter

    def _wake(self, segmenter: Segmenter) -> None:
        self._news[segmenter] = None
        self._woken.set()

    async def run(self) -> None:
        """Read what there is, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            busy = 0.0
            for segmenter in list(self._news):
                if segmenter in self._news:  # else it was dropped while another read
                    del self._news[segmenter]
                    busy += self._advance(segmenter)
                    await trio.lowlevel.checkpoint()
            # with an hour to read, it has half of the time there is
            await trio.sleep(min(busy, PACE_SECONDS) or PACE_SECONDS)

    def _advance(self, segmenter: Segmenter) -> float:
        """Have one read on.

        Returns:
            For how long others are to go first before it reads on, if there is more to read at once; else 0.
        """
        if segmenter.closed or segmenter.mount.closed:
            return 0.0
        begun = time.perf_counter()
        if not (waits := segmenter.fills and segmenter.held.overdue):
            try:
                if not segmenter.advance():
                    return 0.0
            except Exception:  # a bug; it may cost this mount's segments, and nobody else's
                log.exception("%s: no more segments", segmenter.mount.name)
                self._drop(segmenter.mount)
                return 0.0
        self._wake(segmenter)
        if waits:
            return 0.0
        return MOMENT_SECONDS if segmenter.awaited else time.perf_counter() - begun

    def tidy(self) -> None:
        """End those nobody asks for any more, and see whose source is away."""
        for mount in list(self._by_mount):
            if mount.closed or mount.clock.monotonic() - self._asked[mount] > IDLE_SECONDS:
                log.info("%s: no more segments are made", mount.name)
                self._drop(mount)
        for mount, (segmenter, _) in self._by_mount.items():
            if segmenter.unison is not None and (is_away(mount) or segmenter.refused):
                segmenter.unison.leave(segmenter)
            if segmenter.unison is not None:
                segmenter.unison.watched &= mount.clock.monotonic() - segmenter.unison.watched_at < IDLE_SECONDS

    def close(self) -> None:
        """End all."""
        self.closed = True
        for mount in list(self._by_mount):
            self._drop(mount)

    def _drop(self, mount: Mount) -> None:
        segmenter, ear = self._by_mount.pop(mount)
        del self._asked[mount]
        self._news.pop(segmenter, None)
        mount.taps = tuple(each for each in mount.taps if each is not ear)
        segmenter.close()
        if segmenter.unison is not None:
            segmenter.unison.leave(segmenter)


def is_away(mount: Mount) -> bool:
    """Whether nothing comes of a mount, and will not soon."""
    return mount.closed or (mount.lost is not None and mount.clock.monotonic() - mount.lost > AWAY_SECONDS)


def united(sets: Iterable[Iterable[str]]) -> list[frozenset[str]]:
    """Sets of names joined where they have one in common."""
    joined: list[frozenset[str]] = []
    for each in map(frozenset, sets):
        apart = [other for other in joined if not other & each]
        joined = [*apart, each.union(*(other for other in joined if other & each))]
    return joined

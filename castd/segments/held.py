"""The segments of one segmenter: which a playlist lists, which still may be asked for, and where their bytes are.

The newest are in memory: those of `window_seconds`. Where older ones are put by in a spool, playlists reach back by
`back_seconds`; else what is older goes. What was listed may be asked for as long as rfc8216bis §6.2.2 wants it: for the
duration of the longest playlist it was in. So a spool holds twice what is listed.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from castd.errors import is_of_the_machine
from castd.segments.old_segment import PIECE_BYTES, OldSegment
from castd.segments.spool import CHUNK_BYTES, SpoolFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from castd.segments.segment import Period, Segment
    from castd.segments.spool import Spool

log = logging.getLogger(__name__)

Result = TypeVar("Result")

FEWEST_LISTED = 4
"""Segments in a playlist, however short its window: players begin three from the end."""

MOST_LISTED = 3600
"""However long: a playlist of them has 350 kB, and 25 kB by gzip."""

SHORTEST_TARGETS = 3
"""Target durations that must be left when a segment is removed (rfc8216bis §6.2.2)."""

DUE_BYTES = 8 * 1024 * 1024
"""Put by at one go is an eighth of it; where more waits for the disk, the window gives way."""


RETRY_SECONDS = 60.0
"""After the disk had no room or a fault."""


class Held:
    """See the module. Everything but `put_by` and `read` is synchronous.

    Args:
        name: of the mount, for the log.
        now: monotonic time.
        segment_seconds, window_seconds, target: see castd.segments.segmenter.Segmenter.

    Attributes:
        first: number of the first segment listed.
        back_seconds: that playlists reach back by, where there is a spool.
        spool: where old segments are put by; None where they are not.
        spool_bytes: that it may have.
        trouble: why nothing is put by for the time being, or not enough; "" while there is nothing wrong.
    """

    def __init__(
        self, name: str, now: Callable[[], float], segment_seconds: float, window_seconds: float, target: int
    ) -> None:
        self._name = name
        self._now = now
        self._segment_seconds = segment_seconds
        self._window_seconds = window_seconds
        self._target = target
        self.first = 0
        self.back_seconds = 0.0
        self.spool: Spool | None = None
        self.trouble = ""
        self.spool_bytes = 0
        self._failed = self._told_of_size = False
        self._cured_at = 0  # bytes that a spool has when there is no trouble any more
        self._retry_at = inf
        self._segments: deque[Segment] = deque()
        self._seconds, self._size = 0.0, 0  # of those listed
        self._recent = 0  # number of the first that stays in memory
        self._recent_seconds = 0.0  # of it and those after it
        self._due = 0  # number of the first that is to be put by
        self._made: dict[Any, Any] = {}
        self._listed: tuple[tuple[int, int], list[Segment]] = (-1, -1), []

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __getitem__(self, at: int) -> Segment:
        return self._segments[at]

    @property
    def open(self) -> Segment | None:
        """The segment that is being made."""
        return self._segments[-1] if self._segments and not self._segments[-1].complete else None

    @property
    def next_number(self) -> int:
        """Of the segment that is being made, or comes next."""
        return self._segments[-1].number + self._segments[-1].complete if self._segments else 0

    @property
    def listed(self) -> list[Segment]:
        """The complete segments of the playlist; not to be changed."""
        if self._listed[0] != self.listing:
            listed = [each for each in self._segments if each.complete and each.number >= self.first]
            self._listed, self._made = (self.listing, listed), {}
        return self._listed[1]

    @property
    def listing(self) -> tuple[int, int]:
        """As long as it is the same, so are the complete segments of the playlist."""
        return self.first, self.next_number

    def of_listing(self, make: Callable[[list[Segment]], Result]) -> Result:
        """What a function makes of `listed`; made once for each state."""
        listed = self.listed
        if make not in self._made:
            self._made[make] = make(listed)
        made: Result = self._made[make]
        return made

    @property
    def listed_from(self) -> float:
        """Wall time at which the playlist begins."""
        first = self.find(self.first)
        return first.wall if first is not None else 0.0

    @property
    def in_memory(self) -> int:
        """Bytes of segments that are not in a spool."""
        return sum(each.size for each in self._segments if each.place is None)

    def find(self, number: int) -> Segment | None:
        """A segment that may be asked for, complete or not."""
        at = number - self._segments[0].number if self._segments else -1
        return self._segments[at] if 0 <= at < len(self._segments) else None

    def find_by_time(self, period: int, start: int) -> Segment | None:
        """As `find`, by the media time in samples at which a segment begins and its period; or the next one: a
        manifest's period may begin within the last segment of the one before it."""
        for number in (period, period - 1):
            at = bisect_left(self._segments, (number, start), key=lambda each: (each.period.number, each.start))
            found = self._segments[at] if at < len(self._segments) else None
            if found is not None and (found.period.number, found.start) == (number, start):
                return found
        return None

    def find_period(self, number: int) -> Period | None:
        """The period of that number, if segments of it may be asked for."""
        at = bisect_left(self._segments, number, key=lambda each: each.period.number)
        period = self._segments[at].period if at < len(self._segments) else None
        return period if period is not None and period.number == number else None

    def begin(self, segment: Segment) -> None:
        """A segment is being made."""
        if not self._segments:
            self.first = self._recent = self._due = segment.number
        self._segments.append(segment)

    def go_on_with(self, segments: Iterable[Segment], first: int, spool: Spool | None) -> None:
        """Hold, being new, what another process held.

        Args:
            first: number of the first listed.
            spool: None if there is none; what lies there is lost then, and what is older, as numbers have no gaps.
        """
        for each in segments:
            if each.place is not None and spool is None:
                self._segments.clear()
            else:
                self._segments.append(each)
        if not self._segments:
            return
        self.spool, oldest = spool, self._segments[0]
        self.first = max(first, oldest.number)
        complete = [each for each in self._segments if each.complete]
        listed = [each for each in complete if each.number >= self.first]
        self._seconds, self._size = sum(each.seconds for each in listed), sum(each.size for each in listed)
        self._recent, self._recent_seconds = oldest.number, sum(each.seconds for each in complete)
        self._due = next((each.number + 1 for each in reversed(self._segments) if each.place), self.first)

    def use(self, spool: Spool) -> None:
        """Put old segments by from now on."""
        self.spool = spool
        self._due = self._recent

    def allow(self, back_seconds: float, wanted: int) -> None:
        """Say how far playlists are to reach back, and how many bytes a spool may have. Where there was trouble, that
        is tried again once in a while."""
        self.back_seconds = back_seconds
        if wanted != self.spool_bytes or self._now() >= self._retry_at:
            self._failed, self._retry_at, self.spool_bytes = False, inf, wanted
            if self.spool is not None:
                self.spool.allow(wanted)

    @property
    def wants_spool(self) -> bool:
        """There is none, and there may be one."""
        return self.spool is None and self.back_seconds > 0 and not self._failed

    def clear(self) -> None:
        """Hold nothing any more; a spool is closed."""
        self._segments.clear()
        self._listed = (-1, -1), []
        self._seconds, self._size, self._recent_seconds = 0.0, 0, 0.0
        self.part_with_spool()

    def part_with_spool(self) -> None:
        """What is in the spool is another's now, or nobody's."""
        if self.spool is not None:
            self.spool.close()
            self.spool = None

    def complete(self) -> None:
        """The last segment is complete: list it, and no more than the window, and let go what nobody may ask for."""
        segment = self._segments[-1]
        segment.finish()
        self._seconds, self._size = self._seconds + segment.seconds, self._size + segment.size
        self._recent_seconds += segment.seconds
        self._age()
        self._shorten()
        now = self._now()
        while (until := self._segments[0].kept_until) is not None and until <= now:
            self._drop()

    def _age(self) -> None:
        """Find which segments stay in memory."""
        enough, last = self._enough(self._window_seconds), self._segments[-1].number
        while (first := self.find(self._recent)) is not None and (
            self._recent_seconds - first.seconds >= enough and last - self._recent >= FEWEST_LISTED
        ):
            self._recent_seconds -= first.seconds
            self._recent += 1
        if self.puts_by:
            if sum(each.size for each in self._old()) > DUE_BYTES:
                self.fail("it is too slow")
        else:
            self._due = self._recent

    def _shorten(self) -> None:
        """List no more than the window."""
        seconds = max(self._window_seconds, self.back_seconds) if self.puts_by else self._window_seconds
        enough, most = self._enough(seconds), self._most_bytes()
        last, now = self._segments[-1].number, self._now()
        kept_until = now + self._seconds + 2 * self._target
        in_memory_until = min(kept_until, now + self._window_seconds + 2 * self._target)
        while (
            (first := self.find(self.first)) is not None
            and last - self.first >= FEWEST_LISTED
            and (self._seconds - first.seconds >= enough or self._size > most or last - self.first >= MOST_LISTED)
        ):
            if self._seconds - first.seconds < enough and self._size > most:
                self._tell_of_size(seconds)
            first.kept_until = in_memory_until if self.back_seconds and first.place is None else kept_until
            self._unlist(first)

    def _tell_of_size(self, seconds: float) -> None:
        """Say that playlists are shorter than they should be; once."""
        if not self._told_of_size and self.spool is not None:
            self._told_of_size = True
            log.warning("%s: HLS and DASH go back by %.0f minutes, not %.0f: for more, %d MiB are too little",
                        self._name, self._seconds / 60, seconds / 60, self.spool.capacity >> 20)  # fmt: skip

    def _unlist(self, first: Segment) -> None:
        self._seconds -= first.seconds
        self._size -= first.size
        self.first += 1

    def _enough(self, seconds: float) -> float:
        return max(seconds - self._segment_seconds / 2, SHORTEST_TARGETS * self._target)

    def _most_bytes(self) -> float:
        """Of what is listed, so that as much can be kept beside it."""
        return (self.spool.capacity - 2 * CHUNK_BYTES) / 2 if self.spool is not None and self.puts_by else 1e18

    def _drop(self) -> None:
        """Let the oldest go."""
        first = self._segments.popleft()
        if first.number == self.first:
            self._unlist(first)
        self._due = max(self._due, first.number + 1)
        if self.spool is not None and first.place is not None:
            following = self._segments[0].place if self._segments else None
            self.spool.let_go(following.position if following else first.place.position + first.place.size)

    @property
    def puts_by(self) -> bool:
        """Old segments go to a spool."""
        return self.spool is not None and self.back_seconds > 0 and not self._failed

    @property
    def overdue(self) -> bool:
        """So much is to be put by that no more should be made before it is."""
        if self.spool is None:
            return not self._failed
        return self.puts_by and sum(each.size for each in self._old()) > DUE_BYTES // 4

    def _old(self) -> list[Segment]:
        """Those to be put by, oldest first."""
        old = [self.find(number) for number in range(self._due, self._recent)]
        return [each for each in old if each is not None]

    def fail(self, why: str) -> None:
        """Put nothing by for a while. What lies in the spool goes, for nobody knows whether it can be read."""
        self._say(f"HLS and DASH reach back by no more than {self._window_seconds:g} s for a while: {why}")
        self._failed, self._cured_at = True, 0
        while self._segments and self._segments[0].place is not None:
            self._drop()
        for each in self._old():  # memory is not for an hour of them
            each.kept_until = self._now() + self._window_seconds + 2 * self._target
        self._due = self._recent
        if self._segments:
            self._shorten()

    def _say(self, trouble: str) -> None:
        """Once."""
        self._retry_at = min(self._retry_at, self._now() + RETRY_SECONDS)
        if trouble != self.trouble:
            log.error("%s: %s", self._name, trouble)
            self.trouble = trouble

    async def put_by(self) -> bool:
        """Put by what is due.

        Returns:
            Whether there was something.
        """
        spool, size = self.spool, 0
        some: list[tuple[Segment, bytes]] = []
        for each in self._old() if self.puts_by else ():
            if some and size + each.size > DUE_BYTES // 8:
                break
            some.append((each, each.data))
            size += each.size
        if spool is None or not some:
            return False
        try:
            places = await spool.put([data for _, data in some])
        except SpoolFull:
            if spool is self.spool:
                self._make_room()
            return True
        except Exception as error:
            if not is_of_the_machine(error):
                raise
            if spool is self.spool:
                self.fail(str(error) or "no memory")
            return True
        if spool is self.spool and self._due == some[0][0].number:
            for (each, _), place in zip(some, places, strict=True):
                each.put_by(place)
            self._due = some[-1][0].number + 1
            if self.trouble and spool.allocated >= self._cured_at:
                log.info("%s: HLS and DASH reach back again as far as they should", self._name)
                self.trouble = ""
        return True

    def _make_room(self) -> None:
        """There is none: what is oldest goes, before its time."""
        assert self.spool is not None
        if self.spool.capacity < self.spool_bytes:
            self._say(f"HLS and DASH go back by less than they should: the disk has {self.spool.capacity >> 20} MiB")
            self._cured_at = self.spool.capacity + 1
        if self._segments[0].place is not None:
            self._drop()
        else:
            self.fail("there is no room for more")

    async def read(self, segment: Segment) -> bytes | OldSegment | None:
        """The whole file of a complete segment, as it is to be sent; None if it has been let go.

        Raises:
            OSError: the disk does not give it.
        """
        if segment.place is None:
            return segment.data
        if self.spool is None:
            return None
        if segment.place.size <= PIECE_BYTES:
            return await self.spool.get(segment.place)
        return await OldSegment.find(self.spool, segment.place)

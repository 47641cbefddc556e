"""The marks on a mount's ring, from which every output takes its times.

Each mark has a byte position, a media time (seconds of audio since the mount began, exact: see castd.wire.framer) and
a wall time (seconds since 1970, for display only). From the marks alone come the join point, the burst, ICY titles,
lag in seconds and, later, HLS cuts and rewind. A title may be inserted at a past position: titles parsed in a thread
arrive late.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from math import inf
from operator import attrgetter
from typing import NamedTuple, TypeVar

import msgspec

from castd.wire.framer import Head  # noqa: TC001 - msgspec reads the annotations of marks


class EntryMark(NamedTuple):
    """A decoder may start here."""

    position: int
    time: float
    wall: float


class HeadMark(NamedTuple):
    """From here on these header pages are in force; head None: the stream that began here has none (yet)."""

    position: int
    head: Head | None


class Splice(NamedTuple):
    """A source ended or began here: what stands before is another stream, and no burst reaches back over it."""

    position: int
    time: float
    wall: float


class Title(NamedTuple):
    """What is heard from `position` on.

    Attributes:
        text: the whole as players show it, usually "Artist - Title".
        artist, title, album: None where the source gave only the text.
        url: StreamUrl, "" for none.
        art: of a picture to it: the key of castd.mount.pictures, or a URL; "" for none.
        duration: in seconds, as far as it was told; 0 if not.
    """

    position: int
    time: float
    wall: float
    text: str
    artist: str | None = None
    title: str | None = None
    album: str | None = None
    url: str = ""
    art: str = ""
    duration: float = 0.0


TITLES = 1000
"""Titles kept while their audio is: those of two days of songs. A source that sends one with every few bytes shall not
fill the memory with them."""

PAST_TITLES = 10
"""Titles kept after their audio is gone, for those who heard them."""


THIN_SECONDS = 10.0
"""Audio whose entries are thinned at a time."""

THIN_ENTRY_SECONDS = 1.0
"""Between two entries of old audio."""


class TimelineState(msgspec.Struct):
    """All marks, for another process."""

    end: float
    entries: list[EntryMark]
    heads: list[HeadMark]
    splices: list[Splice]
    titles: list[Title]
    past_titles: list[Title]
    titles_forgotten: int


_position = attrgetter("position")
_time = attrgetter("time")
_wall = attrgetter("wall")
_Mark = TypeVar("_Mark", HeadMark, Splice, Title)


class Timeline:
    """The marks of one mount, in order of position.

    Attributes:
        end: media time in seconds at the head of the ring.
        title: the newest title, None before the first.
    """

    def __init__(self) -> None:
        self.end = 0.0
        self.title: Title | None = None
        self._entries: list[EntryMark] = []
        self._heads: list[HeadMark] = []
        self._splices: list[Splice] = []
        self._titles: list[Title] = []
        self._past_titles: deque[Title] = deque(maxlen=PAST_TITLES)
        self._titles_forgotten = 0
        self._thinned = 0.0

    @classmethod
    def of(cls, state: TimelineState) -> Timeline:
        """A timeline as it was elsewhere."""
        timeline = cls()
        timeline.end, timeline._titles_forgotten = state.end, state.titles_forgotten
        timeline._entries, timeline._heads = state.entries, state.heads
        timeline._splices, timeline._titles = state.splices, state.titles
        timeline._past_titles.extend(state.past_titles)
        timeline.title = state.titles[-1] if state.titles else None
        return timeline

    def state(self) -> TimelineState:
        return TimelineState(
            self.end, self._entries, self._heads, self._splices, self._titles, [*self._past_titles],
            self._titles_forgotten,
        )  # fmt: skip

    def held(self, title: Title | None) -> Title | None:
        """The mark that is equal to a title; the title itself if there is none."""
        return next((each for each in self._titles if each == title), title)

    def add_entry(self, entry: EntryMark) -> None:
        self._entries.append(entry)

    def add_head(self, position: int, head: Head) -> None:
        self._heads.append(HeadMark(position, head))

    def part_from_head(self) -> None:
        """What begins at the newest splice is not the stream whose head was in force before."""
        if self._heads and self._splices and self._heads[-1].position == self._splices[-1].position:
            self._heads[-1] = HeadMark(self._heads[-1].position, None)

    def begins_at(self, position: int) -> bool:
        """A splice is there, and nothing after it."""
        return bool(self._splices) and self._splices[-1].position == position

    def add_splice(self, splice: Splice, head: Head | None = None) -> None:
        """A source ends or begins: its first byte is a place to start.

        Args:
            head: of the stream that goes on there, as far as anybody knows; None: the next has none yet.
        """
        self._splices.append(splice)
        self._heads.append(HeadMark(splice.position, head))
        self._entries.append(EntryMark(*splice))

    def add_title(self, title: Title) -> None:
        """Insert a title; of two at one position the later call wins, of more than TITLES the newest stay."""
        at = bisect_left(self._titles, title.position, key=_position)
        if at < len(self._titles) and self._titles[at].position == title.position:
            self._titles[at] = title
        else:
            insort(self._titles, title, key=_position)
            self._forget_titles(len(self._titles) - TITLES)
        self.title = self._titles[-1]

    def head_at(self, position: int) -> Head | None:
        """The header pages in force at a position."""
        mark = _in_force(self._heads, position)
        return mark.head if mark else None

    def title_at(self, position: int) -> Title | None:
        """The title heard at a position."""
        return _in_force(self._titles, position)

    def titles_up_to(self, position: int) -> int:
        """How many titles there ever were up to a position."""
        return self._titles_forgotten + bisect_right(self._titles, position, key=_position)

    def titles_heard(self, start: int, end: int) -> list[Title]:
        """Of the titles heard from `start` to before `end` those still known: the newest, in order."""
        known = [*self._past_titles, *self._titles]
        first = max(0, bisect_right(known, start, key=_position) - 1)
        return known[first : bisect_left(known, end, key=_position)]

    def recent_titles(self) -> list[Title]:
        """Those that are remembered, oldest first; the last may still be to be heard."""
        return [*self._past_titles, *self._titles]

    def titles_from(self, time: float) -> list[Title]:
        """The title heard at a media time and those after it, as far as they are held."""
        return self._titles[max(0, bisect_right(self._titles, time, key=_time) - 1) :]

    def next_splice(self, position: int) -> Splice | None:
        """The first splice at or after a position."""
        at = bisect_left(self._splices, position, key=_position)
        return self._splices[at] if at < len(self._splices) else None

    def last_splice(self, position: int) -> Splice | None:
        """The last splice at or before a position."""
        return _in_force(self._splices, position)

    def join(self, burst_seconds: float) -> EntryMark | None:
        """Where a new listener starts.

        Args:
            burst_seconds: seconds of past audio to begin with; less if the source is younger.

        Returns:
            The newest entry at least that old within the newest source's stream, else its oldest entry; None if no
            source has begun.
        """
        if not self._splices:
            return None
        first = bisect_left(self._entries, self._splices[-1].position, key=_position)
        at = bisect_right(self._entries, self.end - burst_seconds, lo=first, key=_time)
        if at > first:
            return self._entries[at - 1]
        return self._entries[first] if first < len(self._entries) else None

    def entry_before(self, position: int) -> EntryMark | None:
        """The last entry before a position."""
        at = bisect_left(self._entries, position, key=_position)
        return self._entries[at - 1] if at else None

    def next_entry(self, position: int) -> EntryMark | None:
        """The first entry at or after a position."""
        at = bisect_left(self._entries, position, key=_position)
        return self._entries[at] if at < len(self._entries) else None

    def entries_from(self, position: int) -> list[EntryMark]:
        """All entries at or after a position."""
        return self._entries[bisect_left(self._entries, position, key=_position) :]

    def rewound(self, time: float, after: int = 0) -> EntryMark | None:
        """Where somebody begins who wants to hear a media time: the newest entry not after it.

        Args:
            after: no entry before this position will do.

        Returns:
            The entry; the oldest that will do if all are younger; None if there is none.
        """
        first = bisect_left(self._entries, after, key=_position)
        at = max(first, bisect_right(self._entries, time, lo=first, key=_time) - 1)
        return self._entries[at] if at < len(self._entries) else None

    def entry_on_air(self, wall: float, after: int = 0) -> EntryMark | None:
        """The newest entry that came not after a wall time; None if all came later, or had come before `after`."""
        first = bisect_left(self._entries, after, key=_position)
        at = bisect_right(self._entries, wall, lo=first, key=_wall) - 1
        return self._entries[at] if at >= first else None

    def position_at(self, time: float) -> int:
        """The position of the newest entry not after a media time; the oldest entry's if all are younger; else 0."""
        at = bisect_right(self._entries, time, key=_time)
        if at:
            return self._entries[at - 1].position
        return self._entries[0].position if self._entries else 0

    def time_at(self, position: int) -> float:
        """Media time at a position, to the entry before it (that is, to about 0.1 s)."""
        at = bisect_right(self._entries, position, key=_position)
        return self._entries[at - 1].time if at else (self._entries[0].time if self._entries else self.end)

    @property
    def oldest(self) -> EntryMark | None:
        """The oldest entry held."""
        return self._entries[0] if self._entries else None

    @property
    def last_entry_time(self) -> float:
        """Media time of the newest entry; minus infinity if none is held."""
        return self._entries[-1].time if self._entries else -inf

    def forget(self, tail: int) -> None:
        """Drop what lies before `tail`; of heads, splices and titles the one in force there stays."""
        del self._entries[: bisect_left(self._entries, tail, key=_position)]
        self._forget_titles(bisect_right(self._titles, tail, key=_position) - 1)
        for marks in (self._heads, self._splices):
            del marks[: max(0, bisect_right(marks, tail, key=_position) - 1)]

    def thin(self, before: float) -> None:
        """Of entries older than a media time keep one a second, and those where a source began: nobody needs to begin
        more exactly there, and hours of them would be much memory."""
        if before - self._thinned < THIN_SECONDS:
            return
        first, last = (bisect_left(self._entries, time, key=_time) for time in (self._thinned, before))
        splices, kept = {each.position for each in self._splices}, list[EntryMark]()
        for entry in self._entries[first:last]:
            if not kept or entry.time - kept[-1].time >= THIN_ENTRY_SECONDS or entry.position in splices:
                kept.append(entry)
        self._entries[first:last] = kept
        self._thinned = before

    def _forget_titles(self, count: int) -> None:
        """The oldest ones; none if `count` is less than one."""
        over = self._titles[: max(0, count)]
        self._past_titles.extend(over)
        self._titles_forgotten += len(over)
        del self._titles[: len(over)]


def _in_force(marks: list[_Mark], position: int) -> _Mark | None:
    at = bisect_right(marks, position, key=_position)
    return marks[at - 1] if at else None

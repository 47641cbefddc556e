"""Titles as segments and manifests carry them: each at a media time, with a number of its own and a date.

They come from the mount's timeline, like those of ICY, and never change once they are told: an EXT-X-DATERANGE keeps
its attributes, and an event its number, however often they are repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from castd.wire.text import one_line
from castd.wire.timed_id3 import tag

if TYPE_CHECKING:
    from castd.mount.timeline import Timeline, Title

SPACING_SECONDS = 0.001
"""Between the dates of two: the next one's ends the first (END-ON-NEXT)."""

MOST = 200
"""Titles kept: an hour has some twenty. Each is in every playlist, which a source that sends one with every few bytes
shall not make long."""


class TitleMark(NamedTuple):
    """A title, told.

    Attributes:
        id: below 2^32.
        position: in the ring, that it is heard from.
        time: media time in seconds, as segments have it.
        date: wall time, seconds since 1970: the same, but that no two are alike.
        text: the whole as players show it; "" for none.
        artist, title, album: "" where the source gave only the text.
    """

    id: int
    position: int
    time: float
    date: float
    text: str
    artist: str = ""
    title: str = ""
    album: str = ""
    url: str = ""

    @property
    def tag(self) -> bytes:
        """As an ID3 tag."""
        if self.artist and self.title:
            return tag(self.title, self.artist, self.album, self.url)
        return tag(self.text, url=self.url)

    @property
    def attributes(self) -> dict[str, str]:
        """As attributes of an EXT-X-DATERANGE."""
        shown = {"TITLE": self.title or self.text, "ARTIST": self.artist, "ALBUM": self.album, "URL": self.url}
        return {name: value for name, value in shown.items() if value or name == "TITLE"}


class TitleMarks:
    """The titles told in one session of segments.

    Attributes:
        told: in order, as far as they are kept.
    """

    def __init__(self, told: list[TitleMark] | None = None) -> None:
        self.told = told or []

    def gather(self, timeline: Timeline, start: float, end: float, origin: float) -> list[TitleMark]:
        """Tell the titles heard within a span of media time that were not told.

        Args:
            start, end: seconds.
            origin: what the times on the timeline lack of media time.

        Returns:
            Those told by this, in order.
        """
        new = []
        for title in timeline.titles_from(start - origin):
            if origin + title.time >= end:
                break
            last = self.told[-1] if self.told else None
            key = _key(title)
            # what comes to be known of the past when something newer is told already is news no more
            if last is not None and (key == last.id or title.position < last.position):
                continue
            date = time = max(origin + title.time, start)
            if last is not None:
                date = max(date, last.date + SPACING_SECONDS)
            self.told.append(_mark(title, key, time, date))
            new.append(self.told[-1])
        return new

    def at(self, time: float) -> TitleMark | None:
        """The one heard at a media time."""
        return next((mark for mark in reversed(self.told) if mark.time <= time), None)

    def since(self, date: float) -> list[TitleMark]:
        """The one in force at a date, and those after it."""
        first = next((at for at in reversed(range(len(self.told))) if self.told[at].date <= date), 0)
        return self.told[first:]

    def forget(self, date: float) -> None:
        """Those that are over at a date, and the oldest of very many."""
        self.told = self.since(date)[-MOST:]


def _mark(title: Title, key: int, time: float, date: float) -> TitleMark:
    words = (title.text, title.artist or "", title.title or "", title.album or "", title.url)
    return TitleMark(key, title.position, time, round(date, 3), *map(one_line, words))


def _key(title: Title) -> int:
    return crc32("\0".join((str(title.position), title.text, title.url)).encode("utf-8", "replace"))

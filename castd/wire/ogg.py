"""Ogg, RFC 3533: one source's pages, their headers and their media time.

Pages pass as they came. Beside them this framer keeps, for each link of a chained stream, the header pages a decoder
needs, and a clock that runs on the granule positions of the link's first audio stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd.wire.framer import ENTRY_SECONDS, RUN_BYTES, Entry, Headed, Run
from castd.wire.ogg_codecs import Codec, Theora
from castd.wire.ogg_headers import Link
from castd.wire.ogg_pages import NO_PACKET_ENDS, Page, PageCutter

if TYPE_CHECKING:
    from castd.wire.framer import Head

HOLE_SECONDS = 60
"""A granule position may be this far ahead of the last and still be time that went by: pages were lost, or a page of
255 silent packets is that long. Anything else is a jump, and no time."""

FLICKS = 705_600_000
"""A second, in units of which every usual sample rate has a whole number to the sample: a link's length adds up to the
next link's start without rounding."""

_ENTRY_FLICKS = round(ENTRY_SECONDS * FLICKS)


class GranuleClock:
    """Media time, from the granule positions of one stream after another.

    A granule position that cannot be the time that went by is set aside. If the next one goes on from before it, it was
    damage, and no time is lost; if the next one goes on from it, the encoder jumped, and the jump counts for nothing.

    Args:
        by_packets: count the sound there is, not that which is missing, or cut off at an end: where packets tell their
            length, granule positions are not asked; where they do not, and a first page says neither when it began nor
            how long it is, it counts for the most it can be, not for nothing.

    Attributes:
        jumps: granule positions that were set aside, so far.
    """

    def __init__(self, *, by_packets: bool = False) -> None:
        self.jumps = 0
        self._by_packets = by_packets
        self._codec = Codec()
        self._origin = 0  # of the stream, in flicks
        self._samples = 0  # since then, those to be skipped included
        self._granule: int | None = None  # the last one believed
        self._astray: int | None = None  # the last one set aside, until one is believed
        self._begun = 0  # samples of the packet that goes on, on the next page

    def start(self, codec: Codec) -> None:
        """The next stream begins where the last one ended."""
        self._origin = self.flicks
        self._codec = codec
        self._samples = self._begun = 0
        self._granule = self._astray = None

    def go_on_from(self, state: tuple[int, int]) -> None:
        """Have a stream, after `start`, go on where it was elsewhere."""
        self._origin, self._begun = state

    def state(self) -> tuple[int, int]:
        """The media time, and samples of the packet that goes on."""
        return self.flicks, self._begun

    @property
    def flicks(self) -> int:
        """The media time after the last page."""
        samples = max(0, self._samples - self._codec.pre_skip)
        return self._origin + (samples * FLICKS // self._codec.sample_rate if samples else 0)

    @property
    def runs(self) -> bool:
        """Whether granule positions of this codec tell the time."""
        return self._codec.sample_rate > 0

    @property
    def seconds(self) -> float:
        return self.flicks / FLICKS

    def advance(self, page: Page) -> None:
        """Count a page of the stream, not of its headers."""
        granule = page.granule_position
        if not self.runs:
            return
        if self._by_packets and self._codec.exact:
            self._samples += self._samples_ended(page)
        elif granule == NO_PACKET_ENDS:
            if self._granule is None:
                self._samples_ended(page)  # only for the packet that goes on
        elif granule < 0:
            self.jumps += 1
        elif self._granule is None:
            self._believe(granule, since=self._first_granule_before(page))
        elif self._follows(granule, self._granule):
            self._believe(granule, since=self._granule)
        elif self._astray is not None and self._follows(granule, self._astray):
            self._believe(granule, since=self._astray)
        else:
            self.jumps += 1
            self._astray = granule

    def _follows(self, granule: int, earlier: int) -> bool:
        return 0 <= granule - earlier <= HOLE_SECONDS * self._codec.sample_rate

    def _believe(self, granule: int, *, since: int) -> None:
        self._samples += granule - since
        self._granule, self._astray = granule, None

    def _first_granule_before(self, page: Page) -> int:
        """What the granule position was before the first page of a stream that has one.

        The stream may have been running for days before we came to hear it, so its first granule is no duration. Take
        the lengths of its packets instead. Where they are only a bound, a granule within it counts from 0 and one
        beyond it counts for nothing. One smaller than its packets is cut at either end (RFC 7845 §4.5) and starts at 0.
        """
        samples = min(self._samples_ended(page), HOLE_SECONDS * self._codec.sample_rate)
        before = max(0, page.granule_position - samples)
        told = self._codec.exact or self._by_packets or not before
        return before if told else page.granule_position

    def _samples_ended(self, page: Page) -> int:
        """Samples in the packets that end on a page, of which one may have begun earlier."""
        begin_here = [self._codec.samples(packet) for packet in page.packets()[page.continued :]]
        samples = sum(begin_here) + (self._begun if page.continued else 0)
        if not page.unfinished:
            return samples
        self._begun = begin_here[-1] if begin_here else self._begun
        return samples - self._begun


class _Runs:
    """Joins pages into runs of up to RUN_BYTES."""

    def __init__(self) -> None:
        self._done: list[Run] = []
        self._pages: list[bytes] = []
        self._size = 0
        self._entries: list[Entry] = []
        self._start: float | None = None
        self._end: float | None = None

    def add(self, page: bytes, start: float | None, end: float | None, *, entry: float | None) -> None:
        """Put one page behind the last.

        Args:
            page: its bytes.
            start: media time before it, in seconds; None if that is not known.
            end: media time after it.
            entry: media time at which a decoder may start with this page; None if it may not.
        """
        if self._size and (self._size + len(page) > RUN_BYTES or (start is None) != (self._end is None)):
            self.close()
        if not self._size:
            self._start = start
        if entry is not None:
            self._entries.append(Entry(self._size, entry))
        self._pages.append(page)
        self._size += len(page)
        self._end = end

    def close(self, head: Head | None = None) -> None:
        """End the run here, where the headers, if any are given, are complete."""
        if self._size:
            self._done.append(Run(b"".join(self._pages), self._start, self._end, tuple(self._entries), head))
            self._pages, self._size, self._entries = [], 0, []

    def take(self) -> list[Run]:
        self.close()
        done, self._done = self._done, []
        return done


class OggFramer(Headed):
    """Cuts an Ogg stream into runs of whole pages; a Framer.

    Attributes:
        pages: passed so far.
        links: begun so far.
        heads: of those, how many had complete headers. In the others pages pass, but no entry is marked.
    """

    tag_bytes = 0

    def __init__(self) -> None:
        self.pages = self.links = self.heads = 0
        self._cutter = PageCutter()
        self._link = Link()
        self._primary: int | None = None  # serial of the stream that time and entries come from, when its headers ended
        self._pictures: int | None = None  # likewise, of the pictures
        self._clock = GranuleClock()
        self._next_entry = 0  # not before this, in flicks
        self._runs = _Runs()

    @property
    def skipped_bytes(self) -> int:
        return self._cutter.skipped_bytes

    @property
    def unread(self) -> bytes:
        return self._cutter.unread

    @property
    def jumps(self) -> int:
        """Granule positions that could not be the time that went by."""
        return self._clock.jumps

    def feed(self, data: bytes) -> list[Run]:
        for page in self._cutter.feed(data):
            self._pass(page)
        return self._runs.take()

    def finish(self) -> list[Run]:
        for page in self._cutter.finish():
            self._pass(page)
        return self._runs.take()

    def _pass(self, data: bytes) -> None:
        """Put one page into the current run, with what it says about headers and time."""
        page, clock = Page.read(data), self._clock
        self.pages += 1
        if page.bos and not self._link.admits(page):
            self._link, self._primary = Link(), None
        link, completed, is_header = self._link, False, False
        self.links += page.bos and link.serial is None
        gathering = link.gathering
        if gathering:
            is_header = link.gather(page, data)
            if not link.gathering:
                self._primary, self._pictures = link.serial, link.pictures
                clock.start(link.codec)
                completed = link.complete

        start, entry = clock.flicks, None
        # a page that only showed the headers to be complete comes before they are in force
        if link.complete and not completed and not is_header and start >= self._next_entry and self._may_begin(page):
            entry = start / FLICKS
            self._next_entry = start + (_ENTRY_FLICKS if clock.runs else 0)
        if page.serial == self._primary and not is_header:
            clock.advance(page)
        timed = gathering or clock.runs
        self._runs.add(data, start / FLICKS if timed else None, clock.seconds if timed else None, entry=entry)
        if completed:
            self.head = link.head()
            self.heads += 1
            self._runs.close(self.head)

    def _may_begin(self, page: Page) -> bool:
        """Whether a decoder may begin with a page: with a whole picture where there are pictures, else with sound."""
        if not _begins_packet(page):
            return False
        if self._pictures is None:
            return page.serial == self._primary
        return page.serial == self._pictures and Theora.is_keyframe(page.packets()[0])


def _begins_packet(page: Page) -> bool:
    """Whether the first packet on a page begins there, so that nothing of what follows is half a packet."""
    return bool(page.segment_table) and not page.continued

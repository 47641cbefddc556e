"""A mount: the ring, its timeline, the sources that feed it and the listeners who read it.

Everything here is synchronous and therefore atomic: no method waits, and no lock is needed.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Protocol

from castd.mount.observer import Observer
from castd.mount.party import FILLER, Goodbye, Source
from castd.mount.pictures import Pictures
from castd.mount.ring import Ring
from castd.mount.shape import Shape
from castd.mount.sound import Sound
from castd.mount.state import MountState
from castd.mount.timeline import EntryMark, Splice, Timeline, Title
from castd.wire.framer import ENTRY_SECONDS, Entry, Run
from castd.wire.ogg_pages import ending
from castd.wire.ogg_unchain import Unchainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from castd.config import MountSettings
    from castd.mount.party import Description, Listener
    from castd.wire.framer import Head
    from castd.wire.tags import StreamInfo

log = logging.getLogger(__name__)

FIRST_RING_BYTES = 256 * 1024
"""What a ring starts with; it doubles while it holds less than the configured seconds."""

GROW_AGAIN_SECONDS = 60.0
"""After there was no memory for a larger ring."""

HEADER_BYTES = 16
"""The header of a frame is shorter."""

MEASURE_SECONDS = 2.0
"""A shorter span says little of a bitrate: Ogg pages often last a second."""


_TOLD = (
    "name", "description", "shape", "begun", "info", "started", "appended", "lost", "listener_peak", "visits",
    "slow_listeners", "bytes_received", "chosen_fallback", "heard", "on_file", "alike_from",
)  # fmt: skip
_TOLD_PRIVATELY = ("encoder_title", "told_title", "bytes_sent_to_departed", "base", "timed", "joining")
"""Fields of castd.mount.state.MountState that a mount has as they are."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Where a mount takes its times from.

    Attributes:
        monotonic: seconds since any moment; every duration is measured with it.
        wall: seconds since 1970; for display only.
    """

    monotonic: Callable[[], float]
    wall: Callable[[], float]


class FrameTooLarge(Exception):
    """The operator's ring is too small for what a source sends, or no memory is left to let it grow."""


class Outlet(Protocol):
    """What delivers a mount's bytes; castd.delivery supplies it."""

    def news(self) -> None:
        """Bytes were appended."""
        ...

    def make_room(self, tail: int) -> None:
        """Bytes before `tail` are about to be overwritten: nobody may want them any more on return."""
        ...

    def flush(self) -> None:
        """Give everybody who takes it what there is, now."""
        ...

    def evacuate(self) -> None:
        """Have those who are bound for another mount go there now, whatever they have not taken yet."""
        ...

    def close(self) -> None:
        """The mount is closed; nobody is there any more."""
        ...


class Tap(Protocol):
    """Hears a mount's stream as it is put into the ring, to feed another mount with it."""

    def hear(self, run: Run) -> None:
        """Frames were appended; their times are the mount's media times."""
        ...

    def hear_title(self, title: Title) -> None:
        """A title was put on the timeline."""
        ...


class Mount:
    """One stream under one name.

    Attributes:
        name: starts with a slash, percent-decoded.
        sources: those that are ready before the others, encoders before fallbacks, silent encoders after these where
            the settings say so, a filler last, then by priority; the first feeds the ring.
        taps: hear what is appended.
        listeners: by id.
        outlet: None while nobody ever listened.
        description: of the source that feeds the ring, or fed it last.
        shape: of its bytes, as far as they told by now; that of the last source while there is none.
        begun: the source that feeds the ring has put frames there, and the shape is theirs.
        info: what its bytes say of themselves; None until known.
        started: wall time at which that source began, 0 before the first.
        lost: monotonic time since which no source is here; None while one is.
        appended: monotonic time of the last append.
        listener_peak: most listeners at one time.
        visits: listeners there ever were.
        slow_listeners: how many fell behind, were moved forward or let go.
        bytes_received: from all sources.
        closed: it is not used any more.
        chosen_fallback: name of the mount that an operator chose to stand in, "" for none; None if nobody chose.
        heard: of mounts that stood in, by name: the position up to which their audio was heard here.
        on_file: the ring is one, of a size that stays; see castd.mount.rewind.
        alike_from: from this position on all bytes are of this shape's format.
        pictures: to its titles.
        observer: is told what happens here.
        on_feed: called with it when another source feeds the ring, when that has begun, and when none does any more.
    """

    def __init__(
        self,
        name: str,
        settings: MountSettings,
        clock: Clock,
        observer: Observer = Observer(),  # noqa: B008 - it has no state
        on_feed: Callable[[Mount], None] = lambda mount: None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.clock = clock
        self.observer = observer
        self.on_feed = on_feed
        self.ring = Ring(min(FIRST_RING_BYTES, settings.ring_bytes))
        self.timeline = Timeline()
        self.pictures = Pictures()
        self.sources: list[Source] = []
        self.taps: tuple[Tap, ...] = ()
        self.listeners: dict[int, Listener] = {}
        self.outlet: Outlet | None = None
        self.description: Description | None = None
        self.shape = Shape()
        self.begun = False
        self.info: StreamInfo | None = None
        self.started = 0.0
        self.appended = clock.monotonic()
        self.lost: float | None = self.appended
        self.listener_peak = 0
        self.visits = 0
        self.slow_listeners = 0
        self.bytes_received = 0
        self.closed = False
        self.chosen_fallback: str | None = None
        self.heard: dict[str, int] = {}
        self.on_file = False
        self.alike_from = 0
        self._encoder_title: Title | None = None
        self._told_title: Title | None = None  # by a request, not by the stream
        self._bytes_sent_to_departed = 0
        self._base: float | None = None  # media time at zero of the source's
        self._timed = True
        self._unchainer = Unchainer() if settings.unchain else None
        self._joining = False  # the source was recognised while it stood by, and begins at its next entry
        self._ring_limit = settings.ring_bytes
        self._grow_at = -inf  # monotonic time before which there was no memory for a larger ring

    def state(self) -> MountState:
        """All of it but its ring's memory and its listeners, for another process."""
        own = {name: getattr(self, name) for name in _TOLD}
        own |= {name: getattr(self, f"_{name}") for name in _TOLD_PRIVATELY}
        return MountState(
            **own,
            ring=self.ring.state(),
            timeline=self.timeline.state(),
            pictures=self.pictures.state(),
            sources=[each.state() for each in self.sources],
            unchainer=self._unchainer.state() if self._unchainer is not None else None,
        )

    def go_on_from(self, state: MountState, descriptor: int) -> None:
        """Be, being new, what a mount was in another process. Its sources are in the list; whoever cannot have one read
        releases it.

        Args:
            descriptor: of the ring's memory; owned from now on.

        Raises:
            OSError, ValueError: see Ring.adopt.
        """
        ring = Ring.adopt(descriptor, state.ring)
        self.ring.close()
        self.ring, self.timeline = ring, Timeline.of(state.timeline)
        for key, picture in state.pictures:
            self.pictures.put(key, picture)
        self.sources = [Source.of(each) for each in state.sources]
        for name in _TOLD[1:]:
            setattr(self, name, getattr(state, name))
        for name in _TOLD_PRIVATELY:
            setattr(self, f"_{name}", getattr(state, name))
        if self._unchainer is not None and state.unchainer is not None:
            self._unchainer = Unchainer.of(state.unchainer)
        # which title is shown is asked by identity
        self._encoder_title = self.timeline.held(self._encoder_title)
        self._told_title = self.timeline.held(self._told_title)
        self._limit_ring()
        self.observer.mount_adopted(self)

    def rebase(self) -> None:
        """The source that feeds the ring counts its times anew: they go on from the live end."""
        self._base = None

    def skip_to(self, time: float) -> None:
        """Have what the next source appends begin at a media time, if that is not past."""
        self.timeline.end = max(self.timeline.end, time)

    def part_with(self) -> None:
        """Another process goes on with this mount: nothing that still happens here concerns anybody."""
        self.observer, self.taps, self.on_feed = Observer(), (), lambda mount: None
        self.sources = []  # so that nobody writes to the ring

    def reconfigure(self, settings: MountSettings) -> None:
        """Go on with other settings. A ring that has more room than it may have now keeps it until the mount closes."""
        self.settings = settings
        if settings.unchain != (self._unchainer is not None):
            self._unchainer = Unchainer() if settings.unchain else None
        self._limit_ring()
        if not settings.silence_seconds:
            for source in self.sources:
                source.sound = Sound()
        self._sort(self.source)

    def _limit_ring(self) -> None:
        self._ring_limit = self.ring.capacity if self.on_file else max(self.settings.ring_bytes, self.ring.capacity)

    def move_ring(self, descriptor: int, capacity: int, copied: range = range(0)) -> None:
        """Go on in a file; every position stays valid.

        Args:
            descriptor: of the file; owned from now on.
            capacity, copied: see Ring.move; more than the ring has.

        Raises:
            OSError, ValueError: it cannot be used; the mount is unchanged.
        """
        self.ring.move(descriptor, capacity, copied)
        self.on_file = True
        self._limit_ring()

    def remember(self, ring: Ring, timeline: Timeline, shape: Shape, alike_from: int) -> None:
        """Have, being new, the audio that a mount of this name had before."""
        self.ring.close()
        self.ring, self.timeline, self.shape, self.alike_from = ring, timeline, shape, alike_from
        self.on_file = True
        self._limit_ring()
        self._splice()

    @property
    def source(self) -> Source | None:
        """The source that feeds the ring."""
        return self.sources[0] if self.sources else None

    @property
    def encoder(self) -> Source | None:
        """The encoder that feeds the ring, or would if it sent anything; None while none is connected."""
        return next((each for each in self.sources if not each.fallback), None)

    @property
    def fallback(self) -> str:
        """Name of the mount that is to stand in while no encoder is here; "" for none."""
        return self.settings.fallback if self.chosen_fallback is None else self.chosen_fallback

    @property
    def needs_fallback(self) -> bool:
        """No encoder that is to be heard feeds the ring yet."""
        encoder = self.encoder
        return encoder is None or encoder is not self.source or not self.begun or self.passes_over(encoder)

    @property
    def format(self) -> str:
        """How the bytes are framed, "" before the first were recognised."""
        return self.shape.format

    @property
    def bytes_sent(self) -> int:
        """To all listeners there ever were."""
        return self._bytes_sent_to_departed + sum(map(_bytes_sent_here, self.listeners.values()))

    @property
    def measured_bitrate(self) -> int:
        """Of what the ring holds, in bit/s; 0 while that is less than MEASURE_SECONDS."""
        oldest = self.timeline.oldest
        if oldest is None or (seconds := self.timeline.end - oldest.time) < MEASURE_SECONDS:
            return 0
        return round((self.ring.head - oldest.position) * 8 / seconds)

    @contextmanager
    def claim(self, source: Source) -> Iterator[None]:
        """Have `source` at this mount for the length of the block."""
        self.take_on(source)
        try:
            yield
        finally:
            self.release(source)

    def take_on(self, source: Source) -> None:
        """Have `source` at this mount until it is released. One that stands by feeds the ring as soon as it is ready
        and nobody goes before it; until then nothing is lost of what is heard."""
        feeder = self.source
        self.sources.append(source)
        self._sort(feeder)
        self.observer.source_connected(self, source)

    def _sort(self, feeder: Source | None) -> None:
        """Put the sources in order; if that gives the ring another feeder, it begins."""
        self.sources.sort(key=lambda each: (not each.ready, self._rank(each), -each.priority))
        if self.source is not feeder and self.source is not None:
            self._begin(self.source)

    def _rank(self, source: Source) -> int:
        if source.fallback == FILLER:
            return 3
        if self.passes_over(source):
            return 2
        return 1 if source.fallback else 0

    def passes_over(self, source: Source) -> bool:
        """Whether fallbacks go before it, since it is silent."""
        return self.settings.silence_fallback and source.sound.silent and not source.fallback

    def hear(self, source: Source, level_dbfs: float | None, peak_dbfs: float | None, seconds: float) -> None:
        """Somebody has decoded what a source sends; see Sound.hear. Where it is silent now, or not any more, that may
        give the ring another feeder."""
        if source not in self.sources or not source.sound.hear(level_dbfs, peak_dbfs, seconds, self.settings):
            return
        if source.sound.silent:
            self.observer.source_silent(self, source)
        else:
            self.observer.source_sounding(self, source)
        self._sort(self.source)
        self.on_feed(self)

    def release(self, source: Source) -> None:
        """Take `source` out; the next in line feeds the ring, or the mount waits for one. Twice does no harm."""
        if source not in self.sources:
            return
        feeder = self.source
        self.sources.remove(source)
        if not self.sources:
            self.lost = self.clock.monotonic()
            self.begun = False
            self._splice()
        self.observer.source_ended(self, source)
        if self.sources:
            self._sort(feeder)
            if source.fallback:
                self._restore_title()
        else:
            self.on_feed(self)

    def _begin(self, source: Source) -> None:
        self.description = source.description
        self.info = source.info
        self.begun = False
        self.started = self.clock.wall()
        self.lost = None
        self._base = None
        self._joining = bool(source.shape.format)
        self._splice()
        if source.shape.format:
            self._adopt(source)
        else:
            self.on_feed(self)

    def _splice(self) -> None:
        """What comes is not the continuation of what was: who joins hears none of that."""
        if self._unchainer is not None:
            self._unchainer.break_off()
        if not self.timeline.begins_at(self.ring.head):
            self._end_links()
            head = self.timeline.head_at(self.ring.head)
            goes_on = self._unchainer is not None and head is not None and head.unchained is not None
            splice = Splice(self.ring.head, self.timeline.end, self.clock.wall())
            self.timeline.add_splice(splice, head if goes_on else None)

    def _end_links(self) -> None:
        """Say that the Ogg streams of the source before have ended, where it could not: a player may wait for that
        before it looks for the next ones (RFC 3533 §4)."""
        last = self.timeline.entry_before(self.ring.head)
        if self.shape.format != "ogg" or self._unchainer is not None or last is None:
            return
        pages = ending(bytes(self.ring.read(last.position, self.ring.head)))
        if pages:
            before = self._base, self._timed, self.appended
            self._base = None
            self._put(Run(pages, 0.0, 0.0))
            self._base, self._timed, self.appended = before  # that was no audio, and nobody's

    def recognised(self, source: Source, shape: Shape, content_type: str) -> None:
        """A source's bytes told what they are; called once for each source, before its first append.

        Listeners of the source before it, kept through its absence, cannot go on with another format: they are let go.

        Args:
            shape: format, and codec and sample rate where the first frames tell these (headers of Ogg come later).
            content_type: for listeners; may differ from what the source declared.
        """
        source.description = replace(source.description, content_type=content_type)
        source.shape = shape
        if source is self.source:
            self._adopt(source)

    def _adopt(self, source: Source) -> None:
        self.description = source.description
        if self.shape.format and self.shape.format != source.shape.format:
            self.alike_from = self.ring.head
            self.timeline.part_from_head()
            for listener in list(self.listeners.values()):
                came_before = listener.connected < source.connected or self._joining
                if came_before or listener.position < self.alike_from:  # it came since then, and went back
                    listener.end(Goodbye.FORMAT_CHANGED)
        self.shape = source.shape
        self.on_feed(self)

    def join_point(self) -> EntryMark | None:
        """Where a new listener starts: a burst before the live end; see Timeline.join.

        Chromium hands its decoder whole blocks of 32 KiB (measured: a 21 kbit/s stream with a burst of 4 s played after
        6.5 s, with one of 32 KiB at once). So the burst holds a block, and half a burst more for the next to fill.
        """
        settings, timeline = self.settings, self.timeline
        burst = settings.burst_seconds
        if burst and settings.burst_bytes:
            block = timeline.end - timeline.time_at(self.ring.head - settings.burst_bytes)
            burst = max(burst, min(block + burst / 2, settings.lag_seconds / 2))
        return timeline.join(burst)

    def entrance(self, entry: EntryMark | None) -> tuple[int, bytes]:
        """The position of an entry, and the headers a decoder must be given before it; where there is no entry, those
        of the head of the ring."""
        position = entry.position if entry else self.ring.head
        head = self.timeline.head_at(position)
        return position, head.data if head else b""

    def append(self, source: Source, run: Run, wall: float | None = None) -> None:
        """Put whole frames at the head of the ring; never waits.

        Args:
            source: who sends them; those of a source that stands by are discarded, but for its headers.
            run: see castd.wire.framer; its times count from that source's first frame.
            wall: time at which they came; None if that is now.

        Raises:
            FrameTooLarge: it does not fit the ring.
        """
        if source.ear is not None:
            source.ear(run)
        if run.head is not None:
            source.head = run.head
        if not source.ready and run.entries and (source is self.source or run.head is None):
            source.ready = True
            self._sort(self.source)
        if source is not self.source:
            return
        if self._joining:
            pieces = _from_entry(run, source.head)
            self._joining = not pieces
            for piece in pieces:
                self._put(piece, wall)
        else:
            self._put(run, wall)
        if not self.begun and (self.timeline.head_at(self.ring.head) or not self.shape.has_heads):
            self.begun = True
            self.on_feed(self)

    def _put(self, run: Run, wall: float | None = None) -> None:
        if self._unchainer is not None and self.shape.format == "ogg":
            run = self._unchainer.rewrite(run)
        size = len(run.data)
        if size > self._ring_limit:
            raise FrameTooLarge(f"a frame of {size} bytes does not fit the ring, which may have {self._ring_limit}")
        self._make_room(size)
        if size > self.ring.capacity:
            raise FrameTooLarge(
                f"a frame of {size} bytes does not fit the ring, and there is no memory for a larger one"
            )
        at = self.ring.head
        self.ring.append(run.data)
        timeline = self.timeline
        wall = self.clock.wall() if wall is None else wall
        self.appended = self.clock.monotonic()
        start, stop, timed = run.start, run.end, True
        if start is None or stop is None:  # no media time: the clock's
            start = stop = self.appended
            timed = False
        if self._base is None or self._timed is not timed:
            self._base, self._timed = timeline.end - start, timed
        end = max(timeline.end, self._base + stop)
        for entry in run.entries:
            time = max(timeline.end, self._base + entry.time) if timed else end
            self._add_entry(EntryMark(at + entry.offset, time, wall), timed=timed)
        timeline.end = end
        if run.head is not None:
            if run.head.needed_after(timeline.head_at(at)):
                timeline.part_from_head()
            timeline.add_head(self.ring.head, run.head)
            self.shape = self.shape.with_head(run.head)
        if not size:
            return
        if self.outlet is not None:
            self.outlet.news()
        for tap in self.taps:
            tap.hear(shifted(run, self._base))

    def _add_entry(self, entry: EntryMark, *, timed: bool) -> None:
        """Framers that know the time space their entries; where there is none, a source of one byte a packet would
        make one a byte."""
        if timed or entry.time - self.timeline.last_entry_time >= ENTRY_SECONDS:
            self.timeline.add_entry(entry)

    def _make_room(self, size: int) -> None:
        """Before `size` bytes are appended: grow the ring if it is too short in time, else clear what goes."""
        ring, timeline = self.ring, self.timeline
        while ring.head + size - ring.capacity > 0 and ring.capacity < self._ring_limit:
            if self.clock.monotonic() < self._grow_at:
                break
            long = timeline.oldest is not None and timeline.end - timeline.oldest.time >= self.settings.ring_seconds
            if long and size <= ring.capacity:
                break
            try:
                ring.grow(min(ring.capacity * 2, self._ring_limit))
            except (OSError, MemoryError) as error:
                log.warning("%s: the ring stays at %d bytes: %s", self.name, ring.capacity, error or "no memory")
                self._grow_at = self.clock.monotonic() + GROW_AGAIN_SECONDS
        tail = ring.head + size - ring.capacity
        if tail > 0:
            if self.outlet is not None:
                self.outlet.make_room(tail)
            timeline.forget(tail)
        if self.on_file:
            timeline.thin(timeline.end - self.settings.ring_seconds)

    def last_heard(self) -> tuple[Head | None, bytes]:
        """The headers in force for the last frames put into the ring, and the first HEADER_BYTES of one of these; None
        and nothing where there is none."""
        entry = self.timeline.entry_before(self.ring.head)
        if entry is None:
            return None, b""
        start = bytes(self.ring.read(entry.position, min(entry.position + HEADER_BYTES, self.ring.head)))
        return self.timeline.head_at(entry.position), start

    def recent(self, seconds: float, after: int = 0) -> list[Run]:
        """What a decoder begins with to hear the last so many seconds, or the newest stream if that is shorter.
        Times are the mount's media times.

        Args:
            after: position before which everything was heard.

        Returns:
            The headers in force, if there are some, and a run from each entry on; nothing if there is no audio yet.
        """
        timeline, ring = self.timeline, self.ring
        first = timeline.join(seconds)
        if first is not None and first.position < after <= ring.head:
            first = timeline.next_entry(after)
        if first is None or first.position >= ring.head:
            return []
        runs: list[Run] = []
        head = timeline.head_at(first.position)
        if head is not None:
            runs.append(Run(head.data, first.time, first.time, (), head))
        entries = timeline.entries_from(first.position)
        for at, then in zip(entries, [*entries[1:], None], strict=True):
            end, time = (then.position, then.time) if then else (ring.head, timeline.end)
            if end > at.position:
                runs.append(Run(bytes(ring.read(at.position, end)), at.time, time, (Entry(0, at.time),)))
        return runs

    def set_title(
        self,
        text: str,
        *,
        artist: str | None = None,
        title: str | None = None,
        album: str | None = None,
        url: str = "",
        art: str = "",
        duration: float = 0.0,
        position: int | None = None,
        by: Source | None = None,
    ) -> Title:
        """Put a title on the timeline.

        Args:
            text, artist, title, album, url, art, duration: see timeline.Title.
            position: from where it is heard; the head of the ring if None. A past one is moved up to the tail.
            by: the source whose stream says so; None if somebody asked for it. What was asked for stays when a tag
                turns up at the same position: encoders send a title while their first bytes, and a file's tags in
                them, are still on the way.

        Returns:
            The mark as it stands on the timeline.
        """
        at = self.ring.head if position is None else max(position, self.ring.tail)
        standing = self.timeline.title_at(at)
        if by and position is not None and standing and standing is self._told_title and standing.position == at:
            return standing
        time = self.timeline.end if position is None else self.timeline.time_at(at)
        mark = Title(at, time, self.clock.wall(), text, artist, title, album, url, art, duration)
        self.timeline.add_title(mark)
        if by is None:
            self._told_title = mark
        if by is None or not by.fallback:
            self._encoder_title = mark
        self.observer.title_set(self, mark)
        for tap in self.taps:
            tap.hear_title(mark)
        return mark

    def _restore_title(self) -> None:
        """What a fallback played is heard no more: show again what the encoder told last."""
        shown, told = self.timeline.title, self._encoder_title
        if self.encoder is self.source and shown is not told:
            if told is None:
                self.set_title("", by=self.source)
            else:
                self.set_title(
                    told.text,
                    artist=told.artist,
                    title=told.title,
                    album=told.album,
                    url=told.url,
                    art=told.art,
                    duration=told.duration,
                    by=self.source,
                )

    def lag_seconds(self, position: int) -> float:
        """Seconds of audio between a position and the live end."""
        if position >= self.ring.head:
            return 0.0
        return max(0.0, self.timeline.end - self.timeline.time_at(position))

    def keep(self, listener: Listener) -> None:
        """Have a listener here who was counted in before, in another process."""
        self.listeners[listener.id] = listener

    def join(self, listener: Listener) -> None:
        """Count `listener` in."""
        self._count_in(listener)
        self.observer.listener_connected(self, listener)

    def _count_in(self, listener: Listener) -> None:
        self.listeners[listener.id] = listener
        self.visits += 1
        self.listener_peak = max(self.listener_peak, len(self.listeners))

    def leave(self, listener: Listener) -> None:
        """Count `listener` out. Twice does no harm."""
        if self.listeners.pop(listener.id, None) is not None:
            self._bytes_sent_to_departed += _bytes_sent_here(listener)
            self.observer.listener_ended(self, listener)

    def hand_over(self, listener: Listener, to: Mount) -> None:
        """Count `listener` out here and in at another mount, which it goes on with."""
        del self.listeners[listener.id]
        self._bytes_sent_to_departed += _bytes_sent_here(listener)
        listener.bytes_elsewhere = listener.bytes_sent
        to._count_in(listener)
        self.observer.listener_moved(self, to, listener)

    def wind_up(self) -> bool:
        """Its source will not return: let everybody go but those who went back, and hear what is held.

        Returns:
            Whether there are some.
        """
        if not any(each.hears_past for each in self.listeners.values()):
            return False
        if self.outlet is not None:
            self.outlet.flush()
        for listener in list(self.listeners.values()):
            if not listener.hears_past:
                listener.end(Goodbye.SOURCE_ENDED)
        return True

    def close(self, reason: Goodbye) -> None:
        """End everybody here and free the ring; the mount is not used again. Who can take what is left gets it."""
        self.closed = True
        for source in list(self.sources):
            source.end(reason)
            self.release(source)
        if self.outlet is not None:
            self.outlet.flush()
            self.outlet.evacuate()
        for listener in list(self.listeners.values()):
            listener.end(reason)
        if self.outlet is not None:
            self.outlet.close()
        self.ring.close()
        self.observer.mount_closed(self, reason)


def _from_entry(run: Run, head: Head | None) -> list[Run]:
    """What of a run a decoder can begin with that knows nothing of the stream yet: the headers, then from an entry on;
    nothing if there is no entry, or what follows has other headers."""
    if run.head is not None or not run.entries:
        return []
    first = run.entries[0]
    start = None if run.start is None else first.time
    entries = tuple(replace(each, offset=each.offset - first.offset) for each in run.entries)
    rest = Run(run.data[first.offset :], start, run.end, entries)
    return [Run(head.data, start, start, (), head), rest] if head else [rest]


def shifted(run: Run, by: float) -> Run:
    """The same run with later times; one without times as it is."""
    if run.start is None or run.end is None:
        return run
    entries = tuple(replace(each, time=each.time + by) for each in run.entries)
    return replace(run, start=run.start + by, end=run.end + by, entries=entries)


def _bytes_sent_here(listener: Listener) -> int:
    """Since it came to the mount it is at."""
    return listener.bytes_sent - listener.bytes_elsewhere

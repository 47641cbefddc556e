"""One rendition: heard by a tap on one mount, encoded by a child process, and a source of another mount.

The rendition's mount has the media times of the mount it is made from, as far as it had no others before, and the wall
times at which that audio had come there. So titles stand at the same times, and segments are cut alike.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from castd.levels.child import Child
from castd.mount.mount import FrameTooLarge, shifted
from castd.mount.party import Goodbye, Source, closing_words
from castd.mount.shape import Shape
from castd.stats.visits import arrival
from castd.transcode.backlog import Backlog
from castd.transcode.messages import ANSWER_BYTES, Begin, Encoded, Finish, read_answer, written
from castd.wire import content_types
from castd.wire.sniff import framer_of
from castd.wire.tags import StreamInfo

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.mount.timeline import Title
    from castd.stats.records import Records
    from castd.stats.visits import Arrival
    from castd.transcode.messages import Question
    from castd.wire.framer import Framer, Run

log = logging.getLogger(__name__)

PRIORITY = -1002
"""Behind every encoder's and every relay's; see castd.config.model.Dj."""

PERIOD_SECONDS = 0.1
"""Between two pieces: less would cost more, and come sooner than listeners are given it."""

LOOK_SECONDS = 1.0
"""How often it is looked whether anybody listens."""

IDLE_SECONDS = 30.0
"""After the last listener's leave a rendition on demand goes on for so long."""

START_SECONDS = 30.0
"""For an answer; the first one waits until the libraries are loaded, on a busy machine."""

ASTRAY_SECONDS = 0.001
"""What comes out of the child begins where the last ended, but for rounding; else audio is missing."""

FAR_SECONDS = 600.0
"""Beyond the longest burst and what may wait: what the child says must be this near to what was asked."""

TITLES = 100
"""That may wait for their audio."""

FORMATS = {"aac": ("aac", content_types.AAC[0]), "mp3": ("mpeg", content_types.MPEG[0]), "opus": ("ogg", "audio/ogg")}
"""How each codec is framed, and its content type."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made.

    Attributes:
        mount, of: names of the rendition's mount and of the one it is made from.
        codec, bitrate, on_demand: see castd.config.model.MountSettings.
    """

    mount: str
    of: str
    codec: str
    bitrate: int
    on_demand: bool


class Failed(Exception):
    """It could not go on, for reasons of its own; the message says why."""


class Rendition:
    """At work, from the start of its process to its end; see castd.mount.mount.Tap.

    Args:
        of: the mount it is made from; it has begun.
        is_wanted: whether it has to go on.
        told: puts a line into the log, unless it was told lately.
    """

    def __init__(
        self,
        plan: Plan,
        of: Mount,
        registry: Registry,
        records: Records,
        is_wanted: Callable[[], bool],
        told: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._of = of
        self._registry = registry
        self._records = records
        self._is_wanted = is_wanted
        self._told = told
        self._backlog = Backlog(of, of.settings.burst_seconds)
        self._news = trio.Event()
        self._titles: deque[Title] = deque(maxlen=TITLES)
        self._scope = trio.CancelScope()
        self._mount: Mount | None = None
        self._source: Source | None = None
        self._since: Arrival | None = None
        self._framer: Framer = framer_of(FORMATS[plan.codec][0])
        self._offset = 0.0  # from the framer's times to the media times of the original
        self._end = 0.0  # media time of the original, of what came last
        self._origin = 0.0  # wall time that media time 0 would have had when that came
        self.closing = Goodbye.FINISHED

    @property
    def ended_by(self) -> str:
        """The operator who wanted it so, as for any source; "" for nobody."""
        return self._source.ended_by if self._source is not None else ""

    def poke(self) -> None:
        """Something may have changed."""
        self._news.set()

    async def run(self, command: Sequence[str | os.PathLike[str]]) -> None:
        """Encode until nobody wants it, or nothing comes any more.

        Args:
            command: starts the child.

        Raises:
            ChildFailed, Failed: it cannot go on.
        """
        self.closing = Goodbye.FAILED
        with self._scope:
            child = await Child.start(command, START_SECONDS)
            try:
                log.info("%s: process %d encodes %s to %s, %d bit/s", self._plan.mount, child.pid, self._plan.of,
                         self._plan.codec, self._plan.bitrate)  # fmt: skip
                await self._encode(child)
                self.closing = Goodbye.FINISHED
            except trio.Cancelled:
                self.closing = Goodbye.DRAINED
                raise
            finally:
                self._of.taps = tuple(tap for tap in self._of.taps if tap is not self)
                self._release()
                await child.aclose()

    async def _encode(self, child: Child) -> None:
        await self._ask(child, Begin(self._plan.codec, self._plan.bitrate, self._rate_to_keep()))
        self._listen()
        while self._of.sources and not self._of.closed and self._is_wanted():
            if not self._backlog:
                self._news = trio.Event()
                with trio.move_on_after(LOOK_SECONDS):
                    await self._news.wait()
            while self._backlog:
                piece, self._origin = self._backlog.take()
                self._take(await self._ask(child, piece))
            if self._backlog.lost_seconds:
                self._told(f"{self._backlog.lost_seconds:.1f} s of audio are missing: its encoder came too late")
                self._backlog.lost_seconds = 0.0
            await trio.sleep(PERIOD_SECONDS)
        self._take(await self._ask(child, Finish()))
        self._append(self._framer.finish())

    async def _ask(self, child: Child, question: Question) -> Encoded:
        return await child.converse(written(question), read_answer, ANSWER_BYTES)

    def _rate_to_keep(self) -> int:
        """The sample rate that players at the mount are set up for; 0 if there are none."""
        mount = self._registry.get(self._plan.mount)
        alike = mount is not None and mount.shape.codec == self._plan.codec
        return mount.shape.sample_rate if mount is not None and alike else 0

    def _listen(self) -> None:
        """Hear what comes, and as much of the past as listeners lack."""
        of = self._of
        mount = self._registry.get(self._plan.mount)
        heard = mount.heard.get(of.name, 0) if mount is not None else 0
        runs = of.recent(of.settings.burst_seconds, heard)
        wall, end = of.clock.wall(), of.timeline.end
        for run in runs:
            if run.head is None and run.end is not None:
                self._backlog.add(run, wall - (end - run.end))
        length = sum(len(run.data) for run in runs if run.head is None)
        self._titles.extend(of.timeline.titles_heard(of.ring.head - length, of.ring.head + 1))
        of.taps = (*of.taps, self)

    def hear(self, run: Run) -> None:
        """See castd.mount.mount.Tap."""
        self._backlog.add(run, self._of.clock.wall())
        self._news.set()

    def hear_title(self, title: Title) -> None:
        """See castd.mount.mount.Tap."""
        self._titles.append(title)

    def _take(self, encoded: Encoded) -> None:
        """Have the mount have what the child made."""
        if encoded.trouble:
            self._told(f"nothing of {self._plan.of} can be encoded: {encoded.trouble}")
        if not encoded.data:
            return
        now = self._of.timeline.end
        if not now - FAR_SECONDS <= encoded.start <= encoded.end <= now + FAR_SECONDS:  # or none is a number
            raise Failed("it told times that cannot be")
        if self._source is None:
            self._offset = self._end = encoded.start
            self._claim(encoded.start)
        if abs(encoded.start - self._end) > ASTRAY_SECONDS:
            self._offset += encoded.start - self._end
        self._end = encoded.end
        assert self._source is not None
        assert self._mount is not None
        self._source.received = self._registry.clock.monotonic()
        self._source.bytes_received += len(encoded.data)
        self._mount.bytes_received += len(encoded.data)
        self._append(self._framer.feed(encoded.data))

    def _claim(self, start: float) -> None:
        """Be a source of the mount, which goes on at a media time of the original."""
        plan, of = self._plan, self._of
        assert of.description is not None
        try:
            mount = self._mount = self._registry.open(plan.mount)
        except (OSError, MemoryError) as error:
            raise Failed(f"there is no memory or descriptor for its ring: {error or 'no memory'}") from None
        if not mount.sources:
            mount.skip_to(start)
        content_type = FORMATS[plan.codec][1]
        self._source = Source(
            address="",
            agent="",
            user="",
            protocol="transcode",
            description=replace(
                of.description, content_type=content_type, bitrate=str(plan.bitrate // 1000), audio_info=(),
                audio_info_text="",
            ),
            connected=self._registry.clock.monotonic(),
            stop=self._scope.cancel,
            priority=PRIORITY,
        )  # fmt: skip
        mount.take_on(self._source)
        self._since = arrival(mount, mount.ring.head)

    def _append(self, runs: list[Run]) -> None:
        mount, source, framer = self._mount, self._source, self._framer
        if mount is None or source is None:
            return
        for run in runs:
            if not source.shape.format:
                form, content_type = FORMATS[self._plan.codec]
                codec = framer.codec if framer.codec != "unknown" else ""
                mount.recognised(source, Shape(form, codec, framer.sample_rate), content_type)
            run = shifted(run, self._offset)
            try:
                mount.append(source, run, self._origin + (self._end if run.end is None else run.end))
            except FrameTooLarge as error:
                raise Failed(str(error)) from None
            if source.info is None and framer.sample_rate:
                channels = getattr(framer, "channels", 0)
                source.info = StreamInfo(framer.codec, self._plan.bitrate, framer.sample_rate, channels)
                if mount.source is source:
                    mount.info = source.info
            self._show_titles(mount, source)
        mount.heard[self._of.name] = self._of.ring.head

    def _show_titles(self, mount: Mount, source: Source) -> None:
        """Put on the timeline what titles have come to be heard."""
        while self._titles and self._titles[0].time <= self._end:
            title, shown = self._titles.popleft(), mount.timeline.title
            if mount.source is not source:
                continue
            if shown is not None and shown[3:] == title[3:]:
                continue  # it is on since before this process
            picture = self._of.pictures.find(title.art)
            if picture is not None:
                mount.pictures.put(title.art, picture)
            at = title.time + mount.timeline.end - self._end
            mount.set_title(
                title.text,
                artist=title.artist,
                title=title.title,
                album=title.album,
                url=title.url,
                art=title.art,
                duration=title.duration,
                position=max(mount.timeline.position_at(at), self._begins_at()),
                by=source,
            )

    def _begins_at(self) -> int:
        """Position of its first byte."""
        return self._since.position if self._since is not None else 0

    def _release(self) -> None:
        if self._mount is None or self._source is None or self._since is None:
            return
        mount, source = self._mount, self._source
        source.gone = source.gone or self.closing
        log.info("%s: encoded no more: %s, %d bytes",
                 mount.name, closing_words(source.gone, source.ended_by), source.bytes_received)  # fmt: skip
        mount.release(source)
        self._records.departed(mount, source, self._since, None)

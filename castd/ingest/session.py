"""One source from its first byte to its goodbye, whatever protocol brought it.

Reads the encoder's bytes, has them framed, appends the frames to the mount and puts titles on its timeline.
"""

from __future__ import annotations

import errno
import logging
import math
import pickle
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from castd.errors import ClientError, FramingError, IncompleteBody, lacks_resources
from castd.hold import Hold
from castd.http.connection import READ_BYTES
from castd.ingest.state import SessionState
from castd.log import warn_rarely
from castd.mount.mount import FrameTooLarge
from castd.mount.party import Goodbye
from castd.mount.shape import recognised_shape
from castd.wire import picture, tags
from castd.wire.icy import Fields, IcyDemuxer, InlineTitle
from castd.wire.sniff import Sniffer, framer_of
from castd.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from castd.config import Current
    from castd.mount.mount import Mount
    from castd.mount.party import Source
    from castd.wire.framer import Framer, Head, Run
    from castd.wire.sniff import Recognised

log = logging.getLogger(__name__)

Told = TypeVar("Told")

NO_AUDIO_TIMES = 3
"""A source whose bytes yield no frame is given up after so many source timeouts: Ogg pages of near silence come
rarely."""

SECOND_LOOK_SECONDS = 0.05
"""How long data may take to be noticed after a deadline that came with it."""

INFO_BYTES = 16 * 1024
"""Bytes of frames gathered for the stream's information; a large MP3 frame is 1,441 bytes, mutagen wants several."""

TURN_BYTES = 8 * 1024
"""Bytes parsed between two checkpoints. What is made to be hard to parse, such as 0xFF for MP3, takes the framers 1 ms
a KiB (measured); audio takes them a hundredth of that."""

READS_PER_SECOND = 600
"""Of all sources together while there are many: a read costs 100-150 us, whatever it brings, so this is 6-9 % of a
core."""

SHORTEST_REST_SECONDS = 0.05
"""A shorter rest would spare no read: encoders write every 26-100 ms. Rests end on a grid of this step, so that sources
are read many at a time."""

_tag_threads = trio.CapacityLimiter(2)
"""mutagen works in threads, two at most: hostile tags have held it for 0.13 s."""


class Session:
    """Feeds one mount from one source.

    Args:
        mount: claimed by `source` for as long as `run` runs.
        receive: the next bytes of the encoder's stream, b"" at its end; raises IncompleteBody where the encoder hung up
            before the end it had announced, ClientError on broken framing of the transport and trio.BrokenResourceError
            on a reset, or when the kernel gave the encoder's machine up.
        count: how many mounts there are.
        metaint: bytes between the ICY blocks the source itself sends, 0 if it sends none.
        hold: through which it reads; it is the reader itself.
    """

    def __init__(
        self,
        mount: Mount,
        source: Source,
        receive: Callable[[], Awaitable[bytes]],
        current: Current,
        count: Callable[[], int] = lambda: 1,
        metaint: int = 0,
        hold: Hold | None = None,
    ) -> None:
        self._hold = hold or Hold()
        self._resting_until = 0.0
        self._unread = b""
        self._mount = mount
        self._source = source
        self._receive = receive
        self._current = current
        self._timeout = current.config.limits.source_timeout_seconds
        self._count = count
        self._demuxer = IcyDemuxer(metaint) if metaint else None
        self._told: Fields | None = None
        self._sniffer = Sniffer(source.description.content_type)
        self._framer: Framer | None = None
        self._last_frame = source.connected
        self._sample: bytearray | None = bytearray()  # of frames, until there are enough to read
        self._waiting: deque[Run] = deque()  # to be appended

    def state(self) -> SessionState:
        """What another process needs to go on with it. It must be held, or bytes would be missing."""
        parsers = (self._demuxer, self._sniffer, self._framer)
        return SessionState(
            parsers=pickle.dumps(parsers),
            unread=(self._framer or self._sniffer).unread,
            inline_titles=self._demuxer is not None,
            told=(self._told.title, self._told.url) if self._told else None,
            last_frame=self._last_frame,
            sample=bytes(self._sample) if self._sample is not None else None,
        )

    def go_on_from(self, state: SessionState, *, alike: bool) -> None:
        """Be, being new, what a session was in another process.

        Args:
            state: from nobody else, as its parsers are unpickled.
            alike: that process has our castd.wire. Otherwise new parsers begin with what was not parsed to the end.

        Raises:
            ValueError: it cannot go on with other parsers.
        """
        source = self._source
        self._last_frame = state.last_frame
        self._sample = bytearray(state.sample) if state.sample is not None else None
        self._told = Fields(*state.told) if state.told else None
        if alike:
            self._demuxer, self._sniffer, self._framer = pickle.loads(state.parsers)
            return
        if state.inline_titles:
            raise ValueError("titles between its frames cannot be followed by another version")
        self._unread = state.unread
        if source.shape.format:
            self._framer = framer_of(source.shape.format)
            if source.head is not None:
                self._framer.feed(source.head.data)
            if self._mount.source is source:
                self._mount.rebase()

    async def run(self) -> Goodbye:
        """Read until the source ends, in whatever way.

        Returns:
            Why it ended; being cancelled by `source.end` is not seen here.
        """
        try:
            with self._hold.reader(self):
                reason = await self._read()
            await self._finish()
        except FramingError as error:
            log.warning("source of %s: %s", self._mount.name, error)
            return Goodbye.BROKEN
        return reason

    def flushed_by(self, stop: Callable[[], None]) -> Callable[[], None]:
        """What to stop it with, being `stop`, so that of what was received nothing whole is lost: the last frame waits
        for a header behind it, as long as one may come."""

        def flush_and_stop() -> None:
            self._flush()
            stop()

        return flush_and_stop

    def _flush(self) -> None:
        runs = [*self._waiting, *(self._framer.finish() if self._framer is not None else [])]
        self._waiting.clear()
        try:
            for run in runs:
                self._mount.append(self._source, run)
        except FrameTooLarge as error:
            log.warning("source of %s: %s", self._mount.name, error)

    async def _read(self) -> Goodbye:
        source, clock = self._source, self._mount.clock.monotonic
        unread, self._unread = self._unread, b""
        await self._feed(unread)
        while True:
            try:
                data = await self._hold.read(self, self._next)
            except trio.TooSlowError:
                return Goodbye.SILENT
            except trio.BrokenResourceError as error:
                return Goodbye.VANISHED if _timed_out(error) else Goodbye.RESET
            except IncompleteBody:
                return Goodbye.LEFT
            except ClientError as error:
                log.warning("source of %s: %s", self._mount.name, error)
                return Goodbye.BROKEN
            if not data:
                return Goodbye.FINISHED
            source.received = clock()
            source.bytes_received += len(data)
            self._mount.bytes_received += len(data)
            await self._feed(data)
            if source.received - self._last_frame > NO_AUDIO_TIMES * self._timeout:
                return Goodbye.NO_AUDIO
            if len(data) < READ_BYTES // 2:  # else there is more
                self._resting_until = self._rest(source.received)

    def _rest(self, since: float) -> float:
        """Until when to leave the next bytes in the kernel, where there are many sources; a second read costs more than
        what it brings early is worth."""
        longest = self._current.config.delivery.read_interval_max_seconds
        seconds = min(self._count() / READS_PER_SECOND, longest)
        if seconds < SHORTEST_REST_SECONDS:
            return 0.0
        return math.ceil((since + seconds) / SHORTEST_REST_SECONDS) * SHORTEST_REST_SECONDS

    async def _next(self) -> bytes:
        """What comes next, after the rest that is due; b"" at the end.

        Raises:
            trio.TooSlowError: nothing came in time, nor is anything there: a server that was stopped for longer than
                the timeout finds deadline and data at once, and the source is not at fault.
        """
        if self._resting_until:
            await trio.sleep_until(self._resting_until)
        with trio.CancelScope(deadline=trio.current_time() + self._timeout):
            return await self._receive()
        with trio.fail_after(SECOND_LOOK_SECONDS):
            return await self._receive()

    async def _feed(self, data: bytes) -> None:
        for at in range(0, len(data), TURN_BYTES):
            if at:
                await trio.lowlevel.checkpoint()
            await self._take_apart(data[at : at + TURN_BYTES])

    async def _take_apart(self, data: bytes) -> None:
        for event in self._demuxer.feed(data) if self._demuxer else (data,):
            if isinstance(event, InlineTitle):
                self._set_title(event.fields)
            elif self._framer is not None:
                await self._append(self._framer.feed(event))
            else:
                await self._recognise(self._sniffer.feed(event))

    def _set_title(self, fields: Fields) -> None:
        """Of a block in the stream; some servers repeat the title in each, which is no news."""
        if fields != self._told:
            self._told = fields
            self._mount.set_title(one_line(fields.title), url=one_line(fields.url), by=self._source)

    async def _recognise(self, verdict: Recognised | None) -> None:
        if verdict is None:
            return
        source, self._framer = self._source, verdict.framer
        if verdict.content_type != source.description.content_type:
            log.info("source of %s says %s and sends %s",
                     self._mount.name, source.description.content_type, verdict.content_type)  # fmt: skip
        self._mount.recognised(source, recognised_shape(verdict), verdict.content_type)
        await self._append(verdict.runs)

    async def _append(self, runs: list[Run]) -> None:
        source = self._source
        self._waiting.extend(runs)
        while self._waiting:
            run = self._waiting.popleft()
            try:
                self._mount.append(source, run)
            except FrameTooLarge as error:
                raise FramingError(str(error)) from None
            if run.head is not None:
                await self._read_comments(run.head)
            if run.tag:
                await self._read_tag(run)
        if runs:
            self._last_frame = source.received
            await self._read_info(runs)
        if self._framer is not None:
            source.skipped_bytes = self._framer.skipped_bytes - self._framer.tag_bytes

    async def _read_comments(self, head: Head) -> None:
        def read() -> tuple[tags.Tags, picture.Picture | None]:
            return tags.comments(head.codec, head.comment), picture.in_ogg(head.codec, head.comment, head.data)

        await self._show(read, self._mount.ring.head)

    async def _read_tag(self, run: Run) -> None:
        def read() -> tuple[tags.Tags, picture.Picture | None]:
            return tags.id3(run.tag), picture.in_id3(run.tag)

        await self._show(read, self._mount.ring.head - len(run.data))

    async def _show(self, read: Callable[[], tuple[tags.Tags, picture.Picture | None]], position: int) -> None:
        """Put the title that something in the stream tells on the timeline, with its picture."""
        mount = self._mount
        found = await _in_thread(read)
        if found is None:
            return
        told, cover = found
        text = " - ".join(part for part in (told.artist, told.title) if part)
        if text and mount.source is self._source:
            mount.set_title(
                text,
                artist=told.artist or None,
                title=told.title or None,
                album=told.album or None,
                art=mount.pictures.add(cover) if cover else "",
                position=position,
                by=self._source,
            )

    async def _read_info(self, runs: list[Run]) -> None:
        """Find out what the stream is: codec, bitrate, sample rate, channels. Headers tell it anew with each link of an
        Ogg stream; of other formats the first frames tell it once."""
        heads = [run.head for run in runs if run.head]
        if heads:
            self._sample = None
            await self._set_info(heads[-1].codec, heads[-1].data, heads[-1])
        elif self._sample is not None and self._framer is not None:
            for run in runs:
                self._sample += run.data
            if len(self._sample) >= INFO_BYTES:
                sample, self._sample = bytes(self._sample), None
                await self._set_info(self._framer.codec, sample)

    async def _set_info(self, codec: str, start: bytes, head: Head | None = None) -> None:
        info = await _in_thread(partial(tags.stream_info, codec, start))
        if info is None:
            return
        if (
            head is not None and info.codec == "unknown" and head.codec != "unknown"
        ):  # WebM's, which the framer has read
            info = tags.StreamInfo(head.codec, 0, head.sample_rate, head.channels)
        self._source.info = info
        if self._mount.source is self._source:
            self._mount.info = info

    async def _finish(self) -> None:
        if self._framer is None:
            await self._recognise(self._sniffer.finish())
        if self._framer is not None:
            await self._append(self._framer.finish())


async def _in_thread(read: Callable[[], Told]) -> Told | None:
    """What mutagen says; None where there is no thread or memory to ask it, which must not end the stream."""
    try:
        return await trio.to_thread.run_sync(read, limiter=_tag_threads)
    except Exception as error:
        if not lacks_resources(error):
            raise
        warn_rarely(f"what a stream says of itself is not read: {error or 'no memory'}")
        return None


def _timed_out(error: trio.BrokenResourceError) -> bool:
    """The kernel had no answer from the encoder's machine; see castd.sockets.end_vanished_peers."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)

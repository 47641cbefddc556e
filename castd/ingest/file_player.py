"""Plays a file in a loop as a source: paced by its own frames, of which the container shows no seam."""

from __future__ import annotations

import logging
from pathlib import Path
from secrets import randbits
from typing import IO, TYPE_CHECKING

import trio

from castd.ingest.session import Session, recognised_shape
from castd.ingest.sniff import Sniffer
from castd.mount.party import Description, Source
from castd.wire import tags
from castd.wire.framer import Opaque
from castd.wire.ogg_pages import Page, PageCutter

if TYPE_CHECKING:
    from castd.config import Current
    from castd.mount.mount import Mount
    from castd.mount.shape import Shape

log = logging.getLogger(__name__)

READ_BYTES = 8 * 1024
"""Of the file at a time: half a second of 128 kbit/s."""

LEAD_SECONDS = 0.5
"""How far ahead of time the file is put into the ring."""

RETRY_SECONDS = 10.0
"""After a file could not be played; it may be there again."""


class Unplayable(Exception):
    """The file cannot stand in; the message completes "it ..."."""


class FilePlayer:
    """One file at one mount; see castd.ingest.fallback.StandIn.

    Args:
        path: the file's; it is opened anew for each turn, so it may be replaced.
    """

    def __init__(self, mount: Mount, path: str, current: Current) -> None:
        self.name = path
        self._mount = mount
        self._current = current
        self._scope = trio.CancelScope()
        self._source: Source | None = None

    def stop(self) -> None:
        """See castd.ingest.fallback.StandIn."""
        self._scope.cancel()
        if self._source is not None:
            self._mount.release(self._source)

    async def run(self) -> None:
        """Play until stopped."""
        with self._scope:
            while True:
                try:
                    await self._play()
                except (OSError, Unplayable) as error:
                    log.warning("%s: %s cannot stand in: %s", self._mount.name, self.name, error)
                except Exception:  # a bug; it may cost this file, and nobody else
                    log.exception("%s: %s cannot stand in", self._mount.name, self.name)
                await trio.sleep(RETRY_SECONDS)

    async def _play(self) -> None:
        mount = self._mount
        loop = await trio.to_thread.run_sync(FileLoop, Path(self.name))
        try:
            if not mount.shape.fits(loop.shape):
                raise Unplayable(f"it is {loop.shape}, and players of {mount.shape} would stop")
            now = mount.clock.monotonic()
            source = self._source = Source(
                address="",
                agent="",
                user="",
                protocol="fallback",
                description=Description(loop.content_type),
                connected=now,
                stop=self.stop,
                fallback=self.name,
            )
            burst = mount.settings.burst_seconds
            lead = min(now - mount.appended, burst) if mount.ring.head else burst
            with mount.claim(source):
                pace = Pace(mount, source, loop, lead)
                reason = await Session(mount, source, pace.receive, self._current).run()
                raise Unplayable(f"it {reason.words}")
        finally:
            loop.close()


class Pace:
    """Hands out a file's bytes no faster than their audio lasts.

    Args:
        lead: seconds of audio to begin with at once.
    """

    def __init__(self, mount: Mount, source: Source, loop: FileLoop, lead: float) -> None:
        self._mount = mount
        self._source = source
        self._loop = loop
        self._began = mount.clock.monotonic() - lead
        self._zero = mount.timeline.end
        self._turn_began_at = -1.0

    async def receive(self) -> bytes:
        """The next bytes, when it is time; see castd.ingest.session.Session.

        Raises:
            Unplayable: the file holds no audio.
            OSError: it is gone.
        """
        mount, loop = self._mount, self._loop
        while (wait := self._wait()) > 0:
            await trio.sleep(wait)
        data = b""
        while not data:
            data = await trio.to_thread.run_sync(loop.read)
            if not data and loop.ended:
                played = mount.timeline.end
                if played <= self._turn_began_at:
                    raise Unplayable("it holds no audio")
                self._turn_began_at = played
                await trio.to_thread.run_sync(loop.rewind)
        if loop.title and mount.source is self._source:
            title, loop.title = loop.title, None
            text = " - ".join(part for part in (title.artist, title.title) if part)
            mount.set_title(text, artist=title.artist or None, title=title.title or None, album=title.album or None)
        return data

    def _wait(self) -> float:
        mount = self._mount
        if not self._source.shape.format:
            return 0.0  # it has to be recognised first
        if mount.source is not self._source:
            return LEAD_SECONDS
        return (mount.timeline.end - self._zero) - (mount.clock.monotonic() - self._began) - LEAD_SECONDS


class FileLoop:
    """A file's bytes, over and over. Its methods wait for the disk.

    Each turn of an Ogg file is a link of a chain (RFC 3533 §4), which needs a serial number that no other has: pages are
    given new ones.

    Attributes:
        content_type: for listeners.
        shape: of its stream.
        title: what its tags say, once in each turn; None after it was taken, and for Ogg, whose headers say it.
        ended: this turn is over.

    Raises:
        OSError: it cannot be read.
        Unplayable: it is in no format castd can time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._cutter: PageCutter | None = None
        self._mask = 0
        self.title: tags.Tags | None = None
        self.ended = False
        self.rewind()
        try:
            self.shape, self.content_type = self._probe()
            if self.shape.format == "ogg":
                self._cutter = PageCutter()
            self.rewind()
        except BaseException:
            self.close()
            raise

    def rewind(self) -> None:
        """Begin the next turn, with the file that has the name now."""
        self.close()
        self._file = self._path.open("rb")
        self.ended = False
        self._mask = randbits(32)
        if self._cutter is not None:
            self._cutter = PageCutter()
            return
        start = self._file.read(tags.MUTAGEN_BYTES)
        self.title = tags.id3(start) if start.startswith(b"ID3") else tags.Tags()
        self._file.seek(0)

    def read(self) -> bytes:
        """The next bytes of this turn; none, and `ended`, at its end; none, too, where a page is not whole yet."""
        assert self._file is not None
        data = self._file.read(READ_BYTES)
        if not data:
            self.ended = True
        if self._cutter is None:
            return data
        pages = self._cutter.feed(data) if data else self._cutter.finish()
        return b"".join(self._relabelled(page) for page in pages)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _relabelled(self, data: bytes) -> bytes:
        page = Page.read(data)
        serial = page.serial ^ self._mask
        return Page(
            page.header_type, page.granule_position, serial, page.sequence, page.segment_table, page.body
        ).write()

    def _probe(self) -> tuple[Shape, str]:
        assert self._file is not None
        self._file.seek(_tag_bytes(self._file))
        sniffer = Sniffer("")
        verdict = None
        while verdict is None and (data := self._file.read(READ_BYTES)):
            verdict = sniffer.feed(data)
        verdict = verdict or sniffer.finish()
        if verdict is None or isinstance(verdict.framer, Opaque):
            raise Unplayable("it is neither MP3, AAC (ADTS) nor Ogg")
        shape = recognised_shape(verdict)
        heads = [run.head for run in verdict.runs if run.head is not None]
        while shape.format == "ogg" and not heads and (data := self._file.read(READ_BYTES)):
            heads = [run.head for run in verdict.framer.feed(data) if run.head is not None]
        return (shape.with_head(heads[0]) if heads else shape), verdict.content_type


def _tag_bytes(file: IO[bytes]) -> int:
    """How long the ID3v2 tag at the start is (id3.org, 2.4.0 §3.1); the file is read from its start afterwards."""
    header = file.read(10)
    file.seek(0)
    if len(header) < 10 or not header.startswith(b"ID3"):
        return 0
    size = 0
    for byte in header[6:]:
        size = size << 7 | byte & 0x7F
    return size + len(header)

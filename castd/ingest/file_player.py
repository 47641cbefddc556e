"""Plays a file in a loop as a source: paced by its own frames, of which the container shows no seam."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from castd.ingest.session import Session
from castd.mount.audio_file import FileLoop, Unplayable
from castd.mount.party import Description, Source

if TYPE_CHECKING:
    from castd.config import Current
    from castd.mount.mount import Mount

log = logging.getLogger(__name__)

LEAD_SECONDS = 0.5
"""How far ahead of time the file is put into the ring."""

RETRY_SECONDS = 10.0
"""After a file could not be played; it may be there again."""


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
        complaint = ""
        with self._scope:
            while True:
                try:
                    await self._play()
                except (OSError, Unplayable) as error:
                    if str(error) != complaint:
                        complaint = str(error)
                        log.warning("%s: %s cannot stand in: %s", self._mount.name, self.name, complaint)
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
        wait = self._wait()
        while wait > 0:
            await trio.sleep(wait)
            wait = self._wait()
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
            mount.set_title(
                text,
                artist=title.artist or None,
                title=title.title or None,
                album=title.album or None,
                by=self._source,
            )
        return data

    def _wait(self) -> float:
        mount = self._mount
        if not self._source.shape.format:
            return 0.0  # it has to be recognised first
        if mount.source is not self._source:
            return LEAD_SECONDS
        return (mount.timeline.end - self._zero) - (mount.clock.monotonic() - self._began) - LEAD_SECONDS

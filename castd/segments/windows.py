"""Has playlists and manifests reach back as far as listeners may go back, where a mount's ring is on file.

Such a mount's segments are made whether somebody asks for them or not, so that a playlist is an hour long when the
first player comes; the older ones are put by on the disk (castd.segments.spool). One task looks after all of them. It
waits for the disk, and nobody waits for it: where the disk is too slow, full or broken, playlists are short.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from castd.errors import is_of_the_machine
from castd.segments.muxers import offered
from castd.segments.spool import Spool

if TYPE_CHECKING:
    from castd.config import Current
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.segments.segmenter import Segmenter
    from castd.segments.segmenters import Segmenters

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

AT_ONCE = 8
"""Times that something of one mount is put by, before others have their turn."""

PACE_SECONDS = 0.01
"""Likewise, while there is more to be put by, or an hour is being read that waits for that."""

RETRY_SECONDS = 60.0
"""After something unforeseen."""


class Windows:
    """The windows of all mounts."""

    def __init__(self, current: Current, registry: Registry, segmenters: Segmenters) -> None:
        self._current = current
        self._registry = registry
        self._segmenters = segmenters
        segmenters.reach = self.reach

    def reach(self, mount: Mount) -> float:
        """Seconds that a mount's playlists are to reach back by; 0 for no more than their usual window."""
        settings = mount.settings
        possible = self._current.config.server.state_dir and mount.on_file and offered(mount)
        seconds = min(settings.rewind_seconds, settings.hls_rewind_seconds) if possible else 0.0
        return seconds if seconds > settings.hls_window_seconds else 0.0

    async def run(self) -> None:
        """Look after them until cancelled."""
        while True:
            made, busy = self._segmenters.made, False
            try:
                busy = await self._look_after_all()
            except Exception:  # a bug; it may cost windows, and nobody what is live
                log.exception("old segments are not looked after for a while")
                await trio.sleep(RETRY_SECONDS)
            with trio.move_on_after(PACE_SECONDS if busy else LOOK_SECONDS):
                await made.wait()

    async def _look_after_all(self) -> bool:
        """Once.

        Returns:
            Whether there may be more to be done at once.
        """
        more = False
        if self._segmenters.closed:
            return False
        for mount in list(self._registry.mounts.values()):
            if self.reach(mount):
                self._segmenters.of(mount)
        for segmenter in self._segmenters:
            segmenter.held.allow(self.reach(segmenter.mount), segmenter.mount.settings.rewind_bytes)
            if segmenter.held.wants_spool:
                await self._give_spool(segmenter)
            more |= segmenter.fills
            for _ in range(AT_ONCE):
                if not await segmenter.put_by():
                    break
                more = True
        return more

    async def _give_spool(self, segmenter: Segmenter) -> None:
        try:
            spool = await Spool.open(self._current.config.server.state_dir, segmenter.held.spool_bytes)
        except Exception as error:
            if not is_of_the_machine(error):
                raise
            segmenter.held.fail(str(error) or "no memory")
            segmenter.hurry()
            return
        if segmenter.closed or segmenter.held.spool is not None:
            spool.close()
        else:
            segmenter.held.use(spool)

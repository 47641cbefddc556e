"""What each listener of a mount hears before the stream: a short file of its operator's."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from castd.mount.audio_file import Unplayable, whole_frames
from castd.mount.shape import Shape

if TYPE_CHECKING:
    from castd.mount.mount import Mount

log = logging.getLogger(__name__)

INTRO_BYTES = 4 * 1024 * 1024
"""Most that an intro may have: four minutes of 128 kbit/s. It is held once for all listeners."""

RECHECK_SECONDS = 1.0
"""How often it is looked whether the file was replaced."""


class Intros:
    """The files, as they were when last looked at."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    async def of(self, mount: Mount) -> bytes:
        """What a listener who comes to a mount now hears first: whole frames or pages; b"" for nothing."""
        path = mount.settings.intro_file
        if not path or not mount.shape.format:
            return b""
        held = self._held.setdefault(path, _Held(Path(path)))
        async with held.lock:
            now = trio.current_time()
            if now - held.checked >= RECHECK_SECONDS:
                held.checked = now
                await trio.to_thread.run_sync(held.refresh)
        if held.frames and not mount.shape.fits(held.shape):
            held.complain(f"{mount.name} is {mount.shape}, and it is {held.shape}: players would stop")
            return b""
        return held.frames


class _Held:
    """One file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._complaint = ""
        self.lock = trio.Lock()
        self.checked = -RECHECK_SECONDS
        self.frames = b""
        self.shape = Shape()

    def refresh(self) -> None:
        """Read it if it was replaced; waits for the disk."""
        try:
            facts = os.stat(self._path)
            version = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if version == self._version:
                return
            self._version, self.frames = version, b""
            self.frames, self.shape = whole_frames(self._path, INTRO_BYTES)
            self._complaint = ""
        except (OSError, Unplayable) as error:
            self.frames = b""
            self.complain(str(error))

    def complain(self, words: str) -> None:
        """Say why it is not played, once."""
        if words != self._complaint:
            self._complaint = words
            log.warning("%s is no intro: %s", self._path, words)

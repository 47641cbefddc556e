"""What each listener of a mount hears before the stream: a short file of its operator's."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from castd.mount.audio_file import whole_frames
from castd.mount.shape import Shape
from castd.watched_file import WatchedFile

if TYPE_CHECKING:
    from castd.mount.mount import Mount

log = logging.getLogger(__name__)

INTRO_BYTES = 4 * 1024 * 1024
"""Most that an intro may have: four minutes of 128 kbit/s. It is held once for all listeners."""


class Intros:
    """The files, as they are now."""

    def __init__(self) -> None:
        self._files: dict[str, WatchedFile[tuple[bytes, Shape]]] = {}
        self._misfits: dict[str, str] = {}

    async def of(self, mount: Mount) -> bytes:
        """What a listener who comes to a mount now hears first: whole frames or pages; b"" for nothing."""
        path = mount.settings.intro_file
        if not path or not mount.shape.format:
            return b""
        if path not in self._files:
            complain = partial(log.warning, "%s is no intro: %s", path)
            self._files[path] = WatchedFile(path, _read, (b"", Shape()), complain)
        frames, shape = await self._files[path].content()
        misfit = "" if mount.shape.fits(shape) else f"{mount.name} is {mount.shape}, and it is {shape}"
        if self._misfits.get(mount.name, "") != misfit:
            self._misfits[mount.name] = misfit
            if misfit:
                log.warning("%s is no intro: %s: players would stop", path, misfit)
        return b"" if misfit else frames


def _read(path: str) -> tuple[bytes, Shape]:
    return whole_frames(Path(path), INTRO_BYTES)

"""Sees to it that mounts with `rewind_seconds` have their rings in files, and that the files tell what is in them.

A mount begins in memory. When its bitrate is known, a file of the right size is allocated in a thread, and the mount
goes on there. A mount that is opened again goes on with the file it had, whether the server was restarted or not.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import trio

from castd.errors import is_of_the_machine, lacks_resources
from castd.mount.rewind import GRAIN_BYTES, Marks, RewindFile, marks_of
from castd.mount.ring import write_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.config import Current
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.mount.rewind import NewRing

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

SAVE_SECONDS = 10.0
"""Between two times that the marks are written down."""

KNOWN_SECONDS = 10.0
"""Of audio, from which the size of a file is reckoned."""

SPARE = 1.15
"""What a file has more than that: bitrates vary."""

RETRY_SECONDS = 600.0
"""After a file was allocated, or could not be."""

RARELY_SECONDS = 3600.0
"""Between two times that the log is told of the same trouble."""

STEP_BYTES = 4 * 1024 * 1024
"""Copied at one go, in a thread."""

LAST_BYTES = 256 * 1024
"""Copied when a ring moves, while nothing else happens."""

NOT_WRITTEN = "the next process will not know what can be rewound"

NOT_REMOVED = "its files take room on the disk and cannot be removed"

LAST_SECONDS = 5.0
"""For the last marks when the server stops."""

_disk = trio.CapacityLimiter(2)


class Rewinds:
    """The files of all mounts."""

    def __init__(self, current: Current, registry: Registry) -> None:
        self._current = current
        self._registry = registry
        self._at_work: dict[str, Mount] = {}
        self._remembered: dict[str, Marks] = {}
        self._not_before: dict[str, float] = {}
        self._saved = 0.0
        self._troubles: dict[str, tuple[str, float]] = {}  # what the log was told, and when
        registry.on_open.append(self._reopen)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after the files until cancelled; then write down what is in them."""
        if self._state_dir:
            await trio.to_thread.run_sync(self._remember, limiter=_disk)
        for mount in list(self._registry.mounts.values()):
            if mount.on_file and self._wanted(mount.name):  # another process had it
                self._at_work[mount.name] = mount
        task_status.started()
        try:
            while True:
                await trio.sleep(LOOK_SECONDS)
                try:
                    await self._look_after_all()
                except Exception:  # a bug; it may cost what can be rewound, and nobody what is live
                    log.exception("what can be rewound is not looked after for a while")
                    await trio.sleep(RETRY_SECONDS)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LAST_SECONDS):
                await self._put_away()
                await self._save(closed=True)  # sources have ended before this

    async def _look_after_all(self) -> None:
        for mount in list(self._registry.mounts.values()):
            await self._look(mount)
        await self._put_away()
        if trio.current_time() - self._saved >= SAVE_SECONDS:
            self._saved = trio.current_time()
            await self._save(closed=False)

    @property
    def _state_dir(self) -> str:
        return self._current.config.server.state_dir

    def _wanted(self, name: str) -> float:
        return self._current.config.mount(name).rewind_seconds if self._state_dir else 0.0

    def _remember(self) -> None:
        """Read what the process before this one wrote down, as far as it is still wanted."""
        if not self._registry.mounts:  # else another process may be at work here yet
            RewindFile.clean(self._state_dir)
        for file in RewindFile.all(self._state_dir):
            marks = file.load()
            if marks is not None and self._wanted(marks.name):
                self._remembered[marks.name] = marks
            elif marks is not None:
                log.info("%s: is not to be rewound any more; %s is removed", marks.name, file.ring)
                _remove(file)

    def _reopen(self, mount: Mount) -> None:
        """A mount is new: have it go on with what one of its name had."""
        marks = self._remembered.pop(mount.name, None)
        before = self._at_work.pop(mount.name, None)
        if before is not None and before.closed:
            marks = marks_of(before, closed=True)
        if marks is None or not self._wanted(mount.name):
            return
        if RewindFile.of(self._state_dir, mount.name).reopen(mount, marks):
            log.info("%s: %.0f minutes from before can be heard again", mount.name, _held(mount) / 60)
            self._at_work[mount.name] = mount
            self._saved = 0.0  # that it is not closed any more

    async def _look(self, mount: Mount) -> None:
        """Give a mount a file, or a larger one, if it is time."""
        wanted, held = self._wanted(mount.name), _held(mount)
        if (
            not self._is_here(mount)
            or not wanted
            or held < KNOWN_SECONDS
            or trio.current_time() < self._not_before.get(mount.name, 0.0)
        ):
            return
        oldest = mount.timeline.oldest
        assert oldest is not None
        byte_rate = (mount.ring.head - oldest.position) / held
        bytes_wanted = (wanted + mount.settings.ring_seconds) * byte_rate * SPARE
        size = _grains(min(bytes_wanted, mount.settings.rewind_bytes))
        if mount.on_file and (mount.ring.tail == 0 or held >= wanted or size <= mount.ring.capacity):
            return
        self._not_before[mount.name] = trio.current_time() + RETRY_SECONDS
        file, least = RewindFile.of(self._state_dir, mount.name), _grains(mount.ring.capacity)
        try:
            new = await trio.to_thread.run_sync(file.allocate, max(size, least), least, limiter=_disk)
            if not await self._move(mount, file, new):
                return
        except Exception as error:
            if not isinstance(error, OSError | ValueError) and not lacks_resources(error):
                raise
            log.error("%s: plays on, but cannot be rewound: %s", mount.name, error or "no memory")
            return
        got, self._saved = new.size, 0.0
        self._at_work[mount.name] = mount
        if got < bytes_wanted:
            reason = "rewind_bytes is" if got >= size else "the disk has"
            log.warning("%s: can be rewound by %.0f minutes, not %.0f: %s no more than %d MiB",
                        mount.name, (got / byte_rate / SPARE - mount.settings.ring_seconds) / 60, wanted / 60,
                        reason, got // GRAIN_BYTES)  # fmt: skip
        else:
            log.info("%s: can be rewound by %.0f minutes, within %d MiB", mount.name, wanted / 60, got // GRAIN_BYTES)

    async def _move(self, mount: Mount, file: RewindFile, new: NewRing) -> bool:
        """Have a mount go on in another file: all of its ring is copied in a thread, step by step, but for the last.

        Returns:
            Whether it does: it may have been closed meanwhile, or another process may have it.

        Raises:
            OSError, ValueError: it cannot; it goes on where it was.
        """
        ring, before = mount.ring, -1
        start = upto = max(ring.tail, ring.head - new.size)
        try:
            while self._is_here(mount) and ring.head - upto > LAST_BYTES:
                if upto < ring.tail:  # it lost bytes while others were copied
                    start = upto = ring.tail
                stop = min(upto + STEP_BYTES, ring.head)
                pieces = ring.views(upto, stop)
                await trio.to_thread.run_sync(write_at, new.descriptor, new.size, upto, pieces, limiter=_disk)
                for each in pieces:
                    each.release()
                upto = stop
            if not self._is_here(mount):
                await trio.to_thread.run_sync(new.discard, limiter=_disk)
                return False
            before = os.dup(ring.descriptor)
            file.take(new)
        except BaseException:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(new.discard, limiter=_disk)
            raise
        try:
            mount.move_ring(new.descriptor, new.size, range(start, upto))
        finally:  # the disk frees a file of a gigabyte in its own time
            await trio.to_thread.run_sync(os.close, before, limiter=_disk)
        return True

    async def _put_away(self) -> None:
        """Write down what is in the files of mounts that were closed; forget those that another process has now."""
        for name, mount in list(self._at_work.items()):
            if mount.closed and self._wanted(name):
                self._remembered[name] = marks_of(mount, closed=True)
                await self._write(name, self._remembered[name])
            elif mount.closed:
                await self._in_thread(name, partial(_remove, RewindFile.of(self._state_dir, name)), NOT_REMOVED)
            elif self._is_here(mount):
                continue
            if self._at_work.get(name) is mount:
                del self._at_work[name]

    async def _save(self, *, closed: bool) -> None:
        for name, mount in list(self._at_work.items()):
            if self._is_here(mount):
                await self._write(name, marks_of(mount, closed=closed))

    async def _write(self, name: str, marks: Marks) -> None:
        file = RewindFile.of(self._state_dir, name)
        await self._in_thread(name, partial(file.save, marks), NOT_WRITTEN)

    async def _in_thread(self, name: str, work: Callable[[], None], otherwise: str) -> None:
        try:
            await trio.to_thread.run_sync(work, limiter=_disk)
        except Exception as error:
            if not is_of_the_machine(error):
                raise
            self._complain(name, f"{otherwise}: {error or 'no memory'}")
        else:
            if self._troubles.pop(name, None) is not None:
                log.info("%s: what can be rewound is written down again", name)

    def _complain(self, name: str, trouble: str) -> None:
        """Once, and then rarely."""
        said, when = self._troubles.get(name, ("", -inf))
        if said != trouble or trio.current_time() - when >= RARELY_SECONDS:
            log.error("%s: %s", name, trouble)
            self._troubles[name] = trouble, trio.current_time()

    def _is_here(self, mount: Mount) -> bool:
        """Neither closed nor handed over to another process."""
        return self._registry.mounts.get(mount.name) is mount


def _remove(file: RewindFile) -> None:
    try:
        file.remove()
    except OSError as error:
        log.error("%s takes room on the disk and cannot be removed: %s", file.ring, error)


def _held(mount: Mount) -> float:
    """Seconds of audio in a mount's ring."""
    oldest = mount.timeline.oldest
    return mount.timeline.end - oldest.time if oldest is not None else 0.0


def _grains(size: float) -> int:
    return -(-int(size) // GRAIN_BYTES) * GRAIN_BYTES

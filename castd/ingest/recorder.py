"""Writes down what encoders send: whole frames, in files that decoders can begin with.

A recording hears what is put into the ring, and a thread of its own writes it. A disk that is slow or full costs the
recording frames, and nobody else anything.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from itertools import count
from math import inf
from pathlib import Path
from typing import IO, TYPE_CHECKING

import trio

from castd.batches import Batches
from castd.log import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.config import Config
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.mount.timeline import Title
    from castd.wire.framer import Run

log = logging.getLogger(__name__)

WAITING_RUNS = 1024
"""Runs of frames that wait for the disk, at most: one or two minutes of most streams."""

RETRY_SECONDS = 10.0
"""After a file could not be written."""

REPEAT_SECONDS = 600.0
"""Between two lines of a recording about the same trouble."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of frames.

    Attributes:
        starts: a decoder may begin with its first byte.
        head: the headers it needs for that, if it has some and they are not in `data`.
        wall, at: when it came, seconds since 1970 and monotonic.
        fresh: the first one of a source.
    """

    data: bytes
    starts: bool
    head: bytes
    wall: float
    at: float
    fresh: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """Where and how a mount is recorded; from its settings.

    Attributes:
        pattern: of the file's name: strftime's, and "{mount}" for the mount's.
        rotate_bytes, rotate_seconds: a new file is begun after so much; 0 means not at all.
    """

    pattern: str
    rotate_bytes: int
    rotate_seconds: float

    def path(self, mount: str, wall: float) -> Path:
        """The file of a moment."""
        name = mount.strip("/").replace("/", "-")
        return Path(time.strftime(self.pattern, time.localtime(wall)).replace("{mount}", name))


class Recorders:
    """A recording for each mount that is to have one, while it is there."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._at_work: dict[Mount, Recording] = {}
        self._nursery: trio.Nursery | None = None
        registry.on_feed.append(self._settle)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, and then what is left."""
        async with trio.open_nursery() as self._nursery:
            for mount in list(self._registry.mounts.values()):
                self._settle(mount)
            task_status.started()
            await trio.sleep_forever()

    def prepare(self, config: Config) -> Callable[[], None]:
        """See castd.reload.Part."""

        def commit() -> None:
            for mount in list(self._registry.mounts.values()):
                self._settle(mount)

        return commit

    def _settle(self, mount: Mount) -> None:
        settings = mount.settings
        rules = Rules(settings.dump_file, settings.dump_rotate_bytes, settings.dump_rotate_seconds)
        wanted = bool(rules.pattern) and not mount.closed and mount.source is not None and self._nursery is not None
        recording = self._at_work.get(mount)
        if recording is not None and (not wanted or recording.rules != rules):
            del self._at_work[mount]
            recording.stop()
            recording = None
        if wanted and recording is None:
            assert self._nursery is not None
            recording = self._at_work[mount] = Recording(mount, rules)
            mount.taps = (*mount.taps, recording)
            self._nursery.start_soon(recording.run)


class Recording:
    """See castd.mount.mount.Tap."""

    def __init__(self, mount: Mount, rules: Rules) -> None:
        self.rules = rules
        self._mount = mount
        self._fresh = True
        self._scope = trio.CancelScope()
        self._file = _File(mount.name, rules)
        self._batches = Batches(self._file.write, room=WAITING_RUNS)
        self._lost = 0

    async def run(self) -> None:
        """Write until stopped, and then what is left."""
        try:
            with self._scope:
                await self._batches.run()
        finally:
            self._file.close()

    def stop(self) -> None:
        """Hear no more."""
        self._mount.taps = tuple(tap for tap in self._mount.taps if tap is not self)
        self._scope.cancel()

    def hear(self, run: Run) -> None:
        """See castd.mount.mount.Tap."""
        mount = self._mount
        if mount.source is None or mount.source.fallback:
            self._fresh = True
            return
        head = mount.timeline.head_at(mount.ring.head) if run.head is None else None
        starts = run.head is not None or bool(run.entries and run.entries[0].offset == 0)
        clock = mount.clock
        self._batches.put(
            Piece(run.data, starts, head.data if head else b"", clock.wall(), clock.monotonic(), self._fresh)
        )
        self._fresh = False
        if self._batches.lost != self._lost:
            if not self._lost:
                log.error("%s: the disk is too slow for its recording: frames are missing in it", mount.name)
            self._lost = self._batches.lost

    def hear_title(self, title: Title) -> None:
        """See castd.mount.mount.Tap; titles are in playlist.log."""


class _File:
    """The file being written; all this is done in a thread."""

    def __init__(self, mount: str, rules: Rules) -> None:
        self._mount = mount
        self._rules = rules
        self._file: IO[bytes] | None = None
        self._written = 0
        self._begun = 0.0
        self._silent_until = -inf
        self._failing = False
        self._repeats = Repeats(REPEAT_SECONDS)

    def write(self, pieces: list[Piece]) -> None:
        """Write, in a new file where it is time for one."""
        for piece in pieces:
            if piece.at < self._silent_until:
                continue
            try:
                self._write(piece)
            except OSError as error:
                left_out = self._repeats.admit(error.errno, piece.at)
                if left_out is not None:
                    log.error("%s: not recorded for %g s: %s (%d times more since the last such line)",
                              self._mount, RETRY_SECONDS, error, left_out)  # fmt: skip
                self._silent_until, self._failing = piece.at + RETRY_SECONDS, True
                self.close()

    def close(self) -> None:
        """End the file."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                log.error("%s: its recording may lack its end: %s", self._mount, error)

    def _write(self, piece: Piece) -> None:
        rules = self._rules
        full = 0 < rules.rotate_bytes <= self._written or 0 < rules.rotate_seconds <= piece.at - self._begun
        if self._file is not None and piece.starts and (full or piece.fresh):
            self.close()
            self._open(piece, rotated=full and not piece.fresh)
        if self._file is None:
            if not piece.starts:
                return
            self._open(piece, rotated=False)
        self._append(piece.data)
        if self._failing:
            self._failing = False
            log.info("%s: recorded again", self._mount)

    def _open(self, piece: Piece, *, rotated: bool) -> None:
        path = self._rules.path(self._mount, piece.wall)
        path.parent.mkdir(parents=True, exist_ok=True)
        if rotated and path.exists():
            path = next(new for n in count(1) if not (new := path.with_name(f"{path.stem}.{n}{path.suffix}")).exists())
        self._file = path.open("ab", buffering=0)
        self._written, self._begun = 0, piece.at
        if not self._failing:
            log.info("%s: recorded in %s", self._mount, path)
        if piece.head:
            self._append(piece.head)

    def _append(self, data: bytes) -> None:
        """All of it, or nothing: a piece of a frame would be noise for whoever plays the file."""
        assert self._file is not None
        start = self._file.seek(0, 2)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(start)
            raise
        self._written += len(data)

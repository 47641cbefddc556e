"""A mount's ring in a file, for listeners who go back by an hour: two files a mount, below the state directory.

One is the ring's memory, allocated in full before it is used: a full disk is an error then, and not a SIGBUS in the
middle of an append. The other tells what is in it (msgpack): positions and marks, written every ten seconds and when
the mount closes. What was written after that was told is unknown to the next process, and so is what it overwrote.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from castd.mount.ring import Ring, RingState
from castd.mount.shape import Shape
from castd.mount.timeline import Timeline, TimelineState

if TYPE_CHECKING:
    from castd.mount.mount import Mount

log = logging.getLogger(__name__)

FOLDER = "rewind"

NEW = ".new"
"""The end of names of files that are not complete."""

FORMAT = 1

UNTOLD_SHARE = 1 / 16
"""Of a ring, that may have been overwritten since its marks were told, if the process did not close it."""

RESERVE_BYTES = 64 * 1024 * 1024
"""Left free on the disk: logs and records must go on."""

GRAIN_BYTES = 1024 * 1024
"""Rings in files have a multiple of this."""


class Marks(msgspec.Struct):
    """What a ring's file holds.

    Attributes:
        name: of the mount.
        closed: nothing was written after this.
        alike_from: see castd.mount.mount.Mount.
    """

    format: int
    name: str
    closed: bool
    ring: RingState
    timeline: TimelineState
    shape: Shape
    alike_from: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Marks)


def marks_of(mount: Mount, *, closed: bool) -> Marks:
    """What is in a mount's ring now. Its lists are copies; another thread may write them down."""
    told = mount.timeline.state()
    timeline = TimelineState(
        end=told.end,
        entries=[*told.entries],
        heads=[*told.heads],
        splices=[*told.splices],
        titles=[*told.titles],
        past_titles=told.past_titles,
        titles_forgotten=told.titles_forgotten,
    )
    return Marks(FORMAT, mount.name, closed, mount.ring.state(), timeline, mount.shape, mount.alike_from)


class NewRing(NamedTuple):
    """A file that is to be a ring's, under a name of its own.

    Attributes:
        descriptor: the holder's.
        size: in bytes, all of them allocated.
    """

    path: Path
    descriptor: int
    size: int

    def discard(self) -> None:
        """It is not wanted. For threads."""
        os.close(self.descriptor)
        self.path.unlink(missing_ok=True)


class RewindFile:
    """The two files of a mount. What may take its time is for threads: all but `reopen` and `take`.

    Args:
        marks: path of the one that tells what is in the other.
    """

    def __init__(self, marks: Path) -> None:
        self.marks = marks
        self.ring = marks.with_suffix(".ring")

    @classmethod
    def of(cls, state_dir: str, name: str) -> RewindFile:
        """Those of the mount of that name."""
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name.strip("/"))[:60]
        return cls(Path(state_dir, FOLDER, f"{slug}-{sha256(name.encode()).hexdigest()[:12]}.marks"))

    @staticmethod
    def clean(state_dir: str) -> None:
        """Remove what a process began that is no more.

        Raises:
            OSError: it cannot be.
        """
        for path in Path(state_dir, FOLDER).glob(f"*{NEW}"):
            path.unlink(missing_ok=True)

    @classmethod
    def all(cls, state_dir: str) -> list[RewindFile]:
        """Those of all mounts that have some."""
        return [cls(path) for path in sorted(Path(state_dir, FOLDER).glob("*.marks"))]

    def allocate(self, wanted: int, least: int) -> NewRing:
        """Make a file that is to be the ring's. Nothing else changes: the mount may go to another process meanwhile.

        Args:
            wanted: bytes it is to have.
            least: bytes it must have to be of use.

        Returns:
            The file, with less than was wanted where the disk has no more.

        Raises:
            OSError: there is no room, or another fault of the disk.
        """
        self.ring.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._new(self.ring)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            disk = os.fstatvfs(descriptor)
            free = disk.f_bavail * disk.f_frsize - RESERVE_BYTES
            size = min(wanted, max(free, 0)) // GRAIN_BYTES * GRAIN_BYTES
            if size < least:
                raise OSError(errno.ENOSPC, f"{max(free, 0) // GRAIN_BYTES} MiB are free for it")
            os.posix_fallocate(descriptor, 0, size)
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return NewRing(path, descriptor, size)

    def take(self, new: NewRing) -> None:
        """Have a file as the ring's from now on. What was told of the one before goes first.

        Raises:
            OSError: a fault of the disk.
        """
        self.marks.unlink(missing_ok=True)
        new.path.replace(self.ring)

    def save(self, marks: Marks) -> None:
        """Write down what is in the ring, the ring first.

        Raises:
            OSError: it cannot be; what was written down before stands.
        """
        with open(self.ring, "rb") as ring:
            os.fdatasync(ring.fileno())
        new = self._new(self.marks)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(_encoder.encode(marks))
            new.replace(self.marks)
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    @staticmethod
    def _new(path: Path) -> Path:
        """A name that no other process chooses: in an upgrade two of them have a mount's files for a while."""
        return path.with_name(f"{path.name}.{token_hex(4)}{NEW}")

    def load(self) -> Marks | None:
        """What was written down; None if nothing was, or nothing this version understands."""
        try:
            marks = _decoder.decode(self.marks.read_bytes())
            if marks.format == FORMAT and self.ring.stat().st_size == marks.ring.capacity:
                return marks
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("%s: what was recorded of it cannot be used: %s", self.marks, error)
        return None

    def reopen(self, mount: Mount, marks: Marks) -> bool:
        """Have a mount that is new go on with what is in the file.

        Returns:
            Whether it does; the log says why not.
        """
        try:
            descriptor = os.open(self.ring, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            if os.fstat(descriptor).st_size != marks.ring.capacity:
                os.close(descriptor)
                raise ValueError("is of another size than was told")
            ring = Ring.adopt(descriptor, marks.ring)
        except (OSError, ValueError) as error:
            log.warning("%s: %s: %s", mount.name, self.ring, error)
            return False
        timeline = Timeline.of(marks.timeline)
        if not marks.closed:
            ring.lose(int(marks.ring.capacity * UNTOLD_SHARE))
            timeline.forget(ring.tail)
        mount.remember(ring, timeline, marks.shape, marks.alike_from)
        return True

    def remove(self) -> None:
        """Free the disk."""
        self.marks.unlink(missing_ok=True)
        self.ring.unlink(missing_ok=True)

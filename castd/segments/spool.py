"""Old segments on the disk: one file for each segmenter. It has no name, so that nothing of it outlives the last
process that has it open, and two processes never meet in it.

Like a ring it is addressed by absolute positions that never wrap: what is put by goes to the head, and the tail follows
when it is not wanted any more. The file consists of slots of CHUNK_BYTES, and each chunk of positions lies in one of
them. So it grows by a slot where a stream needs more than it did, as long as it may and the disk has room, and is
allocated before it is written: a full disk is an error at a known place. Everything that waits for the disk does so in
threads.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, TypeVar
from zlib import crc32

import msgspec
import trio

from castd.mount.rewind import FOLDER, RESERVE_BYTES
from castd.segments.segment import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CHUNK_BYTES = 1024 * 1024

LEAST_CHUNKS = 4
"""With fewer it is not worth while."""

Result = TypeVar("Result")

_readers = trio.CapacityLimiter(8)
_writers = trio.CapacityLimiter(2)


class SpoolFull(Exception):
    """It may have no more room; what is oldest must go first."""


class SpoolState(msgspec.Struct):
    """A spool, for another process that has its descriptor.

    Attributes:
        slots: of the chunks that hold something, by the chunks' numbers.
        count: slots of the file.
    """

    head: int
    tail: int
    slots: dict[int, int]
    count: int


class Spool:
    """See the module.

    Args:
        descriptor: of the file; owned from now on.
        wanted: bytes it may have.

    Attributes:
        head, tail: positions after what was put by last, and of the oldest that is still there.
        capacity: bytes it may have, as far as the disk has them.
    """

    def __init__(self, descriptor: int, wanted: int, state: SpoolState | None = None) -> None:
        state = state or SpoolState(0, 0, {}, 0)
        self.descriptor = descriptor
        self.head, self.tail = state.head, state.tail
        self._slots, self._count = dict(state.slots), state.count
        self._free = sorted({*range(self._count)} - {*self._slots.values()}, reverse=True)
        self._users = 0
        self._closed = self._is_gone = False
        self.allow(wanted)

    @classmethod
    async def open(cls, state_dir: str, wanted: int) -> Spool:
        """An empty one.

        Raises:
            OSError: there can be none.
        """
        return cls(await trio.to_thread.run_sync(_nameless, state_dir, limiter=_writers), wanted)

    def state(self) -> SpoolState:
        """All of it but the bytes. What is just being put by has its place already: another process goes on behind."""
        return SpoolState(self.head, self.tail, dict(self._slots), self._count)

    def allow(self, wanted: int) -> None:
        """Let it have so many bytes from now on, if the disk has them."""
        self.capacity = max(wanted // CHUNK_BYTES, LEAST_CHUNKS) * CHUNK_BYTES

    @property
    def allocated(self) -> int:
        """Bytes that it has on the disk."""
        return self._count * CHUNK_BYTES

    async def put(self, segments: Sequence[bytes]) -> list[Place]:
        """Put some by, behind one another; one caller at a time.

        Returns:
            Where each of them lies.

        Raises:
            SpoolFull: there is no room for them as long as nothing is let go.
            OSError: the disk has a fault, or no room at all.
        """
        start, size = self.head, sum(map(len, segments))
        lacking = [each for each in range(start // CHUNK_BYTES, (start + size - 1) // CHUNK_BYTES + 1)
                   if each not in self._slots]  # fmt: skip
        while len(self._free) < len(lacking):
            if (self._count + 1) * CHUNK_BYTES > self.capacity:
                raise SpoolFull
            await self._allocate()
        if self._closed:  # another process may have these slots, even if something is still read here
            raise OSError(errno.EBADF, "it is closed")
        self._slots |= {each: self._free.pop() for each in lacking}
        self.head += size
        extents = list(self._extents(start, size))
        checksums = await self._in_thread(lambda: _write(self.descriptor, segments, extents), _writers)
        places = []
        for each, checksum in zip(segments, checksums, strict=True):
            places.append(Place(start, len(each), checksum))
            start += len(each)
        return places

    async def _allocate(self) -> None:
        """Have a slot more.

        Raises:
            SpoolFull, OSError: see put.
        """
        try:
            await self._in_thread(lambda: _allocate(self.descriptor, self._count * CHUNK_BYTES), _writers)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or self._count < LEAST_CHUNKS:
                raise
            self.capacity = self._count * CHUNK_BYTES
            raise SpoolFull from None
        self._free.append(self._count)
        self._count += 1

    async def get(self, place: Place) -> bytes | None:
        """What lies at a place; None if it has been let go.

        Raises:
            OSError: the disk has a fault, or what it gave is not what was put by.
        """
        data = await self.piece(place, 0, place.size)
        if data is None:
            return None
        if crc32(data) != place.checksum:
            raise OSError(errno.EIO, "what was read is not what was written")
        return data

    async def piece(self, place: Place, at: int, size: int) -> bytes | None:
        """A piece of what lies at a place, whose checksum nobody has looked at; None if it has been let go.

        Raises:
            OSError: the disk has a fault.
        """
        if place.position < self.tail or self._is_gone:
            return None
        extents = list(self._extents(place.position + at, size))
        data = await self._in_thread(lambda: _read(self.descriptor, extents), _readers)
        # something else may have been put there meanwhile
        return data if place.position >= self.tail else None

    def let_go(self, position: int) -> None:
        """What lies before a position is not wanted any more."""
        self.tail = max(self.tail, position)
        for chunk in [each for each in self._slots if (each + 1) * CHUNK_BYTES <= self.tail]:
            self._free.append(self._slots.pop(chunk))

    def close(self) -> None:
        """Free the disk, when nobody reads there any more. Twice does no harm."""
        if not self._closed:
            self._closed = True
            self._settle()

    def _extents(self, position: int, size: int) -> Iterator[tuple[int, int]]:
        """Where bytes lie in the file: offsets and sizes."""
        end = position + size
        while position < end:
            chunk, within = divmod(position, CHUNK_BYTES)
            length = min(end - position, CHUNK_BYTES - within)
            yield self._slots[chunk] * CHUNK_BYTES + within, length
            position += length

    async def _in_thread(self, work: Callable[[], Result], limiter: trio.CapacityLimiter) -> Result:
        if self._is_gone:
            raise OSError(errno.EBADF, "it is closed")
        self.retain()
        try:
            return await trio.to_thread.run_sync(work, limiter=limiter)
        finally:  # the thread has come to its end: a descriptor that is closed under it might be another file's
            self.release()

    def retain(self) -> None:
        """Have it stay readable, even closed, until `release`. What another process puts there meanwhile is found out
        by checksums."""
        self._users += 1

    def release(self) -> None:
        """See retain."""
        self._users -= 1
        self._settle()

    def _settle(self) -> None:
        if self._closed and not self._users and not self._is_gone:
            self._is_gone = True  # its number may be another file's from now on
            os.close(self.descriptor)


def _nameless(state_dir: str) -> int:
    folder = Path(state_dir, FOLDER)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
            raise
    path = folder / f"segments-{token_hex(8)}.new"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    path.unlink()
    return descriptor


def _allocate(descriptor: int, offset: int) -> None:
    disk = os.fstatvfs(descriptor)
    if disk.f_bavail * disk.f_frsize < RESERVE_BYTES + CHUNK_BYTES:
        raise OSError(errno.ENOSPC, f"less than {RESERVE_BYTES // CHUNK_BYTES} MiB are free")
    os.posix_fallocate(descriptor, offset, CHUNK_BYTES)


def _write(descriptor: int, segments: Sequence[bytes], extents: Sequence[tuple[int, int]]) -> list[int]:
    """Put segments where they belong; their checksums."""
    data, at = memoryview(b"".join(segments)), 0
    for offset, size in extents:
        piece = data[at : at + size]
        while len(piece):
            count = os.pwrite(descriptor, piece, offset)
            piece, offset = piece[count:], offset + count
        at += size
    return [crc32(each) for each in segments]


def _read(descriptor: int, extents: Sequence[tuple[int, int]]) -> bytes:
    return b"".join(os.pread(descriptor, size, offset) for offset, size in extents)

"""A mount's bytes: one contiguous buffer addressed by absolute positions that never wrap.

A reader is an integer. The buffer is a descriptor mapped into memory, so that it can be handed to another process: of
a memfd, or of a file where it is to hold hours and to outlast the process (castd.mount.rewind). A memoryview slice must
not outlive the call it was made for: a mapping cannot be closed while a view of it lives.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST = 64 * 1024
"""The largest run, an Ogg page of 65,307 bytes (RFC 3533 §6), fits a ring of this size."""


class RingState(msgspec.Struct):
    """A ring, for another process that has its memory."""

    capacity: int
    head: int
    copied_from: int


class Ring:
    """The last bytes of a stream.

    Attributes:
        capacity: bytes it holds.
        head: absolute position after the newest byte.
        descriptor: of the memory.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = max(capacity, SMALLEST)
        self.head = 0
        self._copied_from = 0  # what a smaller buffer had lost, a larger one does not have
        self.descriptor, self._map, self._view = _mapped(_memory(self.capacity), self.capacity)

    @classmethod
    def adopt(cls, descriptor: int, state: RingState) -> Ring:
        """The ring of another process, which does not write there any more.

        Args:
            descriptor: of its memory; owned from now on.

        Raises:
            OSError, ValueError: it cannot be mapped, or is not of that size.
        """
        ring = cls.__new__(cls)
        ring.capacity, ring.head, ring._copied_from = state.capacity, state.head, state.copied_from
        ring.descriptor, ring._map, ring._view = _mapped(descriptor, state.capacity)
        return ring

    def state(self) -> RingState:
        return RingState(self.capacity, self.head, self._copied_from)

    @property
    def tail(self) -> int:
        """Absolute position of the oldest byte still held."""
        return max(self._copied_from, self.head - self.capacity)

    def lose(self, count: int) -> None:
        """Do without the oldest bytes, as many as would be overwritten by `count` more."""
        self._copied_from = min(self.head, max(self._copied_from, self.head + count - self.capacity))

    def append(self, data: bytes) -> None:
        """Write at the head, over the oldest bytes.

        Args:
            data: at most `capacity` bytes; the caller checks.
        """
        size = len(data)
        at = self.head % self.capacity
        room = self.capacity - at
        if size <= room:
            self._view[at : at + size] = data
        else:
            self._view[at:] = data[:room]
            self._view[: size - room] = data[room:]
        self.head += size

    def views(self, start: int, stop: int) -> list[memoryview]:
        """The bytes from `start` to `stop` in place: one slice, two across the wrap, none if empty.

        Args:
            start: absolute position, not before `tail`.
            stop: absolute position, not after `head`.
        """
        if start == stop:
            return []
        at, end = start % self.capacity, stop % self.capacity
        if at < end:
            return [self._view[at:end]]
        if not end:
            return [self._view[at:]]
        return [self._view[at:], self._view[:end]]

    def read(self, start: int, stop: int) -> bytes:
        """A copy of the bytes from `start` to `stop`; same bounds as `views`."""
        return b"".join(self.views(start, stop))

    def grow(self, capacity: int) -> None:
        """Move to a larger buffer; every position held stays valid.

        Raises:
            OSError, MemoryError: no memory or descriptor for it; the ring is unchanged.
        """
        self.move(_memory(capacity), capacity)

    def move(self, descriptor: int, capacity: int, copied: range = range(0)) -> None:
        """Move to another buffer, with as much as it can hold; every position it holds stays valid.

        Args:
            descriptor: of the buffer; owned from now on.
            capacity: its size in bytes, all of it allocated.
            copied: positions whose bytes it has already, as far as they are held; see write_at.

        Raises:
            OSError, ValueError: it cannot be mapped; the ring is unchanged.
        """
        descriptor, larger, view = _mapped(descriptor, capacity)
        held = max(self.tail, self.head - capacity)
        self._copied_from = max(held, copied.start) if copied.stop >= held else held
        start = max(held, copied.stop)
        for piece in self.views(start, self.head):
            at = start % capacity
            room = min(len(piece), capacity - at)
            view[at : at + room] = piece[:room]
            view[: len(piece) - room] = piece[room:]
            start += len(piece)
            piece.release()
        self.close()
        self.capacity, self.descriptor, self._map, self._view = capacity, descriptor, larger, view

    def close(self) -> None:
        """Free the memory, as soon as nobody looks at it: a traceback may still hold a view. Once."""
        os.close(self.descriptor)
        try:
            self._view.release()
            self._map.close()
        except BufferError:
            pass  # freed with the last view


def write_at(descriptor: int, capacity: int, position: int, pieces: Sequence[memoryview]) -> None:
    """Write bytes where a ring of another buffer will look for them. For threads: the ring goes on meanwhile, and what
    it overwrites while it is copied it does not hold any more.

    Args:
        descriptor, capacity: of that buffer.
        position: of the first byte.
        pieces: no more than the capacity.
    """
    for piece in pieces:
        at = 0
        while at < len(piece):
            offset = position % capacity
            count = os.pwrite(descriptor, piece[at : at + capacity - offset], offset)
            at, position = at + count, position + count


def _memory(capacity: int) -> int:
    fd = os.memfd_create("castd-ring", os.MFD_CLOEXEC)
    try:
        os.posix_fallocate(fd, 0, capacity)  # memory that is not there is an error here, not a SIGBUS at some append
    except BaseException:
        os.close(fd)
        raise
    return fd


def _mapped(descriptor: int, capacity: int) -> tuple[int, mmap.mmap, memoryview]:
    try:
        mapped = mmap.mmap(descriptor, capacity)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, mapped, memoryview(mapped)

"""Readers that can be held between two bytes, all at once: what they have read so far can then go on elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

Data = TypeVar("Data")


class Hold:
    """Holds those who read through it.

    A reader is held where it waits for bytes and nowhere else, so one that is held has dealt with all it was given.
    """

    def __init__(self) -> None:
        self._readers: dict[Hashable, trio.CancelScope | None] = {}
        self._held: set[Hashable] = set()
        self._engaged = False
        self._released = trio.Event()
        self._changed = trio.Event()

    @contextmanager
    def reader(self, who: Hashable) -> Iterator[None]:
        """Have somebody among the readers for the length of the block."""
        self._readers[who] = None
        try:
            yield
        finally:
            del self._readers[who]
            self._changed.set()

    async def read(self, who: Hashable, receive: Callable[[], Awaitable[Data]]) -> Data:
        """What `receive` gives; while readers are held, later.

        Args:
            who: among the readers.
            receive: loses nothing when it is cancelled, and can be called again then.
        """
        while True:
            if self._engaged:
                self._held.add(who)
                self._changed.set()
                try:
                    await self._released.wait()
                finally:
                    self._held.discard(who)
            with trio.CancelScope() as scope:
                self._readers[who] = scope
                try:
                    return await receive()
                finally:
                    self._readers[who] = None

    def holds(self, who: Hashable) -> bool:
        return who in self._held

    def engage(self) -> None:
        """Hold everybody at their next byte."""
        self._engaged = True
        for scope in self._readers.values():
            if scope is not None:
                scope.cancel()

    async def gathered(self, but: Collection[Hashable] = ()) -> None:
        """Wait until every reader is held.

        Args:
            but: those who need not be; it may change meanwhile.
        """
        while any(who not in self._held and who not in but for who in self._readers):
            self._changed = trio.Event()
            await self._changed.wait()

    def release(self) -> None:
        """Let everybody go on."""
        self._engaged = False
        self._released.set()
        self._released = trio.Event()

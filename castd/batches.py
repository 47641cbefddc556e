"""From the event loop to a thread: things to be written down, many at a time, and never waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

import trio

from castd.errors import lacks_resources
from castd.log import warn_rarely

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.5
"""What is written down may be that old; it makes one write of what came in that time."""

LAST_SECONDS = 2.0
"""For the last write when the server stops; a disk that hangs must not keep it from stopping."""

Item = TypeVar("Item")


class Batches(Generic[Item]):
    """Hands items to a function that may block.

    Args:
        write: called in a thread with what has come, in order, one call at a time.
        room: items that may wait; of more the newest are dropped and counted.
        rest_seconds: when nothing comes for so long, `write` is called with nothing, for its other duties.

    Attributes:
        lost: items dropped.
    """

    def __init__(self, write: Callable[[list[Item]], None], *, room: int, rest_seconds: float = inf) -> None:
        self._write = write
        self._rest_seconds = rest_seconds
        self._send, self._receive = trio.open_memory_channel[Item](room)
        self._taken: list[Item] = []
        self._limiter = trio.CapacityLimiter(1)
        self.lost = 0

    def put(self, item: Item) -> None:
        """Have an item written; never waits."""
        try:
            self._send.send_nowait(item)
        except trio.WouldBlock:
            self.lost += 1

    async def run(self) -> None:
        """Write for ever, and what is left when cancelled."""
        try:
            while True:
                with trio.move_on_after(self._rest_seconds):
                    self._taken.append(await self._receive.receive())
                    await trio.sleep(GATHER_SECONDS)
                await self._write_taken(abandon=False)
        finally:
            with trio.move_on_after(LAST_SECONDS, shield=True):
                await self._write_taken(abandon=True)

    async def _write_taken(self, *, abandon: bool) -> None:
        while True:
            try:
                self._taken.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                break
        # Cancelled before the thread has begun, they stay for the last write.
        try:
            await trio.to_thread.run_sync(self._write, self._taken, abandon_on_cancel=abandon, limiter=self._limiter)
        except Exception as error:
            self.lost += len(self._taken)
            if lacks_resources(error):
                warn_rarely(f"records are lost, there is no thread or memory to write them: {error or 'no memory'}")
            else:  # a bug of ours; streaming goes on
                log.exception("%d records were lost", len(self._taken))
        self._taken = []

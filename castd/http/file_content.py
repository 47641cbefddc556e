"""A part of an open file as the content of a reply, read in pieces by a thread."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from castd.http.ranges import Part

log = logging.getLogger(__name__)

PIECE_BYTES = 128 * 1024
"""One read: what a download holds in memory, and what a change into a thread and back is paid for."""

SEND_BYTES = 16 * 1024
"""One send: a client that takes less than this in the time it has counts as stalled."""

TURN_SECONDS = 0.1
"""A limited download is sent in steps about this long."""

disk = trio.CapacityLimiter(16)
"""Threads that wait for the web root's disk: when it hangs, the rest of castd has threads left."""


class FileContent:
    """See castd.http.messages.Content.

    The descriptor is that of the file as it was found: when another takes its name, or it is deleted, this reply goes
    on with the old content. When it is cut shorter, this reply ends too early, which its length gives away.

    Args:
        descriptor: of a regular file; closed by close().
        part: which bytes.
        rate_bytes: sent in a second at most; 0 means no limit.
    """

    def __init__(self, descriptor: int, part: Part, rate_bytes: int = 0) -> None:
        self.size = part.size
        self._descriptor = descriptor
        self._start = part.start
        self._rate_bytes = rate_bytes

    async def send(self, stream: trio.abc.SendStream, stall_seconds: float) -> None:
        """Send it all.

        Args:
            stall_seconds: the client may take nothing for so long.

        Raises:
            trio.BrokenResourceError: the client is gone or stalled, or the file became shorter or unreadable.
        """
        at, end, due = self._start, self._start + self.size, trio.current_time()
        rate = self._rate_bytes
        step = max(1, min(SEND_BYTES, int(rate * TURN_SECONDS))) if rate else SEND_BYTES
        while at < end:
            piece = memoryview(await self._read(at, min(PIECE_BYTES, end - at)))
            at += len(piece)
            while piece:
                if rate:
                    await trio.sleep_until(due)
                    # no credit for the past: who was slow may not be fast afterwards
                    due = max(due, trio.current_time()) + len(piece[:step]) / rate
                with trio.move_on_after(stall_seconds) as patience:
                    await stream.send_all(piece[:step])
                if patience.cancelled_caught:
                    raise trio.BrokenResourceError(f"the client took nothing for {stall_seconds:g} s")
                piece = piece[step:]

    async def _read(self, at: int, count: int) -> bytes:
        try:
            data = await trio.to_thread.run_sync(os.pread, self._descriptor, count, at, limiter=disk)
        except OSError as error:
            log.warning("a file could not be read to its end: %s", error.strerror)
            raise trio.BrokenResourceError("the file cannot be read") from error
        if not data:
            log.warning("a file became shorter while it was sent: its reply ends there")
            raise trio.BrokenResourceError("the file became shorter")
        return data

    def close(self) -> None:
        """Let go of the file; twice does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

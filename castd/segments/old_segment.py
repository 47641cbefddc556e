"""An old segment as the content of an answer: read in pieces as the client takes them, since thousands may be slow to
take different ones, and memory is not for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import trio

from castd.log import warn_rarely

if TYPE_CHECKING:
    from castd.segments.segment import Place
    from castd.segments.spool import Spool

PIECE_BYTES = 32 * 1024


class OldSegment:
    """See castd.http.messages.Content.

    Args:
        first: its first piece, so that there was something to answer with.

    It keeps the spool readable until it is closed, even if another process goes on with that.
    """

    def __init__(self, spool: Spool, place: Place, first: bytes) -> None:
        self.size = place.size
        self._spool = spool
        self._place = place
        self._first = first
        spool.retain()

    @classmethod
    async def find(cls, spool: Spool, place: Place) -> OldSegment | None:
        """The segment at a place; None if it has been let go.

        Raises:
            OSError: the disk does not give it.
        """
        spool.retain()  # else it may go between its first piece and the others
        try:
            first = await spool.piece(place, 0, min(PIECE_BYTES, place.size))
            return cls(spool, place, first) if first is not None else None
        finally:
            spool.release()

    async def send(self, stream: trio.abc.SendStream, stall_seconds: float) -> None:
        """Send it all.

        Raises:
            trio.BrokenResourceError: the client is gone or stalled, or the rest is not there any more, or is not what
                was put by; it lacks its end then, which its length tells.
        """
        piece: bytes | None = self._first
        at = checksum = 0
        while piece:
            at, checksum = at + len(piece), crc32(piece, checksum)
            if at == self.size and checksum != self._place.checksum:
                warn_rarely("an old segment on the disk is not what was written there: its reply lacks its end")
                raise trio.BrokenResourceError("what was read is not what was written")
            with trio.move_on_after(stall_seconds) as patience:
                await stream.send_all(piece)
            if patience.cancelled_caught:
                raise trio.BrokenResourceError(f"the client took nothing for {stall_seconds:g} s")
            if at == self.size:
                return
            try:
                piece = await self._spool.piece(self._place, at, min(PIECE_BYTES, self.size - at))
            except OSError as error:
                warn_rarely(f"an old segment cannot be read to its end: {error}")
                raise trio.BrokenResourceError("the rest of it cannot be read") from None
        raise trio.BrokenResourceError("the rest of it is not there any more")

    def close(self) -> None:
        """Let go of the spool."""
        self._first = b""
        self._spool.release()

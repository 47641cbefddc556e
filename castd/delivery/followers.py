"""Those who follow events: a socket and a position each, not a task, like listeners (castd.delivery.listener).

Messages are made once, as bytes, and kept in order. At most every INTERVAL each follower that lacks some gets them in
one non-blocking send; what the kernel does not take waits for the next round. Who is so far behind that messages are
gone is let go: it comes back and is told how things are.
"""

from __future__ import annotations

import logging
from collections import deque
from math import sqrt
from typing import TYPE_CHECKING

import trio

from castd.delivery.poller import Poller
from castd.mount.party import Goodbye

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.delivery.listener import Connection

log = logging.getLogger(__name__)

KEPT = 1000
"""Messages kept, for those who are late or come back."""

INTERVAL_SECONDS = 0.1
"""Between two rounds while there are few followers; with their number it grows as it does for listeners."""

FOLLOWERS_AT_ONE_SECOND = 5000

HEARTBEAT_SECONDS = 15.0
"""Proxies close a connection on which nothing comes for a minute or so; and whoever is gone is found out."""

HEARTBEAT = b":\n\n"
"""A comment (HTML, §9.2.6)."""

MOST_PENDING = 256 * 1024
"""Bytes one follower may leave untaken."""

SLICE = 256
"""Followers served between two checkpoints."""


class Follower:
    """One connection.

    Attributes:
        topic: the mount whose messages it gets; "" for those of everybody.
        position: number of the next message it is owed.
        pending: bytes it is owed before that.
        gone: why it left; None while it is here.
        on_gone: called with it when it leaves, before its socket is closed.
    """

    __slots__ = ("address", "connection", "gone", "on_gone", "pending", "position", "topic")

    def __init__(self, connection: Connection, address: str, topic: str, position: int, pending: bytes) -> None:
        self.connection = connection
        self.address = address
        self.topic = topic
        self.position = position
        self.pending = pending
        self.gone: Goodbye | None = None
        self.on_gone: list[Callable[[Follower], None]] = []

    def end(self, reason: Goodbye, by: str = "") -> None:
        """Hang up. Twice does no harm."""
        if self.gone is None:
            self.gone = reason
            for callback in self.on_gone:
                callback(self)
            self.connection.close()


class Followers:
    """All of them.

    Attributes:
        everybody: who is here.
        first: number of the oldest message kept.
        sends: tried so far; tests count them.
    """

    def __init__(self) -> None:
        self.everybody: dict[Follower, None] = {}
        self.first = 1
        self.sends = 0
        self._messages: deque[tuple[str, bool, bytes]] = deque()
        self._poller: Poller[Follower] = Poller()
        self._news = trio.Event()

    def __len__(self) -> int:
        return len(self.everybody)

    @property
    def next(self) -> int:
        """Number of the next message."""
        return self.first + len(self._messages)

    def publish(self, topic: str, public: bool, message: bytes) -> None:
        """Have a message told.

        Args:
            topic: a mount.
            public: for those who follow everything, too.
        """
        self._messages.append((topic, public, message))
        if len(self._messages) > KEPT:
            self._messages.popleft()
            self.first += 1
        self._news.set()

    def add(self, follower: Follower) -> None:
        """Take one on; it gets what it is owed at once.

        Raises:
            OSError: the kernel watches no more sockets.
        """
        self._poller.add(follower)
        self.everybody[follower] = None
        follower.on_gone.append(self._forget)
        self._serve(follower, {})

    def since(self, topic: str, position: int) -> bytes | None:
        """What was told of a topic since a message; None if some of it is not kept."""
        if not self.first <= position <= self.next:
            return None
        start = position - self.first
        return b"".join(
            message
            for number, (about, public, message) in enumerate(self._messages)
            if number >= start and (about == topic or (not topic and public))
        )

    async def run(self) -> None:
        """Serve for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._poller.run)
            beat_at = trio.current_time() + HEARTBEAT_SECONDS
            while True:
                with trio.move_on_at(beat_at):
                    await self._news.wait()
                self._news = trio.Event()
                beat = trio.current_time() >= beat_at
                if beat:
                    beat_at += HEARTBEAT_SECONDS
                await self._round(beat=beat)
                await trio.sleep(max(INTERVAL_SECONDS, sqrt(len(self.everybody) / FOLLOWERS_AT_ONE_SECOND)))

    def close(self) -> None:
        """Hang up on everybody."""
        for each in list(self.everybody):
            each.end(Goodbye.DRAINED)
        self._poller.close()

    async def _round(self, *, beat: bool) -> None:
        chunks: dict[tuple[str, int], bytes | None] = {}
        for number, follower in enumerate(list(self.everybody), 1):
            if number % SLICE == 0:
                await trio.lowlevel.checkpoint()
                chunks.clear()  # there may be more by now
            if follower.gone is None:
                if beat and not follower.pending:
                    follower.pending = HEARTBEAT
                self._serve(follower, chunks)

    def _serve(self, follower: Follower, chunks: dict[tuple[str, int], bytes | None]) -> None:
        """One send, if it is owed anything.

        Args:
            chunks: what was told since when, as far as it was asked for: nearly all are at the same place.
        """
        key = (follower.topic, follower.position)
        if key not in chunks:
            chunks[key] = self.since(*key)
        news = chunks[key]
        if news is None:
            follower.end(Goodbye.FELL_BEHIND)
            return
        owed = follower.pending + news if follower.pending else news
        follower.position = self.next
        if not owed and not follower.connection.owes:
            return
        self.sends += 1
        try:
            if owed:
                follower.pending = owed[follower.connection.send(owed) :]
            else:
                follower.connection.flush()
        except (BlockingIOError, InterruptedError):
            follower.pending = owed
        except OSError:
            follower.end(Goodbye.RESET)
        if len(follower.pending) > MOST_PENDING:
            follower.end(Goodbye.FELL_BEHIND)
        elif follower.pending or follower.connection.owes:
            self._news.set()

    def _forget(self, follower: Follower) -> None:
        self.everybody.pop(follower, None)

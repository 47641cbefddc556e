"""A TCP proxy that is a bad network: for machines that let us have no namespaces (tests.network.link).

TCP repairs what is lost and sorts what overtakes, so that all an application sees of a bad network is this: bytes late,
in pieces, in fits and starts, not at all, or a reset.
"""

from __future__ import annotations

import random
import socket
import struct
from dataclasses import dataclass

import trio

READ_BYTES = 4096


@dataclass
class Weather:
    """How the network is now, in both directions.

    Attributes:
        delay: seconds that each piece takes at most, by chance; order is kept.
        piece: bytes of a piece at most, by chance; 0 leaves them as they come.
        dead: nothing comes through, and nobody is told; what was sent meanwhile comes when it ends.
    """

    delay: float = 0.0
    piece: int = 0
    dead: bool = False


class Proxy:
    """Carries connections to a port of 127.0.0.1.

    Args:
        port: where to.
        seed: of what is left to chance.

    Attributes:
        port: where it listens.
        pieces: that came through.
    """

    def __init__(self, port: int, seed: int = 1) -> None:
        self.weather = Weather()
        self.pieces = 0
        self._to = port
        self._chance = random.Random(seed)
        self._alive = trio.Event()
        self._alive.set()
        self._pairs: list[tuple[trio.SocketStream, trio.SocketStream]] = []

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry, until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = int(listener.socket.getsockname()[1])
        task_status.started()
        await trio.serve_listeners(self._carry_both, [listener])

    def die(self) -> None:
        """The network is gone."""
        self.weather.dead = True
        self._alive = trio.Event()

    def revive(self) -> None:
        self.weather.dead = False
        self._alive.set()

    def reset(self) -> None:
        """All connections break: a router that was restarted tells both sides so."""
        for pair in self._pairs:
            for stream in pair:
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stream.socket.close()

    async def _carry_both(self, near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream("127.0.0.1", self._to)
        pair = near, far
        self._pairs.append(pair)
        try:
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, near, far, nursery.cancel_scope)
                nursery.start_soon(self._carry, far, near, nursery.cancel_scope)
        finally:
            self._pairs.remove(pair)

    async def _carry(self, begin: trio.SocketStream, end: trio.SocketStream, both: trio.CancelScope) -> None:
        """One direction; if that breaks, the other does."""
        try:
            while data := await begin.receive_some(READ_BYTES):
                while data:
                    size = self._chance.randint(1, self.weather.piece) if self.weather.piece else len(data)
                    piece, data = data[:size], data[size:]
                    await trio.sleep(self._chance.uniform(0, self.weather.delay))
                    await self._alive.wait()
                    await end.send_all(piece)
                    self.pieces += 1
            await end.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            both.cancel()

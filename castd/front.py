"""The front door: accepts connections, guards their edge, and takes each request to its handler.

One connection's error never reaches another: every exception ends here, at the edge of the connection it happened in.
"""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

import trio

from castd import sockets
from castd.http.connection import Connection
from castd.http.routes import Call
from castd.log import Repeats

if TYPE_CHECKING:
    from castd.access.authorise import Gate
    from castd.config import Config
    from castd.http.connection import Exchange
    from castd.http.messages import Response
    from castd.http.routes import Router
    from castd.mount.registry import Registry

log = logging.getLogger(__name__)

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""No resources for another connection: it waits in the backlog until some are free."""

BACK_OFF_SECONDS = 0.1

REPEAT_SECONDS = 10.0
"""One line in so long about each kind of trouble at the door."""

_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\r\ntoo many connections\r\n"


class FrontDoor:
    """Everything between a listening socket and a handler.

    Attributes:
        unread: addresses of connections whose first request head is not complete yet, by their task.
        open: addresses of all connections that have a task; those of listeners have none any more.
    """

    def __init__(self, config: Config, registry: Registry, router: Router, gate: Gate) -> None:
        self._config = config
        self._registry = registry
        self._router = router
        self._gate = gate
        self._repeats = Repeats(REPEAT_SECONDS)
        self.unread: set[trio.SocketStream] = set()
        self.open: dict[trio.SocketStream, str] = {}

    async def accept(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        """Accept for ever; whatever accept() raises, the next one is tried."""
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                self._warn(f"cannot accept a connection: {error}")
                await trio.sleep(BACK_OFF_SECONDS if error.errno in EXHAUSTED else 0)
                continue
            self._registry.totals.connections += 1
            connections.start_soon(self._edge, stream)

    async def _edge(self, stream: trio.SocketStream) -> None:
        """One connection, start to end; nothing but cancellation leaves here."""
        try:
            address, local = _names(stream)
            if self._too_many(address):
                self._warn(f"too many connections, {address} got 503")
                await _turn_away(stream)
                return
            sockets.end_vanished_peers(stream.socket, self._config.limits.peer_timeout_seconds)
            self.open[stream] = address
            self.unread.add(stream)
            await Connection(
                stream, address, local, self._config.limits, self.dispatch, lambda: self.unread.discard(stream)
            ).serve()
        except OSError as error:  # the peer was gone before we looked
            log.debug("a connection broke: %s", error)
        except Exception:
            log.exception("a connection failed")
        finally:
            self.unread.discard(stream)
            self.open.pop(stream, None)
            stream.socket.close()

    def _warn(self, message: str) -> None:
        left_out = self._repeats.admit(message.partition(",")[0], trio.current_time())
        if left_out is not None:
            log.warning("%s (%d times more since the last such line)", message, left_out)

    def _too_many(self, address: str) -> bool:
        limits = self._config.limits
        if len(self.unread) >= limits.max_unread_heads:
            return True
        most = limits.max_connections_per_address
        if not most:
            return False
        here = sum(each == address for each in self.open.values())
        listening = sum(
            listener.address == address
            for mount in self._registry.mounts.values()
            for listener in mount.listeners.values()
        )
        return here + listening >= most

    async def dispatch(self, exchange: Exchange) -> Response | None:
        """Find the route, ask the gate, call the handler.

        Raises:
            ClientError: from any of them.
        """
        request = exchange.request
        route, mount, parameters = self._router.find(request)
        user = self._gate.authorise(route, request, mount)
        return await route.handler(exchange, Call(mount, user, parameters))


def _names(stream: trio.SocketStream) -> tuple[str, str]:
    """The client's address, and "host:port" it reached us at."""
    peer, own = stream.socket.getpeername(), stream.socket.getsockname()
    host = sockets.address_text(own[0])
    return sockets.address_text(peer[0]), f"[{host}]:{own[1]}" if ":" in host else f"{host}:{own[1]}"


async def _turn_away(stream: trio.SocketStream) -> None:
    with trio.move_on_after(1):
        await stream.send_all(_BUSY)
        await stream.send_eof()

"""The front door: accepts connections, guards their edge, and takes each request to its handler.

One connection's error never reaches another: every exception ends here, at the edge of the connection it happened in.
"""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from castd import sockets
from castd.access.address import address_text, derive, trust
from castd.access.proxied import receive_header
from castd.errors import ClientError
from castd.http.connection import Connection
from castd.http.routes import Call
from castd.log import Repeats
from castd.tls import HANDSHAKE, TlsStream
from castd.wire.proxy_protocol import NotProxyProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from castd.access.authorise import Gate
    from castd.config import Config, Current, Listen
    from castd.http.connection import Exchange
    from castd.http.messages import Client, Response
    from castd.http.routes import Router
    from castd.mount.registry import Registry
    from castd.stats.records import Records
    from castd.tls import Certificates

log = logging.getLogger(__name__)

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""No resources for another connection: it waits in the backlog until some are free."""

BACK_OFF_SECONDS = 0.1

REPEAT_SECONDS = 10.0
"""One line in so long about each kind of trouble at the door."""

_TLS_ONLY = b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nthis port speaks TLS: use https\r\n"
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\r\ntoo many connections\r\n"


class FrontDoor:
    """Everything between a listening socket and a handler.

    Attributes:
        unread: addresses of connections whose first request head is not complete yet, by their task.
        handshaking: TLS handshakes going on.
        stopping: no request is taken any more.
        open: addresses of all connections that have a task; those of listeners have none any more. A proxy's has that
            of the client whose request came last.
    """

    def __init__(
        self,
        current: Current,
        registry: Registry,
        router: Router,
        gate: Gate,
        certificates: Certificates,
        records: Records,
    ) -> None:
        self._current = current
        self._registry = registry
        self._router = router
        self._gate = gate
        self._certificates = certificates
        self._records = records
        self._trust = trust(current.config.proxies)
        self._repeats = Repeats(REPEAT_SECONDS)
        self.handshaking = 0
        self.stopping = False
        self.unread: set[trio.SocketStream] = set()
        self.open: dict[trio.abc.Stream, str] = {}

    def prepare(self, config: Config) -> Callable[[], None]:
        """See castd.reload.Part."""
        trusted = trust(config.proxies)

        def commit() -> None:
            self._trust = trusted

        return commit

    async def accept(self, bound: sockets.Bound, connections: trio.Nursery) -> None:
        """Accept for ever; whatever accept() raises, the next one is tried."""
        while True:
            try:
                stream = await bound.listener.accept()
            except OSError as error:
                self._warn(f"cannot accept a connection: {error}")
                await trio.sleep(BACK_OFF_SECONDS if error.errno in EXHAUSTED else 0)
                continue
            self._registry.totals.connections += 1
            connections.start_soon(self._edge, stream, bound.listen)

    async def _edge(self, stream: trio.SocketStream, listen: Listen) -> None:
        """One connection, start to end; nothing but cancellation leaves here."""
        secured: TlsStream | None = None
        try:
            address, local = _names(stream)
            scheme = "http"
            self.unread.add(stream)
            sockets.end_vanished_peers(stream.socket, self._current.config.limits.peer_timeout_seconds)
            busy = self._too_many(address)
            if listen.proxy_protocol and not busy:
                address, local, scheme = await self._announced(stream, address, local)
                busy = self._too_many(address)
            if busy:
                self._warn(f"too many connections, {address} got 503")
                self.unread.discard(stream)
                await _turn_away(stream, _BUSY)
                return
            if listen.tls != "off" and await self._speaks_tls(stream, address, listen):
                secured, scheme = TlsStream(sockets.detach(stream), self._certificates.context), "https"
                await self._shake_hands(secured, address)
            self.open[secured or stream] = address
            await Connection(
                secured or stream,
                address,
                local,
                self._current.config.limits,
                self.dispatch,
                on_head=lambda: self.unread.discard(stream),
                identify=lambda headers: self._identify(address, headers, scheme),
                fields=self._hsts if secured else (),
                on_answered=self._record,
            ).serve()
        except NotProxyProtocol as error:
            self._warn(f"no PROXY connection, {address} was closed: {error}")
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            self._warn(f"no TLS connection, {address} was closed: {error or 'it took too long'}")
        except OSError as error:  # the peer was gone before we looked
            log.debug("a connection broke: %s", error)
        except Exception:
            log.exception("a connection failed")
        finally:
            self.unread.discard(stream)
            self.open.pop(secured or stream, None)
            stream.socket.close()
            if secured is not None:
                secured.close()

    async def _speaks_tls(self, stream: trio.SocketStream, address: str, listen: Listen) -> bool:
        """Does the client's first byte begin a handshake? Plain HTTP where it must not be is answered, and refused.

        Raises:
            trio.TooSlowError: it says nothing.
            trio.BrokenResourceError: it may not speak here, now.
        """
        with trio.fail_after(self._current.config.limits.header_timeout_seconds):
            first = await stream.socket.recv(1, socket.MSG_PEEK)
        if first == HANDSHAKE:
            if self.handshaking >= self._current.config.tls.max_handshakes:
                self._registry.observer.limit_reached("tls.max_handshakes", self._current.config.tls.max_handshakes)
                raise trio.BrokenResourceError("too many handshakes at once")
            return True
        if first and listen.tls == "on":
            await _turn_away(stream, _TLS_ONLY)
            raise trio.BrokenResourceError("it spoke plain HTTP where TLS is wanted")
        return False

    async def _shake_hands(self, secured: TlsStream, address: str) -> None:
        self.handshaking += 1
        try:
            with trio.fail_after(self._current.config.tls.handshake_timeout_seconds):
                await secured.do_handshake()
        finally:
            self.handshaking -= 1

    async def _announced(self, stream: trio.SocketStream, peer: str, local: str) -> tuple[str, str, str]:
        """What the connection's PROXY header says instead: the client's address, what it reached, by which scheme.

        Raises:
            NotProxyProtocol: there is none, or its sender is no trusted proxy.
        """
        if not self._trust.includes(peer):
            raise NotProxyProtocol("it is not in proxies.trusted")
        header = await receive_header(stream.socket, self._current.config.limits.header_timeout_seconds)
        if header.src_addr is not None:
            peer, local = address_text(str(header.src_addr)), _authority(str(header.dst_addr), header.dst_port)
        return peer, local, "https" if header.ssl else "http"

    def _identify(self, peer: str, headers: Mapping[str, str], scheme: str) -> Client:
        """Whose request it is that came over a connection."""
        client = derive(self._trust, peer, headers, scheme)
        if client.fault:
            self._warn(f"fields of a proxy not understood, {peer} sent {client.fault}")
        return client

    @property
    def _hsts(self) -> tuple[tuple[str, str], ...]:
        """RFC 6797 §6.1."""
        seconds = self._current.config.tls.hsts_seconds
        return (("Strict-Transport-Security", f"max-age={seconds}"),) if seconds else ()

    def _warn(self, message: str) -> None:
        left_out = self._repeats.admit(message.partition(",")[0], trio.current_time())
        if left_out is not None:
            log.warning("%s (%d times more since the last such line)", message, left_out)

    def _too_many(self, address: str) -> bool:
        most = self._current.config.limits.max_unread_heads
        if len(self.unread) > most:
            self._registry.observer.limit_reached("limits.max_unread_heads", most)
            return True
        return self._crowded(address)

    def _crowded(self, address: str) -> bool:
        """There are as many connections from an address as may be; a proxy's own are not counted."""
        most = self._current.config.limits.max_connections_per_address
        if not most or self._trust.includes(address):
            return False
        here = sum(each == address for each in self.open.values())
        listening = sum(
            listener.address == address
            for mount in self._registry.mounts.values()
            for listener in mount.listeners.values()
        )
        if here + listening < most:
            return False
        self._registry.observer.limit_reached("limits.max_connections_per_address", most)
        return True

    async def dispatch(self, exchange: Exchange) -> Response | None:
        """Find the route, ask the gate, call the handler.

        Raises:
            ClientError: from any of them; 503: a proxy's connection brings a request of a client that has too many.
        """
        request = exchange.request
        if self.stopping:
            raise ClientError(503, "the server is stopping", (("Retry-After", "5"),))
        if self.open.get(exchange.stream, request.address) != request.address:
            if self._crowded(request.address):
                raise ClientError(503, "too many connections from this address", (("Retry-After", "5"),))
            self.open[exchange.stream] = request.address
        route, mount, parameters = self._router.find(request)
        user = exchange.user = self._gate.authorise(route, request, mount)
        return await route.handler(exchange, Call(mount, user, parameters))

    def _record(self, exchange: Exchange, seconds: float) -> None:
        self._records.answered(exchange.request, exchange.user, exchange.status, exchange.out.sent, seconds)


def _names(stream: trio.SocketStream) -> tuple[str, str]:
    """The client's address, and "host:port" it reached us at."""
    peer, own = stream.socket.getpeername(), stream.socket.getsockname()
    return address_text(peer[0]), _authority(own[0], own[1])


def _authority(host: str, port: int) -> str:
    host = address_text(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _turn_away(stream: trio.SocketStream, reply: bytes) -> None:
    with trio.move_on_after(1), suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it may be gone
        await stream.send_all(reply)
        await stream.send_eof()

"""The front door: accepts connections, guards their edge, and takes each request to its handler.

One connection's error never reaches another: every exception ends here, at the edge of the connection it happened in.
"""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

from castd import descriptors, sockets
from castd.access.address import address_text, derive
from castd.access.admission import FULL, NO_RESOURCES
from castd.access.bans import refuse_unlisted
from castd.access.crowd import Waiting
from castd.access.proxied import receive_header
from castd.errors import EXHAUSTED, ClientError, lacks_resources
from castd.hold import Hold
from castd.http.connection import Connection, Refusals
from castd.http.messages import ANY_ORIGIN
from castd.http.routes import Call, Need
from castd.log import Repeats
from castd.tls import HANDSHAKE, TlsStream
from castd.wire.proxy_protocol import NotProxyProtocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Mapping

    from castd.access.admission import Admission
    from castd.access.authorise import Gate
    from castd.access.bans import Bans
    from castd.config import Current, Listen
    from castd.http.connection import Exchange
    from castd.http.messages import Client, Response
    from castd.http.routes import Router
    from castd.mount.registry import Registry
    from castd.stats.records import Records
    from castd.tls import Certificates

log = logging.getLogger(__name__)

BACK_OFF_SECONDS = 0.1
"""When there are no resources for another connection."""

TURNED_AWAY_AT_ONCE = 50
"""Connections answered between two such pauses, where descriptors are short: 500 a second, for 5 % of a core."""

COMMANDS = "/admin/"
"""Where Icecast's commands are; their arguments may come as a form."""

REPEAT_SECONDS = 10.0
"""One line in so long about each kind of trouble at the door."""

_TLS_ONLY = b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nthis port speaks TLS: use https\r\n"


class TalkState(msgspec.Struct):
    """A connection that waits for a request, for another process.

    Attributes:
        address, local, scheme: see Edge.
        counted_at: the address it counts at: of a proxy's connection, the client whose request came last.
        received, first: see castd.http.connection.Connection.
    """

    address: str
    counted_at: str
    local: str
    scheme: str
    received: bytes
    first: bool


@dataclass(eq=False, slots=True)
class Edge:
    """A connection, and what is known of it before any request.

    Attributes:
        scope: ends it.
        address: of the client.
        local: "host:port" it reached us at.
        scheme: "http" or "https".
        secured: over it; None without TLS.
    """

    stream: trio.SocketStream
    scope: trio.CancelScope
    address: str = ""
    local: str = ""
    scheme: str = "http"
    secured: TlsStream | None = None

    @property
    def transport(self) -> trio.SocketStream | TlsStream:
        """What requests come over."""
        return self.secured or self.stream


@dataclass(eq=False, slots=True)
class Talk:
    """A connection on which requests come."""

    edge: Edge
    connection: Connection


class FrontDoor:
    """Everything between a listening socket and a handler.

    Attributes:
        handshaking: TLS handshakes going on, by the scope that ends them.
        stopping: no request is taken any more.
        talks: connections on which requests come, by their streams.
        doors: connections are accepted through it; the sockets are its readers.
        hold: requests are waited for through it; the streams are its readers.
    """

    def __init__(
        self,
        current: Current,
        registry: Registry,
        router: Router,
        gate: Gate,
        admission: Admission,
        bans: Bans,
        certificates: Certificates,
        records: Records,
    ) -> None:
        self._current = current
        self._registry = registry
        self._router = router
        self._gate = gate
        self._admission = admission
        self._bans = bans
        self._certificates = certificates
        self._records = records
        self._repeats = Repeats(REPEAT_SECONDS)
        self.handshaking: Waiting[trio.CancelScope] = Waiting()
        self._crowded_out: set[trio.CancelScope] = set()
        self._reserve = descriptors.Reserve()
        self._refusals = Refusals()
        self.stopping = False
        self.talks: dict[Hashable, Talk] = {}
        self.doors = Hold()
        self.hold = Hold()

    async def accept(self, bound: sockets.Bound, connections: trio.Nursery) -> None:
        """Accept for ever; whatever accept() raises, the next one is tried."""
        with self.doors.reader(bound):
            await self._accept(bound, connections)

    async def _accept(self, bound: sockets.Bound, connections: trio.Nursery) -> None:
        while True:
            try:
                stream = await self.doors.read(bound, bound.listener.accept)
            except (OSError, MemoryError) as error:
                self._warn(f"cannot accept a connection: {error or 'no memory'}")
                code = getattr(error, "errno", None)
                if code in descriptors.NONE_LEFT:
                    self._reserve.turn_away(bound.listener, NO_RESOURCES.reply, TURNED_AWAY_AT_ONCE)
                await trio.sleep(BACK_OFF_SECONDS if code is None or code in EXHAUSTED else 0)
                continue
            self._registry.totals.connections += 1
            if not descriptors.leaves(stream.socket.fileno(), descriptors.CONNECTIONS_LEAVE):
                self._turn_away_for_others(stream)
                continue
            self._reserve.refill()
            connections.start_soon(self._edge, stream, partial(self._arrive, listen=bound.listen))

    def _turn_away_for_others(self, stream: trio.SocketStream) -> None:
        """The few descriptors that are left are for what goes on already."""
        self._registry.observer.limit_reached(descriptors.LIMIT, descriptors.limit())
        self._warn(f"too few file descriptors are left, a connection got {NO_RESOURCES.status}")
        descriptors.turn_away(sockets.detach(stream), NO_RESOURCES.reply)

    def close(self) -> None:
        """Let go of what a door holds that nobody stands at."""
        self._reserve.close()

    async def _edge(self, stream: trio.SocketStream, serve: Callable[[Edge], Awaitable[None]]) -> None:
        """One connection, start to end; nothing but the server's own cancellation leaves here."""
        with trio.CancelScope() as scope:
            edge = Edge(stream, scope)
            try:
                await serve(edge)
            except trio.Cancelled:
                if scope.cancel_called:
                    self._warn(f"{FULL.reason}, {edge.address} got {FULL.status}")
                    if edge.secured is None:
                        with trio.CancelScope(shield=True):
                            await _turn_away(stream, FULL.reply)
                raise
            except NotProxyProtocol as error:
                self._warn(f"no PROXY connection, {edge.address} was closed: {error}")
            except (trio.BrokenResourceError, trio.TooSlowError) as error:
                self._warn(f"no TLS connection, {edge.address} was closed: {error or 'it took too long'}")
            except OSError as error:  # the peer was gone before we looked
                log.debug("a connection broke: %s", error)
            except Exception as error:
                if lacks_resources(error):
                    self._warn(f"no resources for a connection, {edge.address} was closed: {error}")
                else:
                    log.exception("a connection failed")
            finally:
                self._admission.waiting.leave(scope)
                self._admission.open.leave(edge.transport)
                self.talks.pop(edge.transport, None)
                stream.socket.close()
                if edge.secured is not None:
                    edge.secured.close()

    async def _arrive(self, edge: Edge, listen: Listen) -> None:
        """From the first byte on; cancelling the edge's scope turns it away while it waits for a request."""
        with self.hold.reader(edge.stream):
            welcome = await self._welcome(edge, listen)
        if welcome:
            await self._converse(edge)

    async def _welcome(self, edge: Edge, listen: Listen) -> bool:
        """Find out who it is, over what; False if it was turned away."""
        stream, scope, admission = edge.stream, edge.scope, self._admission
        edge.address, edge.local = _names(stream)
        sockets.end_vanished_peers(stream.socket, self._current.config.limits.peer_timeout_seconds)
        if listen.proxy_protocol:
            admission.wait(scope, None if admission.trust.includes(edge.address) else edge.address)
            edge.address, edge.local, edge.scheme = await self._announced(stream, edge.address, edge.local)
            admission.waiting.leave(scope)
        if refusal := admission.arrive(edge.address, trio.current_time()):
            self._warn(f"{refusal.reason}, {edge.address} got {refusal.status}")
            await _turn_away(stream, refusal.reply)
            return False
        admission.wait(scope, None if admission.trust.includes(edge.address) else edge.address)
        await trio.lowlevel.checkpoint()  # without a place it goes at once
        if listen.tls != "off" and await self._speaks_tls(stream, edge.address, listen):
            edge.secured, edge.scheme = TlsStream(sockets.detach(stream), self._certificates.context), "https"
            await self._shake_hands(edge.secured, edge.address)
        admission.open.enter(edge.transport, edge.address)
        return True

    async def _converse(self, edge: Edge, received: bytes = b"", *, first: bool = True) -> None:
        """Answer its requests.

        Args:
            received, first: as castd.http.connection.Connection has them.
        """
        transport, admission = edge.transport, self._admission
        connection = Connection(
            transport,
            edge.address,
            edge.local,
            self._current.config.limits,
            self.dispatch,
            on_head=lambda: admission.waiting.leave(edge.scope),
            on_wait=lambda: admission.wait(edge.scope, admission.open.address(transport)),
            identify=lambda headers: self._identify(edge.address, headers, edge.scheme),
            fields=self._hsts if edge.secured else (),
            on_answered=self._record,
            hold=self.hold,
            received=received,
            first=first,
            refusals=self._refusals,
        )
        self.talks[transport] = Talk(edge, connection)
        await connection.serve()

    async def go_on_with(self, stream: trio.SocketStream, state: TalkState) -> None:
        """A connection on which another process had received this much of a request."""

        async def serve(edge: Edge) -> None:
            edge.address, edge.local, edge.scheme = state.address, state.local, state.scheme
            self._admission.open.enter(stream, state.counted_at)
            self._admission.wait(edge.scope, state.counted_at)
            await self._converse(edge, state.received, first=state.first)

        await self._edge(stream, serve)

    async def accompany(self, stream: trio.SocketStream, address: str, task: Callable[[], Awaitable[None]]) -> None:
        """A connection that another process had, and that something else than a request is to be read from now.

        Args:
            address: as castd.access.admission counts it.
            task: reads it.
        """

        async def serve(edge: Edge) -> None:
            edge.address = address
            self._admission.open.enter(stream, address)
            await task()

        await self._edge(stream, serve)

    def address(self, stream: Hashable) -> str:
        """That a connection counts at."""
        return self._admission.open.address(stream) or ""

    def talk_state(self, talk: Talk) -> TalkState:
        """For another process; it must be held."""
        edge, connection = talk.edge, talk.connection
        counted_at = self._admission.open.address(edge.transport) or edge.address
        return TalkState(edge.address, counted_at, edge.local, edge.scheme, connection.received, connection.first)

    async def _speaks_tls(self, stream: trio.SocketStream, address: str, listen: Listen) -> bool:
        """Does the client's first byte begin a handshake? Plain HTTP where it must not be is answered, and refused.

        Raises:
            trio.TooSlowError: it says nothing.
            trio.BrokenResourceError: it may not speak here, now.
        """
        with trio.fail_after(self._current.config.limits.header_timeout_seconds):
            first = await self.hold.read(stream, lambda: stream.socket.recv(1, socket.MSG_PEEK))
        if first == HANDSHAKE:
            return True
        if first and listen.tls == "on":
            await _turn_away(stream, _TLS_ONLY)
            raise trio.BrokenResourceError("it spoke plain HTTP where TLS is wanted")
        return False

    async def _shake_hands(self, secured: TlsStream, address: str) -> None:
        """Raises trio.BrokenResourceError or trio.TooSlowError where no handshake comes about."""
        most = self._current.config.tls.max_handshakes
        with trio.move_on_after(self._current.config.tls.handshake_timeout_seconds) as scope:
            try:
                for each in self.handshaking.enter(scope, address, most):
                    self._registry.observer.limit_reached("tls.max_handshakes", most)
                    self._crowded_out.add(each)
                    each.cancel()
                await secured.do_handshake()
            finally:
                self.handshaking.leave(scope)
        if scope.cancelled_caught:
            crowded_out = scope in self._crowded_out
            self._crowded_out.discard(scope)
            raise trio.BrokenResourceError("too many handshakes at once") if crowded_out else trio.TooSlowError

    async def _announced(self, stream: trio.SocketStream, peer: str, local: str) -> tuple[str, str, str]:
        """What the connection's PROXY header says instead: the client's address, what it reached, by which scheme.

        Raises:
            NotProxyProtocol: there is none, or its sender is no trusted proxy.
        """
        if not self._admission.trust.includes(peer):
            raise NotProxyProtocol("it is not in proxies.trusted")
        header = await receive_header(stream.socket, self._current.config.limits.header_timeout_seconds)
        if header.src_addr is not None:
            peer, local = address_text(str(header.src_addr)), _authority(str(header.dst_addr), header.dst_port)
        return peer, local, "https" if header.ssl else "http"

    def _identify(self, peer: str, headers: Mapping[str, str], scheme: str) -> Client:
        """Whose request it is that came over a connection."""
        client = derive(self._admission.trust, peer, headers, scheme)
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

    async def dispatch(self, exchange: Exchange) -> Response | None:
        """Find the route, ask the gate, call the handler.

        Raises:
            ClientError: from any of them, and from castd.access.admission.
        """
        if self.stopping:
            raise ClientError(503, "the server is stopping", (("Retry-After", "5"),))
        self._admission.ask(exchange.stream, exchange.request.address, exchange.request.agent)
        if exchange.request.path.startswith(COMMANDS):
            await exchange.read_form()
        request = exchange.request
        route, mount, parameters = self._router.find(request)
        if route.scope != "all" and (why := self._bans.refusal(request.address, request.agent, route.scope)):
            raise ClientError(403, why)
        if mount and route.need in (Need.SOURCE, Need.STEER):
            refuse_unlisted(request.address, self._current.config.mount(mount).allow_sources, "feed this mount")
        guarded = route.mount_of(request) if route.need is Need.LISTEN and route.mount_of else mount
        try:
            grant = await self._gate.authorise(route, request, guarded)
            exchange.user = grant.user
            try:
                return await route.handler(exchange, Call(mount, grant.user, parameters, grant))
            finally:
                grant.close()
        except ClientError as error:
            if (
                route.need is Need.LISTEN and ANY_ORIGIN not in error.headers
            ):  # else another site's player sees no reason
                error.headers = (*error.headers, ANY_ORIGIN)
            raise

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

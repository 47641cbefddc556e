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
from castd.access.address import address_text, derive
from castd.access.admission import FULL
from castd.access.bans import refuse_unlisted
from castd.access.crowd import Waiting
from castd.access.proxied import receive_header
from castd.errors import ClientError
from castd.http.connection import Connection
from castd.http.routes import Call, Need
from castd.log import Repeats
from castd.tls import HANDSHAKE, TlsStream
from castd.wire.proxy_protocol import NotProxyProtocol

if TYPE_CHECKING:
    from collections.abc import Mapping

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

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""No resources for another connection: it waits in the backlog until some are free."""

BACK_OFF_SECONDS = 0.1

COMMANDS = "/admin/"
"""Where Icecast's commands are; their arguments may come as a form."""

REPEAT_SECONDS = 10.0
"""One line in so long about each kind of trouble at the door."""

_TLS_ONLY = b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nthis port speaks TLS: use https\r\n"


class FrontDoor:
    """Everything between a listening socket and a handler.

    Attributes:
        handshaking: TLS handshakes going on, by the scope that ends them.
        stopping: no request is taken any more.
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
        self.stopping = False

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
        """One connection, start to end; nothing but the server's own cancellation leaves here."""
        with trio.CancelScope() as scope:
            await self._serve(stream, listen, scope)

    async def _serve(self, stream: trio.SocketStream, listen: Listen, scope: trio.CancelScope) -> None:
        """One connection; cancelling `scope` turns it away while it waits for a request."""
        secured: TlsStream | None = None
        admission = self._admission
        try:
            address, local = _names(stream)
            scheme = "http"
            sockets.end_vanished_peers(stream.socket, self._current.config.limits.peer_timeout_seconds)
            if listen.proxy_protocol:
                admission.wait(scope, None if admission.trust.includes(address) else address)
                address, local, scheme = await self._announced(stream, address, local)
                admission.waiting.leave(scope)
            if refusal := admission.arrive(address, trio.current_time()):
                self._warn(f"{refusal.reason}, {address} got {refusal.status}")
                await _turn_away(stream, refusal.reply)
                return
            admission.wait(scope, None if admission.trust.includes(address) else address)
            await trio.lowlevel.checkpoint()  # without a place it goes at once
            if listen.tls != "off" and await self._speaks_tls(stream, address, listen):
                secured, scheme = TlsStream(sockets.detach(stream), self._certificates.context), "https"
                await self._shake_hands(secured, address)
            admission.open.enter(secured or stream, address)
            await Connection(
                secured or stream,
                address,
                local,
                self._current.config.limits,
                self.dispatch,
                on_head=lambda: admission.waiting.leave(scope),
                on_wait=lambda: admission.wait(scope, admission.open.address(secured or stream)),
                identify=lambda headers: self._identify(address, headers, scheme),
                fields=self._hsts if secured else (),
                on_answered=self._record,
            ).serve()
        except trio.Cancelled:
            if scope.cancel_called:
                self._warn(f"{FULL.reason}, {address} got {FULL.status}")
                if secured is None:
                    with trio.CancelScope(shield=True):
                        await _turn_away(stream, FULL.reply)
            raise
        except NotProxyProtocol as error:
            self._warn(f"no PROXY connection, {address} was closed: {error}")
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            self._warn(f"no TLS connection, {address} was closed: {error or 'it took too long'}")
        except OSError as error:  # the peer was gone before we looked
            log.debug("a connection broke: %s", error)
        except Exception:
            log.exception("a connection failed")
        finally:
            admission.waiting.leave(scope)
            admission.open.leave(secured or stream)
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
        grant = await self._gate.authorise(route, request, guarded)
        exchange.user = grant.user
        try:
            return await route.handler(exchange, Call(mount, grant.user, parameters, grant))
        finally:
            grant.close()

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

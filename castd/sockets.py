"""Listening sockets, and what is set on those of clients.

A listener's socket outlives its task: it is taken from trio, set for the pump, and from then on only the pump writes
it.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from castd import systemd
from castd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from castd.config import Listen

BACKLOG = 4096
"""Connections waiting to be accepted. Icecast's 5 makes 5,000 reconnecting listeners wait for minutes
(docs/design.md)."""

KEEPALIVE_PROBES = 3


@dataclass(frozen=True, slots=True)
class Bound:
    """A listening socket, and how it is configured."""

    listener: trio.SocketListener
    listen: Listen


@dataclass(frozen=True, slots=True)
class Inherited:
    """A listening socket of the process before this one, and what it was configured as there."""

    descriptor: int
    host: str
    port: int


async def open_listeners(listen: tuple[Listen, ...], inherited: Sequence[Inherited] = ()) -> list[Bound]:
    """Bind every configured address; where systemd passed sockets, take those instead and bind none.

    Args:
        inherited: taken for the addresses they were configured as; those that are so no more are closed.

    Raises:
        ConfigError: an address cannot be bound, a passed socket cannot be used; the message says which and why.
    """
    if passed := systemd.passed_descriptors(os.environ):
        return [_adopted(descriptor, name, listen) for descriptor, name in passed]
    bound: list[Bound] = []
    try:
        for socket_ in inherited:
            bound += _inherit(socket_, listen)
        taken = {id(each.listen) for each in bound}
        for each in listen:
            if id(each) in taken:
                continue
            try:
                bound += [Bound(listener, each) for listener in await _bind(each)]
            except OSError as error:
                reason = error.strerror or str(error)
                raise ConfigError(f"cannot listen on {each.host or '*'}:{each.port}: {reason}") from None
    except ConfigError:
        for opened in bound:
            opened.listener.socket.close()
        raise
    return bound


def _inherit(inherited: Inherited, listen: tuple[Listen, ...]) -> list[Bound]:
    sock = socket.socket(fileno=inherited.descriptor)
    for each in listen:
        if (each.host, each.port) == (inherited.host, inherited.port):
            return [Bound(trio.SocketListener(trio.socket.from_stdlib_socket(sock)), each)]
    sock.close()
    return []


def _adopted(descriptor: int, name: str, listen: tuple[Listen, ...]) -> Bound:
    """A socket that was passed to us, with the settings of the address it stands for."""
    what = f"descriptor {descriptor} ({name or 'without a name'}), passed by systemd,"
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError(f"{what} cannot be used: {error.strerror}") from None
    try:
        listening = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or not listening:
            raise ConfigError(f"{what} is no listening TCP socket; ListenStream= with a port and Accept=no make one")
        port = sock.getsockname()[1]
        settings = next((each for each in listen if each.port == port), listen[0] if len(listen) == 1 else None)
        if settings is None:
            raise ConfigError(f"{what} has port {port}, and no [[listen]] with this port says what it is for")
    except ConfigError:
        sock.close()
        raise
    return Bound(trio.SocketListener(trio.socket.from_stdlib_socket(sock)), settings)


async def _bind(listen: Listen) -> list[trio.SocketListener]:
    if not listen.host:  # one socket for both families, where the machine has IPv6
        try:
            return [_listener(socket.AF_INET6, ("::", listen.port), dual=True)]
        except OSError:
            return [_listener(socket.AF_INET, ("0.0.0.0", listen.port))]
    found = await trio.socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [_listener(family, address) for family, _, _, _, address in found]


def _listener(family: int, address: tuple[object, ...], *, dual: bool = False) -> trio.SocketListener:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual))
        sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


def end_vanished_peers(sock: trio.socket.SocketType | socket.socket, seconds: float) -> None:
    """Have the kernel end a connection whose peer acknowledges nothing for so long, while data flows or not.

    Args:
        seconds: config limits.peer_timeout_seconds.
    """
    probe_seconds = max(1, round(seconds / (KEEPALIVE_PROBES + 1)))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, probe_seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, probe_seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))


class PlainConnection(socket.socket):
    """A listener's connection without TLS, as castd.delivery.listener.Connection."""

    owes = False

    def flush(self) -> bool:
        return True


def detach(stream: trio.abc.HalfCloseableStream) -> PlainConnection:
    """Take a connection from trio, which forgets it."""
    if not isinstance(stream, trio.SocketStream):
        raise TypeError(f"{type(stream).__name__} has no socket to hand over")
    trio.lowlevel.notify_closing(stream.socket)  # a bare detach would leave it registered with trio's epoll
    sock = PlainConnection(fileno=stream.socket.detach())
    sock.setblocking(False)
    return sock


def set_for_pump(sock: socket.socket, send_buffer_bytes: int) -> None:
    """Set what the kernel keeps for a listener.

    Args:
        send_buffer_bytes: for a peer that reads slowly; it may take twice that in memory.
    """
    # trio's 16 KiB, set on every stream, would cap each send to what is nearly sent already
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)

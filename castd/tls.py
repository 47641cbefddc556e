"""TLS: certificates chosen by name and re-read when they change, and one connection's stream.

A handshake and a request are read by a task, through `TlsStream`; a listener's connection is then handed to the pump as
a `TlsConnection`, on the same non-blocking ssl.SSLSocket (a trio.SSLStream could not be handed over).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import trio

from castd import sockets
from castd.errors import ConfigError
from castd.log import warn_rarely
from castd.watched_file import file_state

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from castd.config import Certificate, Config
    from castd.sockets import PlainConnection
    from castd.watched_file import State

RECORD_BYTES = 16_384
"""Most plain bytes of one TLS record (RFC 8446 §5.1). Python's ssl writes whole records only."""

HANDSHAKE = b"\x16"
"""First byte of a ClientHello's record; no HTTP request begins with it."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A certificate as it was read.

    Attributes:
        state: of the files then: what tells that they changed.
    """

    config: Certificate
    context: ssl.SSLContext
    state: tuple[State | None, ...]


class Certificates:
    """The server's certificates; the first is for clients that name no host, or one no other is for.

    Raises:
        ConfigError: a file cannot be read or used; the message says which and why.
    """

    def __init__(self, configured: tuple[Certificate, ...]) -> None:
        self._loaded = [_load(each) for each in configured]
        self._answer_by_name()

    def __bool__(self) -> bool:
        return bool(self._loaded)

    @property
    def context(self) -> ssl.SSLContext:
        """For a new connection; it changes to another certificate by itself when the client names its host."""
        return self._loaded[0].context

    def prepare(self, config: Config) -> Callable[[], None]:
        """Load other certificates; see castd.reload.Part."""
        loaded = [_load(each) for each in config.certificates]

        def commit() -> None:
            self._loaded = loaded
            self._answer_by_name()

        return commit

    def refresh(self) -> list[str]:
        """Read again what changed; a certificate that cannot be used now stays as it was.

        Returns:
            The files of the certificates that were replaced.
        """
        replaced, loaded = [], self._loaded  # it works in a thread, and a reload may bring other ones meanwhile
        for index, old in enumerate(loaded):
            try:
                if _state(old.config) == old.state:
                    continue
                loaded[index] = _load(old.config)
            except (OSError, ConfigError) as error:
                warn_rarely(f"the certificate in use stays: {error}")
            else:
                replaced.append(old.config.certificate)
        self._answer_by_name()
        return replaced

    def _answer_by_name(self) -> None:
        for each in self._loaded:
            each.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Server Name Indication, RFC 6066 §3."""
        for each in self._loaded:
            if name is not None and any(_is_for(host, name) for host in each.config.hosts):
                connection.context = each.context
                return
        connection.context = self._loaded[0].context


def _is_for(host: str, name: str) -> bool:
    """A name matches itself, and "*." one label more (RFC 9525 §6.3)."""
    host, name = host.lower(), name.lower()
    return host == name or (host.startswith("*.") and name.partition(".")[2] == host[2:])


def _state(config: Certificate) -> tuple[State | None, ...]:
    return tuple(file_state(file) for file in (config.certificate, config.key) if file)


def _load(config: Certificate) -> _Loaded:
    try:
        state = _state(config)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(config.certificate, config.key or None, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        files = f"{config.certificate} and {config.key}" if config.key else config.certificate
        raise ConfigError(f"cannot use the certificate {files}: {error}") from None
    return _Loaded(config, context, state)


def _no_password() -> str:
    """OpenSSL would ask on the terminal for an encrypted key's password."""
    raise ValueError("the key is encrypted; castd needs one without a password")


class TlsStream(trio.abc.HalfCloseableStream):
    """A TLS connection as a trio stream, for as long as a task has it.

    Args:
        sock: connected, non-blocking; owned from now on.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.socket = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._detached = False

    async def do_handshake(self) -> None:
        """RFC 8446 §2.

        Raises:
            trio.BrokenResourceError: the client speaks no TLS we do, or hung up.
        """
        await self._retry(self.socket.do_handshake)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        await trio.lowlevel.checkpoint()
        while view:
            piece = bytes(view[:RECORD_BYTES])  # a retry must be of the same bytes
            view = view[await self._retry(lambda piece=piece: self.socket.send(piece)) :]  # type: ignore[misc]

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.wait_writable(self.socket)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return await self._retry(lambda: self.socket.recv(max_bytes or 65_536))

    async def send_eof(self) -> None:
        """Say close_notify (RFC 8446 §6.1) and finish our side."""
        try:
            self.socket.unwrap()
        except OSError:
            pass  # it waits for the client's, which may come or not

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """At once; twice does no harm, and a connection that was handed on stays open."""
        if not self._detached and self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    def detach(self) -> TlsConnection:
        """Hand the connection to the pump; this stream is not used again."""
        self._detached = True
        return TlsConnection(self.socket)

    async def _retry(self, operation: Callable[[], Result]) -> Result:
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self.socket)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self.socket)
            except (OSError, ValueError) as error:
                raise trio.BrokenResourceError(f"TLS: {error}") from error


def take_socket(stream: trio.abc.HalfCloseableStream, send_buffer_bytes: int) -> TlsConnection | PlainConnection:
    """Take a client's connection from its task, for the pump to write.

    Args:
        stream: not used again.
        send_buffer_bytes: see sockets.set_for_pump.
    """
    if isinstance(stream, TlsStream):
        sockets.set_for_pump(stream.socket, send_buffer_bytes)
        return stream.detach()
    connection = sockets.detach(stream)
    sockets.set_for_pump(connection, send_buffer_bytes)
    return connection


class TlsConnection:
    """A listener's TLS connection, as castd.delivery.listener.Connection.

    Python's ssl makes whole records or none, and one that the kernel did not take must be offered again with the same
    bytes (another retry lost or repeated data silently when tried). So a record that would block is kept here and
    counted as sent; until it is gone the connection `owes` it.
    """

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._kept = b""

    @property
    def owes(self) -> bool:
        """Bytes were counted as sent that the kernel does not have yet."""
        return bool(self._kept)

    def flush(self) -> bool:
        """Offer what is owed again; True if nothing is owed any more."""
        if self._kept:
            try:
                self._sock.send(self._kept)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
            self._kept = b""
        return True

    def send(self, data: bytes | memoryview, /) -> int:
        """As socket.send: the number of bytes taken, BlockingIOError if none can be."""
        if not self.flush():
            raise BlockingIOError
        view, sent = memoryview(data), 0
        while sent < len(view) and not self._kept:
            record = bytes(view[sent : sent + RECORD_BYTES])
            try:
                self._sock.send(record)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self._kept = record
            sent += len(record)
        return sent

    def sendmsg(self, buffers: list[bytes | memoryview], /) -> int:
        """As socket.sendmsg; the buffers share records, so that an ICY block costs none of its own."""
        return self.send(b"".join(buffers))

    def recv(self, size: int, /) -> bytes:
        """As socket.recv; b"" at the client's close_notify or hang-up."""
        try:
            return self._sock.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            return b""

    def getsockopt(self, level: int, option: int, /) -> int:
        return self._sock.getsockopt(level, option)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

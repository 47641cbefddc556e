"""castd in the test's own loop, with and without sockets, and small clients that speak to it byte by byte.

`Bench` has everything but sockets: requests go over memory streams, so whole tests run in virtual time, and a mount's
ring is looked into instead of listened to. `serving` is a running server on a free port of 127.0.0.1, in real time.
`Client`, `Encoder` and `Ear` work with both, but only `serving` has listeners.
"""

from __future__ import annotations

import base64
import re
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import trio
import trio.testing

from castd.access.secrets import Secrets
from castd.app import Server
from castd.config import Config, Delivery, Limits, Listen
from castd.http.connection import Connection
from castd.mount.party import Goodbye

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from castd.mount.mount import Mount

SOURCE = ("source", "the encoders' word")
ADMIN = ("admin", "the operator's word")
TOKEN = "castd_the-programs-word"

SECRETS = Secrets(source_password=SOURCE[1], admin_password=ADMIN[1], admin_token=TOKEN)

FRAME_BYTES = 417
"""MPEG-1 layer III, 128 kbit/s at 44,100 Hz, no padding (ISO/IEC 11172-3 §2.4.3.1)."""

FRAME_SECONDS = 1152 / 44_100

PROBE = {
    "ice-name": "Probe Name",
    "ice-description": "Probe Desc",
    "ice-genre": "test",
    "ice-url": "http://example.invalid/",
    "ice-bitrate": "128",
    "ice-audio-info": "ice-samplerate=44100;ice-bitrate=128;ice-channels=2",
}
"""What the recorded source said of itself (capture A01)."""

PATIENCE_SECONDS = 20.0
"""What a real socket is given before the test fails."""


def frame(number: int) -> bytes:
    """An MP3 frame with its number inside."""
    return b"\xff\xfb\x90\x64" + f"<{number:08d}>".encode().ljust(FRAME_BYTES - 4, b".")


def frames(first: int, after: int) -> bytes:
    """Consecutive frames."""
    return b"".join(map(frame, range(first, after)))


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def head(
    method: str, target: str, fields: Mapping[str, str] | None = None, *, user: tuple[str, str] | None = None
) -> bytes:
    """A request head; Host and Content-Type may be overwritten, "" leaves a field out."""
    lines = {"Host": "radio.test", "User-Agent": "probe/1"}
    if user:
        lines["Authorization"] = basic(*user)
    if method in ("PUT", "SOURCE"):
        lines["Content-Type"] = "audio/mpeg"
    lines |= fields or {}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"{method} {target} HTTP/1.1\r\n{text}\r\n".encode()


@dataclass
class Reply:
    """A small reply, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """A connection to castd.

    Attributes:
        received: bytes that came and were not taken yet.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self.received = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def ask(self, data: bytes) -> Reply:
        """Send a request and read its reply."""
        await self.send(data)
        return await self.reply(body=not data.startswith(b"HEAD"))

    async def until(self, ending: bytes) -> bytes:
        """Everything up to and including `ending`."""
        while ending not in self.received:
            data = await self.stream.receive_some(65536)
            assert data, f"the connection ended after {self.received[:200]!r}"
            self.received += data
        taken, _, self.received = self.received.partition(ending)
        return taken + ending

    async def exactly(self, count: int) -> bytes:
        """So many bytes, or all there are before the end."""
        while len(self.received) < count and (data := await self.stream.receive_some(65536)):
            self.received += data
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    async def reply(self, *, body: bool = True) -> Reply:
        """The next reply; its body by Content-Length, else to the end."""
        first, *lines = (await self.until(b"\r\n\r\n")).decode().split("\r\n")
        match = re.fullmatch(r"HTTP/1\.[01] (\d{3}) .*", first)
        assert match, first
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        if not body or match[1] in ("100", "204", "304"):
            return Reply(int(match[1]), headers, b"")
        return Reply(int(match[1]), headers, await self.exactly(int(headers.get("content-length", 1 << 40))))

    async def rest(self) -> bytes:
        """Everything to the end of the connection, orderly or not."""
        try:
            while data := await self.stream.receive_some(65536):
                self.received += data
        except trio.BrokenResourceError:
            pass
        taken, self.received = self.received, b""
        return taken

    async def drip(self, pieces: Iterable[bytes], seconds: float) -> bool:
        """Send pieces at intervals.

        Returns:
            True if all were taken, False if castd hung up before.
        """
        try:
            for piece in pieces:
                await self.send(piece)
                await trio.sleep(seconds)
        except trio.BrokenResourceError:
            return False
        return True

    async def close(self) -> None:
        await trio.aclose_forcefully(self.stream)

    def reset(self) -> None:
        """End with a TCP RST."""
        assert isinstance(self.stream, trio.SocketStream)
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def replies(received: bytes) -> list[Reply]:
    """All replies in what a connection gave, each with a Content-Length.

    Raises:
        AssertionError: it is anything else.
    """
    found = []
    while received:
        top, blank, received = received.partition(b"\r\n\r\n")
        assert blank, top
        first, *lines = top.decode().split("\r\n")
        match = re.fullmatch(r"HTTP/1\.[01] (\d{3}) .*", first)
        assert match, first
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = 0 if match[1] in ("204", "304") else int(headers["content-length"])
        assert len(received) >= size, received
        found.append(Reply(int(match[1]), headers, received[:size]))
        received = received[size:]
    return found


class Encoder(Client):
    """A source that sends numbered frames.

    Attributes:
        next: number of the next frame.
    """

    next: int = 0

    async def begin(
        self,
        mount: str,
        fields: Mapping[str, str] | None = None,
        *,
        method: str = "PUT",
        user: tuple[str, str] = SOURCE,
    ) -> Self:
        """Push to a mount; it must be granted."""
        await self.send(head(method, mount, fields, user=user))
        assert await self.until(b"\r\n\r\n") == b"HTTP/1.0 200 OK\r\n\r\n"
        return self

    async def push(self, count: int) -> None:
        """The next frames."""
        await self.send(frames(self.next, self.next + count))
        self.next += count


class Ear(Client):
    """A listener.

    Attributes:
        headers: of the reply.
    """

    headers: dict[str, str]

    async def join(self, mount: str, fields: Mapping[str, str] | None = None) -> Self:
        await self.send(head("GET", mount, fields))
        first, *lines = (await self.until(b"\r\n\r\n")).decode().split("\r\n")
        assert first == "HTTP/1.0 200 OK"
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return self


@dataclass
class Castd:
    """A server to test.

    Attributes:
        server: its parts.
    """

    server: Server

    def mount(self, name: str) -> Mount:
        return self.server.registry.mounts[name]

    def ring(self, name: str) -> bytes:
        """All audio a mount holds."""
        ring = self.mount(name).ring
        return ring.read(ring.tail, ring.head)

    def title(self, name: str) -> str | None:
        title = self.mount(name).timeline.title
        return title.text if title else None


@dataclass
class Bench(Castd):
    """castd without sockets; make one with `bench`."""

    nursery: trio.Nursery
    failures: list[Exception] = field(default_factory=list)

    def connect(self, address: str = "192.0.2.1") -> Client:
        """A new connection."""
        return Client(self._connect(address))

    async def encoder(self, mount: str, fields: Mapping[str, str] | None = None, **kwargs: Any) -> Encoder:
        """A source that has its mount."""
        return await Encoder(self._connect("192.0.2.1")).begin(mount, fields, **kwargs)

    async def ask(self, data: bytes) -> Reply:
        """The reply to a request on a connection of its own."""
        async with self.connect() as client:
            return await client.ask(data)

    def _connect(self, address: str) -> trio.abc.HalfCloseableStream:
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._serve, theirs, address)
        return ours

    async def _serve(self, stream: trio.abc.HalfCloseableStream, address: str) -> None:
        try:
            await connection(self.server, stream, address).serve()
        except Exception as error:
            self.failures.append(error)
        finally:
            await trio.aclose_forcefully(stream)


def connection(server: Server, stream: trio.abc.HalfCloseableStream, address: str = "192.0.2.1") -> Connection:
    """One connection of a server, as its front door makes them."""
    return Connection(stream, address, "127.0.0.1:8000", server.config.limits, server.front.dispatch)


@asynccontextmanager
async def bench(config: Config | None = None) -> AsyncIterator[Bench]:
    """castd without sockets, for as long as the block; an exception out of a connection fails the test."""
    server = Server(config or Config(), SECRETS)
    try:
        async with trio.open_nursery() as nursery:
            made = Bench(server, nursery)
            yield made
            nursery.cancel_scope.cancel()
        assert not made.failures
    finally:
        for mount in server.registry.mounts.values():
            mount.close(Goodbye.DRAINED)
        server.close()


@dataclass
class Serving(Castd):
    """A running server; make one with `serving`.

    Attributes:
        port: it listens on, at 127.0.0.1.
    """

    port: int
    streams: list[trio.SocketStream] = field(default_factory=list)

    async def connect(self) -> Client:
        return Client(await self.stream())

    async def encoder(self, mount: str, fields: Mapping[str, str] | None = None, **kwargs: Any) -> Encoder:
        return await Encoder(await self.stream()).begin(mount, fields, **kwargs)

    async def ear(self, mount: str, fields: Mapping[str, str] | None = None) -> Ear:
        return await Ear(await self.stream()).join(mount, fields)

    async def ask(self, data: bytes) -> Reply:
        async with await self.connect() as client:
            return await client.ask(data)

    async def stream(self) -> trio.SocketStream:
        """A new connection; closed with the server if not before."""
        self.streams.append(await trio.open_tcp_stream("127.0.0.1", self.port))
        return self.streams[-1]


def configured(
    *,
    limits: Limits | None = None,
    delivery: Delivery | None = None,
    mounts: Mapping[str, Mapping[str, Any]] | None = None,
    listen: tuple[Listen, ...] = (Listen(host="127.0.0.1", port=0),),
    **sections: Any,
) -> Config:
    """A configuration, on a free port of 127.0.0.1 unless it says otherwise."""
    return Config(
        **sections,
        listen=listen,
        limits=limits or Limits(),
        delivery=delivery or Delivery(),
        mounts=mounts or {},
    )


@asynccontextmanager
async def serving(config: Config | None = None, seconds: float = PATIENCE_SECONDS) -> AsyncIterator[Serving]:
    """A server in this loop, on real sockets, for as long as the block, which has so many seconds."""
    server = Server(config or configured(), SECRETS)
    urls: list[str] = []
    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run, urls.extend)
            await until(lambda: bool(urls))
            made = Serving(server, int(urls[0].rpartition(":")[2]))
            try:
                yield made
            finally:
                nursery.cancel_scope.cancel()
                for stream in made.streams:
                    stream.socket.close()


async def until(true: Callable[[], bool]) -> None:
    """Wait for something the kernel or another task brings about."""
    while not true():  # noqa: ASYNC110 - nobody is there to set an event
        await trio.sleep(0.002)


@asynccontextmanager
async def canary(castd: Serving) -> AsyncIterator[None]:
    """A healthy mount with a listener, who must hear every byte while the block does its worst elsewhere."""
    encoder = await castd.encoder("/canary")
    await encoder.push(20)
    await until(lambda: castd.mount("/canary").ring.head > 0)
    ear = await castd.ear("/canary")
    heard = b""

    async def sing() -> None:
        while True:
            await encoder.push(1)
            await trio.sleep(FRAME_SECONDS / 4)

    async def listen() -> None:
        nonlocal heard
        while True:
            heard += await ear.exactly(1)
            heard += ear.received
            ear.received = b""

    async with encoder, ear, trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        async with trio.open_nursery() as singing:
            singing.start_soon(sing)
            yield
            singing.cancel_scope.cancel()
        await encoder.push(10)
        expected = frames(0, encoder.next - 2)  # the framer holds the newest back
        await until(lambda: len(heard) >= len(expected))
        nursery.cancel_scope.cancel()
        assert heard.startswith(expected), "the canary's listener lost a byte"

"""A web service of any behaviour on a port of 127.0.0.1, and events to tell it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import trio

from castd.stats.events import Event

if TYPE_CHECKING:
    from castd.config.events import EventName

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Behaviour: TypeAlias = "bytes | Callable[[trio.SocketStream], Awaitable[None]]"


def status(line: str, fields: str = "") -> bytes:
    """An answer without a body."""
    return f"HTTP/1.1 {line}\r\n{fields}Content-Length: 0\r\n\r\n".encode()


@dataclass
class Received:
    """A request."""

    first: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Service:
    """A web service.

    Attributes:
        answers: to its requests, in order; after them OK. What is no bytes is called in place of answering.
        received: requests that came whole.
    """

    port: int
    answers: list[Behaviour] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=1"

    @property
    def names(self) -> list[str]:
        return [each.headers["x-castd-event"] for each in self.received]

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                self.received.append(await _request(stream))
                answer = self.answers.pop(0) if self.answers else OK
                if isinstance(answer, bytes):
                    await stream.send_all(answer)
                else:
                    await answer(stream)
        except trio.BrokenResourceError:
            pass


@asynccontextmanager
async def listening(*answers: Behaviour, port: int = 0) -> AsyncIterator[Service]:
    """A service that is up for the length of the block."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
        service = Service(listener.socket.getsockname()[1], list(answers))
        nursery.start_soon(trio.serve_listeners, service.serve, [listener])
        yield service
        nursery.cancel_scope.cancel()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def event(name: EventName = "title", mount: str = "/live", **fields: str | int | float | None) -> Event:
    return Event(name, 1_763_884_570.25, mount, fields)


async def _request(stream: trio.SocketStream) -> Received:
    data = b""
    while b"\r\n\r\n" not in data:
        data += (more := await stream.receive_some()) or b"\r\n\r\n"
        if not more:
            raise trio.BrokenResourceError
    top, _, body = data.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        more = await stream.receive_some()
        if not more:
            raise trio.BrokenResourceError
        body += more
    return Received(first, headers, body)

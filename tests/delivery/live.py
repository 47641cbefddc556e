"""A whole server in the test's own loop, over real sockets, and an encoder of numbered frames."""

from __future__ import annotations

import base64
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from castd.access.secrets import Secrets
from castd.app import Server
from castd.config import Auth, Certificate, Config, Delivery, Limits, Listen, Tls
from tests.delivery.swarm import FRAME_SECONDS, mp3_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PASSWORD = "a source of numbers"


@asynccontextmanager
async def serving(
    delivery: Delivery | None = None,
    limits: Limits | None = None,
    *,
    listen: Listen | None = None,
    certificates: tuple[Certificate, ...] = (),
    tls: Tls | None = None,
) -> AsyncIterator[tuple[Server, int]]:
    """A server in this loop, and its port."""
    config = Config(
        listen=(listen or Listen(host="127.0.0.1", port=0),),
        auth=Auth(source_password=PASSWORD),
        delivery=delivery or Delivery(),
        limits=limits or Limits(),
        certificates=certificates,
        tls=tls or Tls(),
    )
    server = Server(config, Secrets(PASSWORD, "an admin", "a token"))
    urls: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run, urls.extend)
        await until(lambda: bool(urls), 5.0)
        yield server, int(urls[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


AHEAD_FRAMES = 200
"""Sent at once, so that there is a burst for the first listener; the rest follows in real time."""


class Numbers:
    """An encoder that sends numbered frames in real time, in pieces that end anywhere.

    Args:
        first: number of its first frame.
        context: for TLS; None for plain.

    Attributes:
        next: number of the frame to be sent next.
        silent: set it, and it stays connected and sends nothing more.
    """

    def __init__(self, port: int, mount: str, first: int = 0, context: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._context = context
        self.mount = mount
        self.first = self.next = first
        self.silent = False
        self._leaving = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Push until `leave`; started when the frames sent ahead are on their way."""
        stream: trio.abc.HalfCloseableStream | trio.SSLStream[trio.SocketStream]
        stream = await trio.open_tcp_stream("127.0.0.1", self._port)
        if self._context is not None:
            stream = trio.SSLStream(stream, self._context, https_compatible=True)
        async with stream:
            await stream.send_all(put(self.mount, "audio/mpeg"))
            assert (await stream.receive_some()).startswith(b"HTTP/1.0 200 OK")
            rest = await self._push(stream, b"", AHEAD_FRAMES)
            task_status.started()
            begun = trio.current_time()
            while not self.silent and not self._leaving.is_set():
                due = int((trio.current_time() - begun) / FRAME_SECONDS) + AHEAD_FRAMES
                rest = await self._push(stream, rest, self.first + due - self.next)
                await trio.sleep(0.03)
            await stream.send_all(rest)
            await self._leaving.wait()

    async def _push(self, stream: trio.abc.SendStream, rest: bytes, count: int) -> bytes:
        """Send frames, the last one in part.

        Returns:
            The part not sent.
        """
        data = rest + b"".join(mp3_frame(self.mount, self.next + index) for index in range(count))
        self.next += count
        cut = max(0, len(data) - self.next * 7 % 500)
        await stream.send_all(data[:cut])
        return data[cut:]

    def leave(self) -> None:
        """Send the last frame to its end and hang up."""
        self._leaving.set()


def put(mount: str, content_type: str) -> bytes:
    """The head of a source's request."""
    credentials = base64.b64encode(f"source:{PASSWORD}".encode()).decode()
    fields = f"Host: x\r\nContent-Type: {content_type}\r\nAuthorization: Basic {credentials}\r\n"
    return f"PUT {mount} HTTP/1.1\r\n{fields}\r\n".encode()


async def push(port: int, mount: str, content_type: str, body: bytes) -> None:
    """Send a whole stream and hang up."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(put(mount, content_type))
        assert (await stream.receive_some()).startswith(b"HTTP/1.0 200 OK")
        await stream.send_all(body)


async def until(true: Callable[[], bool], seconds: float) -> None:
    """Wait for something another thread or process brings about."""
    with trio.fail_after(seconds):
        while not true():  # noqa: ASYNC110 - nobody is there to set an event
            await trio.sleep(0.01)

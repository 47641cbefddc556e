"""Targets: whole connections over memory streams, in virtual time: with the parts of a server behind them, or with all.

The server of `front_door` is made once and has its mounts taken away between inputs, since making one takes longer than
all that an input does.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable
from functools import cache
from typing import Any
from unittest.mock import patch

import h11
import trio
import trio.testing

from castd.app import Server
from castd.config import Config, Limits
from castd.errors import ClientError, IncompleteBody
from castd.http import fetch, post
from castd.http.connection import BODY_BYTES, SHOUTCAST, Connection, Exchange
from castd.http.messages import Response, json_response
from castd.http.post import NoAnswer, Target
from castd.mount.party import Goodbye
from tests.fuzz.harness import pieces, split_off, target
from tests.support import SECRETS, connection

RAW = (b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n")
"""What precedes a stream: nothing that follows has a length."""

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*")


class Fuse(logging.Handler):
    """Makes what castd catches at a connection's edge, a bug that it logs with a traceback, an error of the input.

    In place of the log's other handlers, for as long as the block.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._blown: list[BaseException] = []
        self._log = logging.getLogger("castd")

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self._blown.append(record.exc_info[1])

    def __enter__(self) -> None:
        self._propagated, self._log.propagate = self._log.propagate, False
        self._log.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self)
        self._log.propagate = self._propagated
        if self._blown:
            raise self._blown[0]


def check_replies(received: bytes) -> None:
    """Everything a connection gave is whole replies, a stream, or an answer to a SHOUTcast encoder."""
    while received and not received.startswith(RAW):
        top, blank, received = received.partition(b"\r\n\r\n")
        match = STATUS.match(top)
        if match is None:  # any word alone on a line could be SHOUTcast's password
            assert not top.startswith(b"HTTP/")
            assert (top + blank + received).endswith(b"\r\n")
            return
        assert blank
        assert 200 <= int(match[1]) < 600
        assert match[1] != b"500"
        length = re.search(rb"\r\nContent-Length: (\d+)", top)
        assert (length is None) == (match[1] in (b"204", b"304"))
        if not received.startswith(b"HTTP/1.1 "):  # or it was the reply to a HEAD
            assert length is None or not received or len(received) >= int(length[1])
            received = received[int(length[1]) :] if length else received


async def converse(conversation: Connection, client: trio.abc.HalfCloseableStream, fed: list[bytes]) -> bytes:
    """Feed a connection, and take what it says until it ends."""
    said = bytearray()

    async def listen() -> None:
        try:
            while data := await client.receive_some(65536):
                said.extend(data)
        except trio.BrokenResourceError:
            pass

    async def serve() -> None:
        await conversation.serve()
        await trio.aclose_forcefully(conversation._stream)

    with trio.fail_after(10 * 60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(serve)
            try:
                for piece in fed:
                    await client.send_all(piece)
                    await trio.testing.wait_all_tasks_blocked()
                await client.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
    return bytes(said)


async def echo(exchange: Exchange) -> Response:
    """Reads what there is to read, and says what was understood."""
    request = exchange.request
    if request.method == SHOUTCAST:
        raise ClientError(401, "nobody's password")
    try:
        body = await exchange.read_small_body()
    except IncompleteBody:
        raise ClientError(400, "an incomplete body") from None
    assert len(body) <= BODY_BYTES
    assert request.base_url.isascii()
    assert "\n" not in request.agent
    values = [request.method, request.path, request.headers, sorted(request.query), len(body), request.argument("song")]
    return json_response(values)


@target
def connection_edge(data: bytes) -> None:
    """Any bytes at any cuts are answered by valid replies or a close, in bounded virtual time, and raise nothing."""
    how, stream = split_off(data)

    async def run() -> bytes:
        client, ours = trio.testing.memory_stream_pair()
        conversation = Connection(ours, "192.0.2.1", "127.0.0.1:8000", Limits(), echo)
        return await converse(conversation, client, list(pieces(how, stream)))

    with Fuse():
        received = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    check_replies(received)


async def at_once(work: Callable[..., Any], *args: Any, **_: Any) -> Any:
    """In place of a thread, for which virtual time would not wait."""
    await trio.lowlevel.checkpoint()
    return work(*args)


class Nowhere(trio.abc.HostnameResolver):
    """Knows no name, so that nothing an input asks for leaves this machine."""

    async def getaddrinfo(self, host: object, port: object, *_: object, **__: object) -> list[Any]:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, f"{host} is not looked up")

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, f"{sockaddr} is not looked up")


@cache
def server() -> Server:
    """The one of this process."""
    return Server(Config(), SECRETS)


@target
def front_door(data: bytes) -> None:
    """Any bytes, operators' too, at any cuts get valid replies, no 500, a stream, or a close; nothing is raised."""
    how, stream = split_off(data)

    async def run() -> bytes:
        trio.socket.set_custom_hostname_resolver(Nowhere())
        castd = server()
        client, ours = trio.testing.memory_stream_pair()
        try:
            return await converse(connection(castd, ours), client, list(pieces(how, stream)))
        finally:
            for mount in castd.registry.mounts.values():
                mount.close(Goodbye.DRAINED)
            castd.registry.mounts.clear()

    with Fuse(), patch.object(trio.to_thread, "run_sync", at_once):
        received = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    check_replies(received)


class Canned(trio.abc.Stream):
    """The connection to a service that answers what the input says."""

    def __init__(self, fed: list[bytes]) -> None:
        self._fed = fed

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._fed.pop(0) if self._fed else b""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@target
def service_answer(data: bytes) -> None:
    """Only NoAnswer and what a broken connection raises leave an exchange with a service; what is read is bounded."""
    how, stream = split_off(data)
    url = "http://service.test/answer"

    async def ask() -> None:
        try:
            answer = await post._exchange(Canned(list(pieces(how, stream))), Target.of(url), {}, b"x=1")
            assert 200 <= answer.status < 1000
            assert len(answer.text) <= post.BODY_BYTES + post.HEAD_BYTES
        except (NoAnswer, h11.RemoteProtocolError):
            pass
        try:
            found = await fetch._exchange(Canned(list(pieces(how, stream))), Target.of(url), 10_000)
            if isinstance(found, str):
                Target.of(fetch.redirected(url, found))
            else:
                assert len(found) <= 10_000
        except (NoAnswer, h11.RemoteProtocolError):
            pass

    trio.run(ask, clock=trio.testing.MockClock(autojump_threshold=0))


@target
def redirects(data: bytes) -> None:
    """Only NoAnswer is raised; where a service sends us is a web address that can be asked."""
    try:
        url = fetch.redirected("http://service.test/a/b?c", data.decode("latin-1"))
    except NoAnswer:
        return
    asked = Target.of(url)
    assert asked.scheme in ("http", "https")
    assert asked.host
    assert 0 < asked.port < 65536
    h11.Request(method="GET", target=asked.path, headers=[("Host", asked.authority)])

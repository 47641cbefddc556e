"""The front door: what comes in by the hundred, broken or slow, disturbs nobody else."""

from __future__ import annotations

import errno
import logging
import os
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio

from castd import front
from castd.access.admission import Admission
from castd.access.authorise import Gate
from castd.config import Delivery, Limits
from castd.http.connection import Connection
from castd.http.routes import Router
from castd.mount.party import Goodbye
from tests.support import FRAME_BYTES, Client, canary, configured, frames, head, serving, until


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_whatever_accept_raises_the_next_is_tried(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    codes = [errno.ECONNABORTED, errno.EPERM, errno.ENETDOWN, errno.EIO] * 50 + [errno.EMFILE] * 2 + [errno.ENOBUFS]
    accept = trio.SocketListener.accept
    begun = trio.current_time()

    async def broken(self: trio.SocketListener) -> trio.SocketStream:
        if codes:
            await trio.lowlevel.checkpoint()
            code = codes.pop(0)
            raise OSError(code, os.strerror(code))
        return await accept(self)

    monkeypatch.setattr(trio.SocketListener, "accept", broken)
    async with serving() as castd:
        await until(lambda: not codes)  # whoever comes while there are no descriptors is turned away
        assert (await castd.ask(head("GET", "/healthz"))).status == 200
    assert trio.current_time() - begun >= 3 * front.BACK_OFF_SECONDS, "without descriptors it waits for some"
    lines = [message for message in caplog.messages if message.startswith("cannot accept a connection")]
    assert len(lines) == 6, "one for each kind of trouble"


async def test_200_slow_heads_disturb_nobody() -> None:
    before = descriptors()
    async with serving(configured(limits=Limits(header_timeout_seconds=5)), 60.0) as castd, canary(castd):
        slow = [await castd.connect() for _ in range(200)]
        for index, client in enumerate(slow):
            await client.send(b"GET / HTTP/1.1\r\nX-Slow: "[: index % 25])
        await until(lambda: len(castd.server.admission.waiting) == 200)
        for _ in range(5):
            assert (await castd.ask(head("GET", "/status-json.xsl"))).status == 200
        assert len(castd.server.admission.waiting) >= 200  # they wait still: nobody else waited for them
        for client in slow:
            assert await client.rest() == b""
        await until(lambda: not castd.server.admission.waiting)
    assert descriptors() <= before + 1


@pytest.mark.parametrize("flood", [b"GET /" + b"a" * 1_000_000, b"A: " + b"b" * 1_000_000, b"\r\n" * 500_000])
async def test_a_head_of_a_megabyte_is_refused_at_its_bound(flood: bytes) -> None:
    async with serving() as castd, canary(castd), await castd.connect() as client:
        try:
            await client.send(b"GET / HTTP/1.1\r\n" + flood if flood.startswith(b"A") else flood)
        except trio.BrokenResourceError:
            pass
        reply = await client.rest()
        assert reply.startswith((b"HTTP/1.1 414 ", b"HTTP/1.1 431 "))
        assert (await castd.ask(head("GET", "/healthz"))).status == 200


async def test_more_unread_heads_than_allowed_get_503(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(configured(limits=Limits(max_unread_heads=10))) as castd, canary(castd):
        waiting = [await castd.connect() for _ in range(10)]
        await until(lambda: len(castd.server.admission.waiting) == 10)
        for _ in range(5):
            async with await castd.connect() as client:
                reply = await client.reply()
                assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        await waiting[0].close()
        await until(lambda: len(castd.server.admission.waiting) < 10)
        assert (await castd.ask(head("GET", "/healthz"))).status == 200
    assert sum("too many connections" in message for message in caplog.messages) == 1


async def test_more_connections_of_one_address_than_allowed_get_429() -> None:
    async with serving(configured(limits=Limits(max_connections_per_address=4))) as castd:
        encoder = await castd.encoder("/live")
        await encoder.push(3)
        ears = [await castd.ear("/live") for _ in range(2)]
        idle = await castd.connect()
        await until(lambda: len(castd.server.admission.open) == 2)
        async with await castd.connect() as client:
            assert (await client.reply()).status == 429
        await ears[0].close()
        await until(lambda: len(castd.mount("/live").listeners) == 1)
        assert (await castd.ask(head("GET", "/healthz"))).status == 200
        await idle.close()


async def test_300_connections_that_reset() -> None:
    before = descriptors()
    chosen = random.Random(1)
    requests = [head("GET", "/canary"), head("GET", "/"), head("PUT", "/x", user=("source", "guess")), b"\x16\x03\x01"]
    async with serving() as castd, canary(castd):
        for index in range(300):
            client = await castd.connect()
            request = requests[index % len(requests)]
            await client.send(request[: chosen.randrange(len(request) + 1)] if index % 2 else request)
            if index % 3:
                await trio.lowlevel.checkpoint()
            client.reset()
        await until(lambda: not castd.server.admission.waiting)
        await until(lambda: len(castd.mount("/canary").listeners) == 1)
        assert castd.server.registry.listeners == 1
        assert (await castd.ask(head("GET", "/healthz"))).status == 200
    assert descriptors() <= before + 1


async def test_a_request_in_pieces_of_one_byte() -> None:
    async with serving() as castd, await castd.connect() as client:
        for byte in head("GET", "/healthz"):
            await client.send(bytes([byte]))
        assert (await client.reply()).status == 200


class Bug(Exception):
    """Raised where nobody expects it."""


def _raises(*args: Any, **kwargs: Any) -> Any:
    raise Bug


STAGES: list[tuple[object, str]] = [
    (front, "_names"),
    (Admission, "arrive"),
    (Admission, "ask"),
    (front.FrontDoor, "dispatch"),
    (Connection, "serve"),
    (Connection, "_receive_request"),
    (Connection, "_exchange"),
    (Connection, "_send"),
    (Router, "find"),
    (Gate, "authorise"),
]


@pytest.mark.parametrize(("owner", "name"), STAGES, ids=lambda each: getattr(each, "__name__", each))
async def test_a_bug_at_any_stage_ends_one_connection(
    owner: object, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """PRC-07: trio.serve_listeners would end the server."""
    async with serving() as castd, canary(castd):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, _raises)
            async with await castd.connect() as client:
                try:
                    await client.send(head("GET", "/healthz"))
                except trio.BrokenResourceError:
                    pass
                received = await client.rest()
        assert not received or received.startswith(b"HTTP/1.1 500 ")
        assert (await castd.ask(head("GET", "/healthz"))).status == 200
        await until(lambda: castd.server.registry.listeners == 1)
    assert len([record for record in caplog.records if record.exc_info]) == 1


def small_buffers() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return sock


async def listeners_who(what: Callable[[Client], None], count: int) -> list[Goodbye | None]:
    """Have so many listeners on a mount of 2 MB do something once they have joined; their goodbyes."""
    delivery = Delivery(ring_bytes=262_144, ring_seconds=3.0, lag_seconds=2.0, burst_seconds=1.0, burst_bytes=0,
                        send_interval_max_seconds=0.5, send_buffer_bytes=4096)  # fmt: skip
    async with serving(configured(delivery=delivery)) as castd, canary(castd), await castd.encoder("/live") as encoder:
        await encoder.push(100)
        await until(lambda: castd.mount("/live").ring.head > 90 * FRAME_BYTES)
        clients = []
        for _ in range(count):
            sock = small_buffers()
            sock.connect(("127.0.0.1", castd.port))
            castd.streams.append(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
            clients.append(Client(castd.streams[-1]))
            await clients[-1].send(head("GET", "/live"))
        await until(lambda: len(castd.mount("/live").listeners) == count)
        listeners = list(castd.mount("/live").listeners.values())
        for client in clients:
            what(client)
        ear = await castd.ear("/live")
        first = int((await ear.exactly(FRAME_BYTES))[5:13])
        for _ in range(20):
            await encoder.push(100)
            before, after = first + 1, encoder.next - 1
            assert await ear.exactly((after - before) * FRAME_BYTES) == frames(before, after)
            first = after - 1
        await until(lambda: len(castd.mount("/live").listeners) == 1)
        assert castd.mount("/live").ring.capacity <= delivery.ring_bytes
        return [getattr(listener, "gone", None) for listener in listeners]


async def test_listeners_that_never_read_are_let_go() -> None:
    assert await listeners_who(lambda client: None, 20) == [Goodbye.FELL_BEHIND] * 20


async def test_listeners_that_reset_are_let_go() -> None:
    assert await listeners_who(Client.reset, 20) == [Goodbye.RESET] * 20

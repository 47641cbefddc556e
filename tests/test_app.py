"""Start and stop: everybody gets what was sent, and the server is gone in time."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from castd.app import Server
from castd.config import Config, Delivery, Limits, Listen
from castd.errors import ConfigError
from castd.mount.party import Goodbye
from tests.support import ADMIN, SECRETS, Client, Serving, configured, frames, head, serving, until


@asynccontextmanager
async def stopping(config: Config) -> AsyncIterator[tuple[Serving, trio.Event]]:
    """A server that ends by itself, and the event of its end."""
    server, urls, ended = Server(config, SECRETS), list[str](), trio.Event()

    async def run() -> None:
        await server.run(urls.extend)
        ended.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await until(lambda: bool(urls))
            castd = Serving(server, int(urls[0].rpartition(":")[2]))
            try:
                yield castd, ended
            finally:
                nursery.cancel_scope.cancel()
                for stream in castd.streams:
                    stream.socket.close()


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_gives_listeners_everything_and_takes_no_more(
    number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with stopping(configured()) as (castd, ended):
        encoder = await castd.encoder("/live")
        await encoder.push(50)
        await until(lambda: castd.mount("/live").ring.head == len(frames(0, 49)))
        plain, icy = await castd.ear("/live"), await castd.ear("/live", {"Icy-MetaData": "1"})
        idle = await castd.connect()
        await until(lambda: len(castd.mount("/live").listeners) == 2)
        await encoder.push(50)
        await until(lambda: castd.mount("/live").ring.head == len(frames(0, 99)))
        begun = trio.current_time()
        os.kill(os.getpid(), number)
        heard = await plain.rest()
        assert heard == frames(0, 100)  # with the last one, which waited for a next header
        assert len(await icy.rest()) >= len(heard)
        assert await encoder.rest() == b""
        assert await idle.rest() == b""
        await ended.wait()
        assert trio.current_time() - begun < castd.server.config.limits.drain_seconds
        with pytest.raises(OSError, match="all attempts to connect"):
            await castd.stream()
    assert f"{number.name}: stopping" in caplog.messages
    assert "stopping: 1 sources, 2 listeners" in caplog.messages
    assert sum(f"closed: {Goodbye.DRAINED.value}" in message for message in caplog.messages) == 3
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def stalled(castd: Serving) -> None:
    """A listener that never reads, with more on its way than the kernel takes."""
    encoder = await castd.encoder("/live")
    await encoder.push(100)
    await until(lambda: castd.mount("/live").ring.head > 0)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", castd.port))
    castd.streams.append(trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
    await Client(castd.streams[-1]).send(head("GET", "/live"))
    await until(lambda: len(castd.mount("/live").listeners) == 1)
    await encoder.push(1500)
    await until(lambda: castd.mount("/live").ring.head > len(frames(0, 1500)))


STALLING = Delivery(send_buffer_bytes=4096, ring_bytes=4 << 20, ring_seconds=200, lag_seconds=100)


async def test_a_stop_waits_for_the_slow_no_longer_than_its_deadline(caplog: pytest.LogCaptureFixture) -> None:
    config = configured(limits=Limits(drain_seconds=0.3), delivery=STALLING)
    async with stopping(config) as (castd, ended):
        await stalled(castd)
        begun = trio.current_time()
        terminate()
        await ended.wait()
        assert 0.3 <= trio.current_time() - begun < 0.8
    assert "1 listeners were still behind after 0.3 s" in caplog.messages


async def test_a_stop_waits_for_no_follower_of_stats() -> None:
    async with stopping(configured(limits=Limits(drain_seconds=60.0))) as (castd, ended):
        stream = await castd.stream()
        await stream.send_all(head("STATS", "/", user=ADMIN))
        assert await stream.receive_some(4096)
        begun = trio.current_time()
        terminate()
        await ended.wait()
        assert trio.current_time() - begun < 30


async def test_a_chore_that_fails_costs_nobody_else_anything(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as castd:
        done: list[str] = []

        def fail() -> None:
            done.append("failed")
            raise KeyError("chore")

        monkeypatch.setattr(castd.server.pump, "remind", fail)
        monkeypatch.setattr(castd.server.sessions, "tidy", lambda: done.append("tidy"))
        await until(lambda: done.count("tidy") > 1)
        assert done.count("failed") > 1
        assert (await castd.ask(head("GET", "/healthz"))).status == 200
    assert sum("one of the server's chores failed" in each for each in caplog.messages) == 1


async def test_a_second_signal_ends_at_once(caplog: pytest.LogCaptureFixture) -> None:
    config = configured(limits=Limits(drain_seconds=60.0), delivery=STALLING)
    async with stopping(config) as (castd, ended):
        await stalled(castd)
        begun = trio.current_time()
        terminate()
        await until(lambda: castd.mount("/live").source is None)
        assert not ended.is_set()
        terminate()
        await ended.wait()
        assert trio.current_time() - begun < 1
    assert "SIGTERM again: ending at once" in caplog.messages


async def test_a_stop_while_a_head_a_reply_or_a_title_is_under_way(caplog: pytest.LogCaptureFixture) -> None:
    async with stopping(configured()) as (castd, ended):
        clients = [await castd.connect() for _ in range(3)]
        await clients[0].send(head("GET", "/")[:-1])
        await clients[1].send(head("POST", "/api/v1/admin/mounts/x/title", {"Content-Length": "10"}))
        await until(lambda: len(castd.server.admission.open) == 3)
        terminate()
        await ended.wait()
        for client in clients:
            await client.rest()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("host", ["127.0.0.1", "", "localhost"])
async def test_an_address_in_use_is_told(host: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1" if host else "0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        free = socket.socket()
        free.bind(("127.0.0.1", 0))
        free_port = free.getsockname()[1]
        free.close()
        config = Config(listen=(Listen(host="127.0.0.1", port=free_port), Listen(host=host, port=port)))
        server = Server(config, SECRETS)
        with pytest.raises(ConfigError) as caught:
            await server.run(lambda urls: pytest.fail("it is not ready"))
        server.poller.close()
        assert str(caught.value) == f"cannot listen on {host or '*'}:{port}: Address already in use"
        with socket.socket() as again:
            again.bind(("127.0.0.1", free_port))


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_ours_is_told(host: str) -> None:
    server = Server(Config(listen=(Listen(host=host, port=0),)), SECRETS)
    with pytest.raises(ConfigError, match=rf"cannot listen on {host}:0: \w+"):
        await server.run(lambda urls: pytest.fail("it is not ready"))
    server.poller.close()

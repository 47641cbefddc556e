"""A thousand listeners on one mount of a whole server over real sockets, and hang-ups nobody waits for."""

from __future__ import annotations

import base64
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from castd.access.secrets import Secrets
from castd.app import Server
from castd.config import Auth, Config, Delivery, Limits, Listen
from castd.delivery.listener import Listener
from castd.mount.party import Goodbye
from tests.delivery.swarm import FRAME_SECONDS, Ear, Kind, Swarm, mp3_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from castd.mount.mount import Mount

PASSWORD = "a source of numbers"


@asynccontextmanager
async def serving(delivery: Delivery, limits: Limits) -> AsyncIterator[tuple[Server, int]]:
    """A server in this loop, and its port."""
    config = Config(
        listen=(Listen(host="127.0.0.1", port=0),),
        auth=Auth(source_password=PASSWORD),
        delivery=delivery,
        limits=limits,
    )
    server = Server(config, Secrets(PASSWORD, "an admin", "a token"))
    urls: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run, urls.extend)
        await until(lambda: bool(urls), 5.0)
        yield server, int(urls[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


class Numbers:
    """An encoder that sends numbered frames in real time, in pieces that end anywhere."""

    def __init__(self, port: int, mount: str) -> None:
        self._port = port
        self.mount = mount
        self.sent = 0
        self.stopping = False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", self._port)
        async with stream:
            await stream.send_all(
                f"PUT {self.mount} HTTP/1.1\r\nHost: x\r\nContent-Type: audio/mpeg\r\n"
                f"Authorization: Basic {_basic('source', PASSWORD)}\r\n\r\n".encode()
            )
            assert (await stream.receive_some()).startswith(b"HTTP/1.0 200 OK")
            begun, rest = trio.current_time(), b""
            while not self.stopping:
                due = int((trio.current_time() - begun) / FRAME_SECONDS) + 200 - self.sent
                data = rest + b"".join(mp3_frame(self.mount, self.sent + index) for index in range(due))
                self.sent += due
                cut = max(0, len(data) - self.sent * 7 % 500)
                await stream.send_all(data[:cut])
                rest = data[cut:]
                if self.sent > 200:
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                await trio.sleep(0.03)
            await stream.send_all(rest)
            self.finished = trio.Event()
            await trio.sleep_forever()


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


async def until(true: Callable[[], bool], seconds: float) -> None:
    """Wait for something another thread or process brings about."""
    with trio.fail_after(seconds):
        while not true():  # noqa: ASYNC110 - nobody is there to set an event
            await trio.sleep(0.01)


def _mount(server: Server) -> Mount:
    mount = server.registry.get("/numbers")
    assert mount is not None
    return mount


@pytest.mark.slow
async def test_a_thousand_listeners_each_hear_every_frame() -> None:
    delivery = Delivery(
        ring_bytes=65_536, ring_seconds=30.0, burst_seconds=1.0, lag_seconds=20.0, send_buffer_bytes=8192
    )
    async with serving(delivery, Limits()) as (server, port), trio.open_nursery() as nursery:
        encoder = Numbers(port, "/numbers")
        await nursery.start(encoder.run)
        swarm = Swarm(port)
        run = trio.to_thread.run_sync
        for count, kind in ((300, Kind.READS), (300, Kind.ICY), (150, Kind.SIPS), (50, Kind.STALLS)):
            await run(swarm.join, count, kind, "/numbers")
        await run(swarm.listen, 2.0)
        for round_number in range(4):  # descriptors are closed and their numbers come again
            leaving = [ear for ear in swarm.ears if not ear.ended and ear.kind is not Kind.STALLS][round_number::10]
            await run(swarm.leave, leaving)
            await run(swarm.join, 50, (Kind.READS, Kind.ICY, Kind.SIPS, Kind.READS)[round_number], "/numbers")
            _mount(server).set_title(f"round {round_number}")
            await run(swarm.listen, 1.0)
        await trio.sleep(0.3)
        mount = _mount(server)
        jumps = {listener.agent: listener.jumps for listener in mount.listeners.values()}
        encoder.stopping = True
        await trio.sleep(0.2)
        await run(swarm.drain, encoder.sent - 2, 10.0)  # the last frame waits for a next header
        jumps = {agent: before for agent, before in jumps.items()} | {
            listener.agent: listener.jumps for listener in mount.listeners.values()
        }
        reading = [ear for ear in swarm.ears if not ear.ended and ear.kind is not Kind.STALLS]
        swarm.close()
        nursery.cancel_scope.cancel()
    assert len(reading) >= 600
    for ear in swarm.ears:
        assert not ear.wrong, f"{ear.name} ({ear.kind.value}): {ear.wrong}"
        if ear.kind in (Kind.READS, Kind.ICY):
            assert not ear.breaks, f"{ear.name} ({ear.kind.value}) missed frames: {ear.breaks}"
    _check_jumps(reading, jumps, encoder)
    assert any(ear.breaks for ear in reading), "nobody fell behind: the ring was not put to the test"
    from_the_start = [ear for ear in swarm.ears[:600] if ear in reading and ear.kind is Kind.ICY]
    assert all(ear.titles >= 4 for ear in from_the_start), "an ICY listener was not told every title"


def _check_jumps(reading: list[Ear], jumps: dict[str, int], encoder: Numbers) -> None:
    for ear in reading:
        assert ear.last >= encoder.sent - 2, f"{ear.name} ({ear.kind.value}) stopped at {ear.last} of {encoder.sent}"
        assert all(after > before for before, after in ear.breaks), f"{ear.name} heard frames again: {ear.breaks}"
        assert len(ear.breaks) <= jumps[ear.name], f"{ear.name}: {ear.breaks} but {jumps[ear.name]} jumps"


@pytest.mark.slow
async def test_hang_ups_are_seen_while_nothing_flows_and_cost_no_wake_up_after() -> None:
    limits = Limits(source_timeout_seconds=60.0)
    async with serving(Delivery(), limits) as (server, port), trio.open_nursery() as nursery:
        encoder = Numbers(port, "/numbers")
        await nursery.start(encoder.run)
        encoder.stopping = True  # connected, and silent from now on
        swarm = Swarm(port)
        ears = await trio.to_thread.run_sync(swarm.join, 300, Kind.READS, "/numbers")
        mount = _mount(server)
        await until(lambda: len(mount.listeners) == 300, 10.0)
        await trio.to_thread.run_sync(swarm.listen, 0.3)
        listeners = list(mount.listeners.values())
        for index, ear in enumerate(ears):
            if index % 3 == 0:
                ear.sock.close()
            elif index % 3 == 1:
                ear.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                ear.sock.close()
            else:
                ear.sock.shutdown(socket.SHUT_WR)
        await until(lambda: not mount.listeners, 2.0)
        reasons = [listener.gone for listener in listeners if isinstance(listener, Listener)]
        wakes, turns = server.poller.wakes, server.pump.turns
        await trio.sleep(0.5)
        assert (server.poller.wakes, server.pump.turns) == (wakes, turns)
        assert len(server.poller) == 0
        swarm.close()
        nursery.cancel_scope.cancel()
    assert reasons.count(Goodbye.RESET) == 100
    assert reasons.count(Goodbye.LEFT) == 200

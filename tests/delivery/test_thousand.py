"""A thousand listeners on one mount of a whole server over real sockets, and hang-ups nobody waits for."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest
import trio

from castd.config import Delivery, Limits
from castd.delivery.listener import Listener
from castd.mount.party import Goodbye
from tests.delivery.live import Numbers, serving, until
from tests.delivery.swarm import Ear, Kind, Swarm

if TYPE_CHECKING:
    from castd.app import Server
    from castd.mount.mount import Mount


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
        with Swarm(port) as swarm:
            encoder = Numbers(port, "/numbers")
            await nursery.start(encoder.run)
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
            encoder.silent = True
            await trio.sleep(0.2)
            await run(swarm.drain, encoder.next - 2, 60.0)  # the last frame waits for a next header
            jumps = {agent: before for agent, before in jumps.items()} | {
                listener.agent: listener.jumps for listener in mount.listeners.values()
            }
            reading = [ear for ear in swarm.ears if not ear.ended and ear.kind is not Kind.STALLS]
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
        assert ear.last >= encoder.next - 2, f"{ear.name} ({ear.kind.value}) stopped at {ear.last} of {encoder.next}"
        assert all(after > before for before, after in ear.breaks), f"{ear.name} heard frames again: {ear.breaks}"
        assert len(ear.breaks) <= jumps[ear.name], f"{ear.name}: {ear.breaks} but {jumps[ear.name]} jumps"


@pytest.mark.slow
async def test_hang_ups_are_seen_while_nothing_flows_and_cost_no_wake_up_after() -> None:
    limits = Limits(source_timeout_seconds=60.0)
    async with serving(Delivery(), limits) as (server, port), trio.open_nursery() as nursery:
        with Swarm(port) as swarm:
            encoder = Numbers(port, "/numbers")
            await nursery.start(encoder.run)
            encoder.silent = True  # connected, and silent from now on
            ears = await trio.to_thread.run_sync(swarm.join, 300, Kind.READS, "/numbers")
            mount = _mount(server)
            await until(lambda: len(mount.listeners) == 300, 20.0)
            # who hangs up with something unread resets
            await trio.to_thread.run_sync(swarm.drain, encoder.next - 2, 60.0)
            listeners = list(mount.listeners.values())
            for index, ear in enumerate(ears):
                if index % 3 == 0:
                    ear.sock.close()
                elif index % 3 == 1:
                    ear.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    ear.sock.close()
                else:
                    ear.sock.shutdown(socket.SHUT_WR)
            await until(lambda: not mount.listeners, 20.0)
            reasons = [listener.gone for listener in listeners if isinstance(listener, Listener)]
            wakes, turns = server.poller.wakes, server.pump.turns
            await trio.sleep(0.5)
            assert (server.poller.wakes, server.pump.turns) == (wakes, turns)
            assert len(server.poller) == 0
            nursery.cancel_scope.cancel()
    assert reasons.count(Goodbye.RESET) == 100
    assert reasons.count(Goodbye.LEFT) == 200

"""Listeners outlast their source: they wait, and go on where it returns, on a whole frame, hearing nothing twice."""

from __future__ import annotations

from pathlib import Path

import trio

from castd.config import Delivery, Limits
from castd.mount.party import Goodbye
from tests.delivery.live import Numbers, push, serving, until
from tests.delivery.swarm import Kind, Swarm

FIXTURES = Path(__file__).parents[1] / "fixtures"

run = trio.to_thread.run_sync


async def test_listeners_wait_for_their_source_and_hear_every_frame_once() -> None:
    async with serving(Delivery(linger_seconds=20.0), Limits()) as (server, port), trio.open_nursery() as nursery:
        with Swarm(port) as swarm:
            first = Numbers(port, "/numbers")
            await nursery.start(first.run)
            ears = [ear for kind in (Kind.READS, Kind.ICY) for ear in await run(swarm.join, 10, kind, "/numbers")]
            await run(swarm.listen, 0.5)
            first.leave()
            mount = server.registry.mounts["/numbers"]
            await until(lambda: mount.source is None, 2.0)
            await run(swarm.listen, 0.3)
            assert {ear.last for ear in ears} == {first.next - 1}, "everything sent before the end is heard"

            late = await run(swarm.join, 1, Kind.READS, "/numbers")
            await run(swarm.listen, 0.3)
            assert late[0].last == -1, "who comes now hears no old audio"
            assert len(mount.listeners) == 21

            second = Numbers(port, "/numbers", first.next)
            await nursery.start(second.run)
            await run(swarm.listen, 0.5)
            assert server.registry.mounts["/numbers"] is mount
            assert late[0].first == second.first
            for ear in [*ears, *late]:
                assert not ear.wrong, ear.wrong
                assert not ear.breaks, "a frame is missing, or came twice"
                assert ear.last > second.first + 100
            second.leave()
            nursery.cancel_scope.cancel()


async def test_who_waited_in_vain_is_let_go() -> None:
    async with serving(Delivery(linger_seconds=0.2), Limits()) as (server, port), trio.open_nursery() as nursery:
        with Swarm(port) as swarm:
            source = Numbers(port, "/numbers")
            await nursery.start(source.run)
            ears = await run(swarm.join, 3, Kind.READS, "/numbers")
            await run(swarm.listen, 0.2)
            listeners = list(server.registry.mounts["/numbers"].listeners.values())
            source.leave()
            await until(lambda: "/numbers" not in server.registry.mounts, 3.0)
            await run(swarm.listen, 0.2)
            assert all(ear.ended and ear.last == source.next - 1 for ear in ears)
            assert {getattr(listener, "gone", None) for listener in listeners} == {Goodbye.SOURCE_ENDED}
            nursery.cancel_scope.cancel()


async def test_a_source_of_another_format_lets_waiting_listeners_go() -> None:
    async with serving(Delivery(linger_seconds=20.0), Limits()) as (server, port), trio.open_nursery() as nursery:
        with Swarm(port) as swarm:
            source = Numbers(port, "/numbers")
            await nursery.start(source.run)
            ears = await run(swarm.join, 3, Kind.READS, "/numbers")
            await run(swarm.listen, 0.2)
            mount = server.registry.mounts["/numbers"]
            listeners = list(mount.listeners.values())
            source.leave()
            await until(lambda: mount.source is None, 2.0)
            await push(port, "/numbers", "audio/ogg", (FIXTURES / "opus.opus").read_bytes())
            await until(lambda: not mount.listeners, 2.0)
            await run(swarm.listen, 0.2)
            assert all(ear.ended and not ear.wrong for ear in ears)
            assert {getattr(listener, "gone", None) for listener in listeners} == {Goodbye.FORMAT_CHANGED}
            nursery.cancel_scope.cancel()

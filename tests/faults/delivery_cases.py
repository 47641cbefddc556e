"""Listeners that reset, stall, half-close, come in hundreds; what the server has left of them."""

from __future__ import annotations

import os
import random
import socket

import trio

from tests.e2e.program import until
from tests.faults.case import case
from tests.faults.ingest_cases import hear, unbroken
from tests.faults.site import CANARY, PATIENCE_SECONDS, Site
from tests.support import FRAME_BYTES, Client, head

MANY = 300


async def descriptors(site: Site, most: int, seconds: float) -> None:
    """Wait until no more are open."""

    async def probe() -> bool:
        return site.figure("fds") <= most

    await until(probe, seconds=seconds, what=f"no more than {most} descriptors; there are {site.figure('fds')}")


@case("DEL-01", alone=True)
async def listeners_that_reset(site: Site) -> None:
    before = site.figure("fds")
    dice = random.Random(3)
    for _ in range(3):
        clients = [await site.connect() for _ in range(MANY // 3)]
        for client in clients:
            await client.send(head("GET", CANARY)[: dice.choice((20, 1000))])
        await trio.sleep(0.5)
        for client in clients:
            client.reset()
    await descriptors(site, before + 5, PATIENCE_SECONDS)


@case("DEL-03")
async def a_hundred_and_fifty(site: Site) -> None:
    async def one() -> None:
        async with site.listen(CANARY) as ear:
            await ear.bytes(200 * FRAME_BYTES, seconds=PATIENCE_SECONDS)
            assert max(unbroken(bytes(ear.heard))) >= 100

    async with trio.open_nursery() as nursery:
        for _ in range(150):
            nursery.start_soon(one)


@case("DEL-07")
async def slow_readers(site: Site) -> None:
    async def read(client: Client) -> None:
        while True:
            await client.stream.receive_some(200)
            await trio.sleep(0.1)

    clients = [await narrow(site) for _ in range(20)]
    async with trio.open_nursery() as nursery:
        for client in clients:
            await client.send(head("GET", CANARY))
            nursery.start_soon(read, client)
        await site.canary.goes_on(200)
        nursery.cancel_scope.cancel()
    for client in clients:
        await client.close()


@case("RES-02")
async def listeners_that_never_read(site: Site) -> None:
    clients = [await narrow(site) for _ in range(20)]
    for client in clients:
        await client.send(head("GET", CANARY))
    await site.canary.goes_on(200)
    for client in clients:
        await client.close()


async def narrow(site: Site) -> Client:
    """A connection that takes little before it has to be read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    own = trio.socket.from_stdlib_socket(made)
    made.setblocking(False)
    await own.connect(("127.0.0.1", site.port))
    return Client(trio.SocketStream(own))


@case("DEL-09")
async def a_listener_that_finishes_its_side(site: Site) -> None:
    async with site.listen(CANARY) as ear:
        assert isinstance(ear.client.stream, trio.SocketStream)
        await ear.client.stream.send_eof()
        try:
            await hear(ear)
        except AssertionError:
            assert ear.ended, "neither kept nor ended"
            unbroken(bytes(ear.heard))


@case("RES-04", alone=True)
async def no_descriptors_left(site: Site) -> None:
    limits = (await trio.Path(f"/proc/{site.server.pid}/limits").read_text()).splitlines()
    before = next(int(line.split()[3]) for line in limits if line.startswith("Max open files"))
    clients: list[Client] = []

    async def knock() -> None:
        with trio.move_on_after(5):  # there may be no room in the queue either
            clients.append(await site.connect())

    try:
        await limit_descriptors(site, site.figure("fds") + 12)
        async with trio.open_nursery() as nursery:
            for _ in range(80):
                nursery.start_soon(knock)
        await site.canary.goes_on(100)
    finally:
        await limit_descriptors(site, before)
        for client in clients:
            client.reset()

    async def answers() -> bool:
        try:
            await site.status()
        except (AssertionError, OSError):
            return False
        return True

    await until(answers, seconds=PATIENCE_SECONDS, what="an answer, with descriptors again")


async def limit_descriptors(site: Site, most: int) -> None:
    """Have the kernel give the server no more than so many, as its own user, who may ask for that."""
    command = ["prlimit", f"--pid={site.server.pid}", f"--nofile={most}:"]
    owner = await trio.Path(f"/proc/{site.server.pid}").stat()
    if os.geteuid() == owner.st_uid:
        await trio.run_process(command)
    else:
        await trio.run_process(command, user=owner.st_uid, group=owner.st_gid, extra_groups=[])

"""A server that has not enough of something plays on, says so once, and is as before when there is enough again."""

from __future__ import annotations

import re
import resource
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.remote import USER, Remote
from tests.e2e.server import Castd
from tests.support import Client, Ear, frames, head

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e]


async def answers(clients: list[Client]) -> list[int]:
    """The status each is answered with; every one must be."""
    found: list[int] = []

    async def read(client: Client) -> None:
        reply = await client.reply()
        assert reply.status == 200 or reply.headers["retry-after"] == "5"
        found.append(reply.status)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(read, client)
    return found


async def knock(remote: Remote, count: int) -> list[Client]:
    """Connections that have asked for something, or were hung up on before."""
    clients = [await remote.connect() for _ in range(count)]
    for client in clients:
        try:
            await client.send(head("GET", "/healthz"))
        except trio.BrokenResourceError:
            pass  # it is answered all the same
    return clients


async def test_without_descriptors_everybody_is_answered(tmp_path: Path) -> None:
    """RES-04: in use and twelve more, then none at all, then as many as before."""
    async with Castd(tmp_path) as castd, Remote(castd) as remote:
        async with remote.canary():
            before = remote.limit(resource.RLIMIT_NOFILE, remote.descriptors + 12)
            clients = await knock(remote, 80)
            assert (await answers(clients)).count(503) >= 60
            for client in clients:
                await client.close()

            remote.limit(resource.RLIMIT_NOFILE, 20)
            clients = await knock(remote, 80)
            assert await answers(clients) == [503] * 80
            for client in clients:
                await client.close()
            cpu_seconds = remote.cpu_seconds
            await trio.sleep(1)
            assert remote.cpu_seconds - cpu_seconds < 0.6

            remote.restore(resource.RLIMIT_NOFILE, before)
            assert (await remote.ask(head("GET", "/healthz"))).status == 200
        log = castd.log()
    assert 1 <= log.count("cannot accept a connection: [Errno 24]") <= 2, log
    assert log.count("too few file descriptors are left") == 1, log


async def test_more_listeners_than_descriptors(tmp_path: Path) -> None:
    """They are turned away while there are enough for sources and operators."""
    async with Castd(tmp_path) as castd, Remote(castd) as remote:
        async with remote.canary():
            before = remote.limit(resource.RLIMIT_NOFILE, 120)
            ears, refused = [], 0
            for _ in range(100):
                ear = Ear(await remote.stream())
                await ear.send(head("GET", "/canary"))
                answer = await ear.until(b"\r\n\r\n")
                if b" 503 " in answer.partition(b"\r\n")[0]:
                    assert b"Retry-After: 30\r\n" in answer
                    await ear.close()
                    refused += 1
                else:
                    ears.append(ear)
            assert 20 <= refused <= 80
            status = await remote.ask(head("GET", "/api/v1/admin/limits", user=("admin", "adm1n-secret")))
            (told,) = (each for each in re.findall(r'\{"limit":"open files"[^}]*\}', status.text))
            assert '"value":120' in told
            async with await remote.encoder("/another") as encoder:
                await encoder.push(30)
            remote.restore(resource.RLIMIT_NOFILE, before)
            async with await remote.ear("/canary") as late:
                assert await late.exactly(417)
            for ear in ears:
                await ear.close()
        assert "no file descriptors are left for listeners" in castd.log()


async def test_without_memory_new_mounts_wait_and_the_others_play_on(tmp_path: Path) -> None:
    async with Castd(tmp_path, "[mounts.default]\nring_bytes = 16777216") as castd, Remote(castd) as remote:
        async with remote.canary():
            await trio.sleep(1)  # it has what it needs by now
            before = remote.limit(resource.RLIMIT_AS, remote.address_space + (1 << 20))
            statuses, encoders = [], []
            for number in range(12):
                encoder = Client(await remote.stream())
                encoders.append(encoder)
                await encoder.send(head("PUT", f"/m{number}", user=USER))
                reply = await encoder.until(b"\r\n\r\n")
                statuses.append(int(reply.split()[1]))
                if statuses[-1] == 503:
                    assert b"Retry-After: 5\r\n" in reply
            assert 503 in statuses
            assert set(statuses) <= {200, 503}
            remote.restore(resource.RLIMIT_AS, before)
            for encoder in encoders:
                await encoder.close()
            async with await remote.encoder("/later") as later:
                await later.push(30)
                async with await remote.ear("/later") as ear:
                    assert await ear.exactly(417) == frames(0, 1)
        assert "no memory or descriptor for its ring" in castd.log()

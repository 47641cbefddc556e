"""Faults of the process and its surroundings: stopped, ended, started again, its clock set."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from tests.e2e.peers.icecast import free_port
from tests.e2e.program import until
from tests.e2e.server import gone
from tests.faults.case import case
from tests.faults.ingest_cases import hear, unbroken
from tests.faults.site import CANARY, PATIENCE_SECONDS, SOURCE, Site
from tests.support import FRAME_BYTES, frames, head

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
"""Where Debian has it; None where it is not installed."""


@case("PRC-02", alone=True)
async def a_pause(site: Site) -> None:
    os.kill(site.server.pid, signal.SIGSTOP)
    try:
        await trio.sleep(3)
    finally:
        os.kill(site.server.pid, signal.SIGCONT)
    await site.canary.goes_on(200)


@case("PRC-03")
async def sigterm(site: Site) -> None:
    async with site.start("stopped") as server:
        other = site.at(server)
        async with other.live("/live"), other.listen("/live") as ear:
            await ear.bytes(40 * FRAME_BYTES)
            os.kill(server.pid, signal.SIGTERM)
            with trio.fail_after(PATIENCE_SECONDS), suppress(trio.BrokenResourceError):
                while data := await ear.client.stream.receive_some(65536):
                    ear.heard += data
            unbroken(bytes(ear.heard))
        await until(partial(gone, server.pid), seconds=PATIENCE_SECONDS, what="the end of the process")


@case("PRC-04")
async def a_new_start_on_the_same_port(site: Site) -> None:
    async with site.start("first") as server:
        other, port = site.at(server), site.at(server).port
        encoder = await other.source("/live")
        await encoder.push(60)
        await other.listed("/live")
    async with encoder, site.start("second", port=port) as server:
        again = site.at(server)
        said = await again.send(head("SOURCE", "/live", user=SOURCE) + frames(0, 40))
        assert said.status == 200, f"a source got {said.status}"


@case("PRC-06")
async def sigkill_under_load(site: Site) -> None:
    heard = 0

    async def come_back(port: int) -> None:
        nonlocal heard
        while True:
            try:
                async with await site.connect(port) as client:
                    await client.send(head("GET", "/live"))
                    if (await client.until(b"\r\n\r\n")).split()[1] == b"200" and await client.exactly(FRAME_BYTES):
                        heard += 1
                        await client.rest()
            except (OSError, AssertionError, trio.BrokenResourceError):
                pass
            await trio.sleep(0.1)

    async def all_back() -> bool:
        return heard >= 200

    port = free_port()
    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(come_back, port)
        for name in ("killed", "again"):
            heard = 0
            try:
                async with site.start(name, port=port) as server, site.at(server).live("/live", wait=False):
                    await until(all_back, seconds=PATIENCE_SECONDS, what="200 listeners served")
                    if name == "killed":
                        os.kill(server.pid, signal.SIGKILL)
            except AssertionError as error:
                if f"ended with {-signal.SIGKILL}" not in str(error):
                    raise
        nursery.cancel_scope.cancel()


async def clock(site: Site, name: str, offset: str) -> None:
    """A wall clock that jumps, with a source and a listener there; other clocks go on."""
    assert FAKETIME, "libfaketime is not installed"
    setting = site.folder / f"{name}.time"
    setting.write_text("+0s\n")
    setting.chmod(0o644)
    environment = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    async with site.start(name, environment=environment) as server:
        other = site.at(server)
        async with other.live("/live"), other.listen("/live") as ear:
            await hear(ear)
            setting.write_text(f"{offset}\n")
            await hear(ear, 300)
            assert await other.facts("/live"), "the source was dropped"


@case("CLK-01")
async def an_hour_forward(site: Site) -> None:
    await clock(site, "forward", "+3600s")


@case("CLK-02")
async def an_hour_back(site: Site) -> None:
    await clock(site, "back", "-3600s")


@case("CLK-03")
async def twenty_seconds_forward(site: Site) -> None:
    await clock(site, "slightly", "+20s")


@case("RES-08", alone=True)
async def what_is_left(site: Site) -> None:
    facts = await site.facts(CANARY)
    assert facts is not None

    async def one_listener() -> bool:
        facts = await site.facts(CANARY)
        return facts is not None and int(facts["listeners"]) == 1

    await until(one_listener, seconds=PATIENCE_SECONDS, what="one listener, which is the canary's")
    used = site.figure("cpu")
    await site.canary.goes_on(100)
    used = site.figure("cpu") - used
    assert used <= 0.4 * 100 * 26, f"{used} ms of CPU for a hundred frames and one listener"

"""What operators see: tables of thousands, how steadily a source sends, the end of the log, the process."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from castd.delivery.listener import Listener
from castd.log_tail import KEPT, LogTail
from castd.stats.samples import Samples
from tests.delivery.fakes import FakeSocket
from tests.support import ADMIN, FRAME_SECONDS, Bench, bench, frames, head

if TYPE_CHECKING:
    from trio.testing import MockClock

LISTENERS = "/api/v1/admin/listeners"


async def ask(castd: Bench, path: str) -> Any:
    reply = await castd.ask(head("GET", path, user=ADMIN))
    assert reply.status == 200, reply.text
    return json.loads(reply.body)


async def test_ten_thousand_listeners(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        mount = castd.mount("/live")
        for number in range(10_000):
            address, agent = f"10.0.{number // 250}.{number % 250}", f"Player {number % 7}"
            since = -float(number)
            listener = Listener(mount, FakeSocket(), position=0, address=address, agent=agent, connected=since)
            mount.join(listener)
        ids = sorted(mount.listeners)
        page = await ask(castd, f"{LISTENERS}?limit=100&offset=200")
        assert (page["total"], [each["id"] for each in page["listeners"]]) == (10_000, ids[200:300])
        oldest = await ask(castd, f"{LISTENERS}?sort=connected_seconds&descending=true&limit=3")
        assert [each["address"] for each in oldest["listeners"]] == ["10.0.39.249", "10.0.39.248", "10.0.39.247"]
        some = await ask(castd, f"{LISTENERS}?search=10.0.7.1&limit=1")
        assert some["total"] == 1 + 10 + 100, "10.0.7.1, 10.0.7.1x, 10.0.7.1xx"
        assert (await ask(castd, f"{LISTENERS}?search=PLAYER+3"))["total"] == len(range(3, 10_000, 7))
        assert (await ask(castd, LISTENERS))["total"] == 10_000
        for wrong in (
            "sort=password",
            "limit=0",
            "limit=10001",
            "offset=-1",
            "descending=maybe",
            f"search={'x' * 201}",
        ):
            assert (await castd.ask(head("GET", f"{LISTENERS}?{wrong}", user=ADMIN))).status == 400


async def test_others_go_on_while_the_table_is_made(autojump_clock: MockClock) -> None:
    """The list is made in slices: no listener's bytes wait for all of it."""
    async with bench() as castd, await castd.encoder("/live"):
        mount = castd.mount("/live")
        for number in range(3000):
            mount.join(Listener(mount, FakeSocket(), position=0, address=f"a{number}"))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await trio.lowlevel.checkpoint()
            async with castd.connect() as client:
                before = turns
                await client.send(head("GET", LISTENERS, user=ADMIN))
                await client.until(b"\r\n\r\n")
                assert turns - before > 5
            nursery.cancel_scope.cancel()


async def send(castd: Bench, encoder: Any, samples: Samples, seconds: int, pace: float = 1.0) -> None:
    """So many seconds of audio in so many seconds, or faster, looked at every second."""
    for _ in range(seconds):
        count = round(pace / FRAME_SECONDS)
        await encoder.push(count)
        await trio.testing.wait_all_tasks_blocked()
        samples.look()
        await trio.sleep(1)


async def test_a_steady_source(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live") as encoder:
        samples, mount = Samples(castd.server.registry), castd.mount("/live")
        await send(castd, encoder, samples, 65)
        health = samples.health(mount)
        assert health is not None
        assert len(health.bitrates) == 6
        assert all(each == pytest.approx(128_000, rel=0.02) for each in health.bitrates)
        assert health.gaps == 0
        assert abs(health.drift_seconds) < 0.5
        assert samples.listeners(mount) == [0, 0, 0]


async def test_gaps_and_drift(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live") as encoder:
        samples, mount = Samples(castd.server.registry), castd.mount("/live")
        await send(castd, encoder, samples, 5)
        for _ in range(2):
            for _ in range(4):
                samples.look()
                await trio.sleep(1)
            health = samples.health(mount)
            assert health is not None
            assert health.last_frame_seconds >= 4
            await send(castd, encoder, samples, 2)
        health = samples.health(mount)
        assert health is not None
        assert health.gaps == 2
        assert health.drift_seconds == pytest.approx(-8, abs=1)
        await send(castd, encoder, samples, 20, pace=2.0)
        health = samples.health(mount)
        assert health is not None
        assert health.drift_seconds == pytest.approx(12, abs=2)


async def test_the_process() -> None:
    async with bench() as castd:
        process = (await ask(castd, "/api/v1/admin/stats"))["process"]
        assert process["memory_bytes"] > 10_000_000
        assert 3 < process["descriptors"] < process["max_descriptors"]
        assert process["tasks"] > 1
        assert process["threads"] >= 1


def test_the_log_is_kept_in_memory_and_safe() -> None:
    tail = LogTail()
    log = logging.getLogger("castd.test")
    with tail:
        log.warning("one\n%s", "two\x1b[31m")
        tail.emit(logging.LogRecord("castd", logging.WARNING, "", 0, "%d", ("no number",), None))
        try:
            raise ValueError("why")
        except ValueError:
            log.exception("it failed")
        for number in range(KEPT):
            log.warning("%d", number)
    log.warning("not any more")
    assert len(tail.lines) == KEPT
    assert tail.lines[-1].id == KEPT + 3
    assert tail.lines[-1].message == str(KEPT - 1)
    with tail:
        log.error("x" * 5000)
        try:
            raise ValueError("why")
        except ValueError:
            log.exception("a\nb")
    assert len(tail.lines[-2].message) == 2000
    assert tail.lines[-1].message == "a\\nb: ValueError('why')"


async def test_the_end_of_the_log() -> None:
    async with bench() as castd:
        log = logging.getLogger("castd.test")
        with castd.server.log_tail:
            for level in (logging.INFO, logging.WARNING, logging.ERROR):
                log.log(level, "line %d", level)
            first = await ask(castd, "/api/v1/admin/log?level=warning")
            assert [each["message"] for each in first["lines"]] == ["line 30", "line 40"]
            log.error("new")
            then = await ask(castd, f"/api/v1/admin/log?after={first['last']}")
            assert [each["message"] for each in then["lines"]] == ["new"]
            assert (await ask(castd, f"/api/v1/admin/log?after={then['last']}"))["lines"] == []
            again = await ask(castd, "/api/v1/admin/log?after=999999&limit=1")
            assert [each["message"] for each in again["lines"]] == ["new"], "after a restart ids begin anew"


def test_frames_are_of_a_known_length() -> None:
    assert len(frames(0, 39)) * 8 / (39 * FRAME_SECONDS) == pytest.approx(128_000, rel=0.01)

"""Several sources at one mount: who may, who is heard, and what listeners get when that changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from castd.config import Dj
from tests.support import SOURCE, bench, configured, frames, head, until

if TYPE_CHECKING:
    from trio.testing import MockClock

FIXTURES = Path(__file__).parents[1] / "fixtures"
ANNA, BEN = ("anna", "anna's word"), ("ben", "ben's word")
DJS = (
    Dj(user=ANNA[0], password=ANNA[1], mounts=("/live", "/night-*"), priority=10),
    Dj(user=BEN[0], password=BEN[1], mounts=("/live",), priority=20),
)


@pytest.mark.parametrize(
    ("mount", "user", "status"),
    [
        ("/live", ANNA, 200),
        ("/night-2", ANNA, 200),
        ("/other", ANNA, 401),
        ("/night-2", BEN, 401),
        ("/live", (ANNA[0], BEN[1]), 401),
        ("/live", (ANNA[0], ""), 401),
        ("/other", SOURCE, 200),
    ],
)
async def test_who_may_feed_what(mount: str, user: tuple[str, str], status: int, autojump_clock: MockClock) -> None:
    async with bench(configured(djs=DJS)) as castd, castd.connect() as client:
        await client.send(head("PUT", mount, user=user))
        assert (await client.until(b"\r\n\r\n")).split()[1] == str(status).encode()


async def test_a_dj_steers_only_what_is_theirs(autojump_clock: MockClock) -> None:
    async with bench(configured(djs=DJS)) as castd, await castd.encoder("/live"), await castd.encoder("/other"):
        for mount, status in (("/live", 200), ("/other", 401)):
            request = head("GET", f"/admin/metadata?mode=updinfo&mount={mount}&song=x", user=ANNA)
            assert (await castd.ask(request)).status == status
        assert (await castd.ask(head("GET", "/admin/listclients?mount=/live", user=ANNA))).status == 401


async def test_the_highest_is_heard_and_the_next_goes_on_when_it_leaves(autojump_clock: MockClock) -> None:
    async with bench(configured(djs=DJS)) as castd, await castd.encoder("/live") as automation:
        await automation.push(10)
        async with await castd.encoder("/live", user=BEN) as ben, await castd.encoder("/live", user=ANNA) as anna:
            here = castd.mount("/live")
            assert here.source is here.sources[0]
            assert here.sources[0].user == "source", "who has sent nothing does not silence who has"
            ben.next, anna.next = 1000, 2000
            await ben.push(5)
            await anna.push(20)
            await until(lambda: [source.user for source in here.sources] == ["ben", "anna", "source"])
            await automation.push(20)
            await ben.close()
            await until(lambda: len(here.sources) == 2)
            await anna.push(20)
            await automation.push(20)
        await until(lambda: len(here.sources) == 1)
        await automation.push(20)
        await trio.testing.wait_all_tasks_blocked()
        numbers = numbers_in(castd.ring("/live"))
    assert numbers[:9] == list(range(9)), "automation, until ben came"
    ben_part = [n for n in numbers if 1000 <= n < 2000]
    anna_part = [n for n in numbers if n >= 2000]
    rest = [n for n in numbers[9:] if n < 1000]
    assert ben_part == list(range(1000, 1005))
    assert anna_part[0] >= 2019, "nothing of what she sent while she stood by"
    assert anna_part == list(range(anna_part[0], anna_part[0] + len(anna_part)))
    assert rest == list(range(rest[0], rest[0] + len(rest)))
    assert rest[0] >= 49
    assert numbers == [*numbers[:9], *ben_part, *anna_part, *rest]


def numbers_in(audio: bytes) -> list[int]:
    size = len(frames(0, 1))
    assert len(audio) % size == 0
    return [int(audio[at + 5 : at + 13]) for at in range(0, len(audio), size)]


async def test_of_equal_rank_there_is_one(autojump_clock: MockClock) -> None:
    async with (
        bench(configured(djs=DJS)) as castd,
        await castd.encoder("/live", user=ANNA) as anna,
        trio.open_nursery() as nursery,
    ):

        async def sing() -> None:
            while True:
                await anna.push(1)
                await trio.sleep(0.1)

        nursery.start_soon(sing)
        reply = await castd.ask(head("PUT", "/live", user=ANNA))
        assert (reply.status, "Mountpoint in use" in reply.text) == (403, True)
        nursery.cancel_scope.cancel()


async def test_an_ogg_source_that_stood_by_brings_its_headers(autojump_clock: MockClock) -> None:
    vorbis = (FIXTURES / "vorbis.ogg").read_bytes()
    pages = [b"OggS" + part for part in vorbis.split(b"OggS")[1:]]
    ogg = {"Content-Type": "audio/ogg"}
    async with bench(configured(djs=DJS)) as castd, await castd.encoder("/live", ogg) as automation:
        await automation.send(b"".join(pages[:8]))
        async with await castd.encoder("/live", ogg, user=ANNA) as anna:
            await anna.send(vorbis)
            here = castd.mount("/live")
            await until(lambda: here.ring.head > len(vorbis) // 2)
            await automation.send(b"".join(pages[8:10]))
            await trio.testing.wait_all_tasks_blocked()
        await until(lambda: len(here.sources) == 1)
        await automation.send(b"".join(pages[10:]))
        await trio.testing.wait_all_tasks_blocked()
        links = castd.ring("/live").split(b"".join(pages[:1]))
        assert len(links) == 4, "a decoder in the middle of anna's stream gets a new link, with headers"
        headers = here.timeline.head_at(here.ring.head)
        assert headers is not None
        resumed = pages[0] + links[3]
        assert resumed.startswith(headers.data)
        assert resumed[len(headers.data) :] in b"".join(pages[10:])
        assert len(resumed) > len(headers.data)


async def test_another_format_lets_listeners_go_with_a_reason(autojump_clock: MockClock) -> None:
    async with bench(configured(djs=DJS)) as castd, await castd.encoder("/live") as automation:
        await automation.push(5)
        async with await castd.encoder("/live", {"Content-Type": "audio/ogg"}, user=ANNA) as anna:
            await anna.send((FIXTURES / "vorbis.ogg").read_bytes())
            await until(lambda: castd.mount("/live").format == "ogg")
        await until(lambda: castd.mount("/live").format == "mpeg")
        assert castd.mount("/live").description is not None
        assert castd.mount("/live").description.content_type == "audio/mpeg"  # type: ignore[union-attr]
        await automation.push(10)


async def test_a_stream_key_lets_an_encoder_in(autojump_clock: MockClock) -> None:
    config = configured(mounts={"/live": {"stream_key": "abc-key"}})
    async with bench(config) as castd:
        for target, status in (
            ("/live?key=abc-key", 200),
            ("/live?key=wrong", 401),
            ("/live?key=", 401),
            ("/other?key=abc-key", 401),
            ("/other?key=", 401),
        ):
            async with castd.connect() as client:
                await client.send(head("PUT", target))
                assert (await client.until(b"\r\n\r\n")).split()[1] == str(status).encode(), target
                await trio.sleep(3)
        request = head("GET", "/admin/metadata?mode=updinfo&mount=/live&song=x&key=abc-key")
        assert (await castd.ask(request)).status == 401, "it feeds, and steers nothing"


def batch(number: int, data: bytes, start: int | None, key: str = "abc-key", mount: str = "/live") -> bytes:
    fields = {"Content-Length": str(len(data)), "Connection": "Keep-Alive"}
    if start is not None:
        fields["Content-Range"] = f"bytes {start}-{start + len(data) - 1}/*"
    return head("PUT", f"{mount}?key={key}", fields) + data


@pytest.mark.parametrize("one_connection", [True, False])
async def test_batches_are_one_source(one_connection: bool, autojump_clock: MockClock) -> None:
    config = configured(mounts={"/live": {"stream_key": "abc-key"}})
    audio, at = frames(0, 20), 0
    async with bench(config) as castd:
        client = castd.connect()
        for number, size in enumerate((1000, 3000, 200, 4140)):
            await client.send(batch(number, audio[at : at + size], at if number else None))
            assert (await client.reply()).status == 200
            at += size
            if not one_connection:
                await client.close()
                client = castd.connect()
        await client.send(batch(4, audio[at - 500 :][:900], at - 500))  # some of it comes again
        assert (await client.reply()).status == 200
        assert castd.server.registry.totals.sources == 1
        await client.close()
        await until(lambda: castd.mount("/live").source is None)  # when nothing comes any more
        assert castd.ring("/live") == audio[: len(castd.ring("/live"))]
        assert len(castd.ring("/live")) >= len(frames(0, 19))
        assert not castd.failures


async def test_a_new_run_of_the_encoder_begins_anew(autojump_clock: MockClock) -> None:
    config = configured(mounts={"/live": {"stream_key": "abc-key"}})
    async with bench(config) as castd:
        for first in (0, 100):
            for number, start in ((0, None), (1, 4170)):
                async with castd.connect() as client:
                    await client.send(batch(number, frames(first + 10 * number, first + 10 * number + 10), start))
                    assert (await client.reply()).status == 200
            await trio.sleep(3)
        assert castd.server.registry.totals.sources == 2
        assert castd.ring("/live") == frames(0, 20) + frames(100, 119)


async def test_an_encoder_goes_on_that_nothing_is_known_of(autojump_clock: MockClock) -> None:
    config = configured(mounts={"/live": {"stream_key": "abc-key"}})
    async with bench(config) as castd, castd.connect() as client:
        await client.send(batch(0, frames(0, 10), 123_456))
        assert (await client.reply()).status == 200
        assert castd.ring("/live") == frames(0, 9)


@pytest.mark.parametrize(
    "request_bytes",
    [
        batch(1, b"x", 4170, key="wrong"),
        batch(1, b"x", 4170, mount="/other"),
        head("GET", "/live"),
        b"\0\0\0\0",
    ],
)
async def test_another_request_on_its_connection_is_not_answered(
    request_bytes: bytes, autojump_clock: MockClock
) -> None:
    config = configured(mounts={"/live": {"stream_key": "abc-key"}})
    async with bench(config) as castd, castd.connect() as client:
        await client.send(batch(0, frames(0, 10), None))
        assert (await client.reply()).status == 200
        await client.send(request_bytes)
        assert await client.rest() == b""
        assert castd.ring("/live") == frames(0, 10)
        assert not castd.failures

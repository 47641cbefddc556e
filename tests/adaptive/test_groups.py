"""Groups as clients ask for them: one session over several mounts, aligned segments, who may have what."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from castd.access.hashes import hashed
from castd.adaptive.session import Session, SessionState
from castd.adaptive.sessions import IDLE_SECONDS
from castd.config import Group, Limits
from castd.mount.party import Goodbye
from castd.segments.segmenters import AWAY_SECONDS
from tests import hls, mpd
from tests.adaptive.test_hls import aac
from tests.support import ADMIN, Bench, Reply, basic, bench, configured, frames, head

FIRST, MANIFEST = "/radio/hls/index.m3u8", "/radio/dash/manifest.mpd"

AAC = {"Content-Type": "audio/aac"}

BOTH = {"/radio": Group(mounts=("/high", "/low"))}


@asynccontextmanager
async def station(
    mounts: tuple[str, ...] = ("/high", "/low"),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    groups: Mapping[str, Group] = BOTH,
    **more: Any,
) -> AsyncIterator[Bench]:
    """castd with sources that have sent half a minute of AAC."""
    async with bench(configured(mounts=settings or {}, groups=groups, **more)) as castd:
        castd.nursery.start_soon(castd.server.segmenters.run)
        for mount in mounts:
            await feed(castd, mount)
        yield castd


async def feed(castd: Bench, mount: str, content: bytes = b"", fields: Mapping[str, str] = AAC) -> None:
    encoder = await castd.encoder(mount, fields)
    await encoder.send(content or aac())
    await wait_all_tasks_blocked()


async def get(castd: Bench, path: str, fields: Mapping[str, str] | None = None, method: str = "GET") -> Reply:
    return await castd.ask(head(method, path, fields))


async def variants(castd: Bench, fields: Mapping[str, str] | None = None) -> list[str]:
    """The media playlists of the group."""
    reply = await get(castd, FIRST, fields)
    assert reply.status == 200, reply.text
    hls.check_multivariant(reply.body)
    return [urljoin(FIRST, line) for line in reply.text.splitlines() if line and not line.startswith("#")]


def heard(castd: Bench) -> dict[str, int]:
    return {mount.name: len(mount.listeners) for mount in castd.server.registry.mounts.values()}


def session(castd: Bench) -> Session:
    [found] = [each for mount in castd.server.registry.mounts.values() for each in mount.listeners.values()]
    assert isinstance(found, Session)
    return found


async def test_one_listener_is_one_session(autojump_clock: MockClock) -> None:
    async with station() as castd:
        high, low = await variants(castd)
        assert (high.split("?")[0], low.split("?")[0]) == ("/high/hls/audio.m3u8", "/low/hls/audio.m3u8")
        assert heard(castd) == {"/high": 0, "/low": 0}, "looking is not listening"
        number = 0
        for url, there in ((high, "/high"), (low, "/low"), (low, "/low"), (high, "/high")):
            assert (await get(castd, url)).status == 200
            assert heard(castd) == {"/high": 0, "/low": 0} | {there: 1}
            number = number or session(castd).id
            assert session(castd).id == number, "it moves"
        told = [(each.mount, each.reason) for each in castd.server.records.recent if each.kind == "listener"]
        assert told == [("/high", "moved"), ("/low", "moved")]
        assert castd.server.registry.totals.listeners == 1
        clients = (await castd.ask(head("GET", "/admin/listclients?mount=/high", user=ADMIN))).text
        assert len(re.findall(r"<ID>\d+</ID>", clients)) == 1
        assert (await castd.ask(head("DELETE", f"/api/v1/admin/listeners/{number}", user=ADMIN))).status < 300
        for url in (high, low):
            reply = await get(castd, url)
            assert (reply.status, "kicked" in reply.text) == (403, True), "from all of the group"
        assert (await get(castd, (await variants(castd))[0])).status == 200


async def test_one_who_fell_asleep_comes_back_anywhere(autojump_clock: MockClock) -> None:
    async with station() as castd:
        high, low = await variants(castd)
        await get(castd, high)
        await trio.sleep(IDLE_SECONDS + 1)
        castd.server.sessions.tidy()
        assert heard(castd) == {"/high": 0, "/low": 0}
        for url in (low, high):
            assert (await get(castd, url)).status == 200
        assert heard(castd) == {"/high": 1, "/low": 0}


async def test_limits_hold_for_who_moves(autojump_clock: MockClock) -> None:
    limits = Limits(max_listeners=2)
    async with station(settings={"/low": {"max_listeners": 1}}, limits=limits) as castd:
        one, other = await variants(castd), await variants(castd)
        for url in (one[0], one[1], other[0]):
            assert (await get(castd, url)).status == 200
        assert heard(castd) == {"/high": 1, "/low": 1}
        assert (await get(castd, other[1])).status == 503, "it is full"
        assert (await get(castd, other[0])).status == 200
        assert (await get(castd, one[0])).status == 200, "it counts itself against no limit"
        assert (await get(castd, FIRST)).status == 503
        assert heard(castd) == {"/high": 2, "/low": 0}


async def test_what_is_left_out(autojump_clock: MockClock) -> None:
    groups = {"/radio": Group(mounts=("/mp3", "/high", "/low", "/away", "/off"))}
    async with station(groups=groups, settings={"/off": {"hls": False}}) as castd:
        for path in ("/off", "/mp3"):
            await feed(castd, path, frames(0, 1200), {})
        assert [each.split("/")[1] for each in await variants(castd)] == ["high", "low"]
        for url in ("/radio", "/radio.m3u"):
            assert (await get(castd, url, method="HEAD")).status == 200
        redirected = await get(castd, "/radio/hls/audio.m3u8?x=1")
        assert (redirected.status, redirected.headers["location"]) == (302, "/radio/hls/index.m3u8?x=1")


async def test_nothing_there_says_why(autojump_clock: MockClock) -> None:
    async with bench(configured(groups=BOTH)) as castd:
        castd.nursery.start_soon(castd.server.segmenters.run)
        for url in (FIRST, MANIFEST):
            reply = await get(castd, url)
            assert reply.status == 404
            assert "nothing of /radio is there now: /high: there is no source on /high; /low: there is" in reply.text
            assert reply.headers["access-control-allow-origin"] == "*"
        plain = await get(castd, "/radio")
        assert (plain.status, "no mount of /radio is on the air: /high, /low" in plain.text) == (404, True)
        assert (await get(castd, "/radio/hls/0123456789abcdef-1.ts")).status == 404
        await feed(castd, "/low", frames(0, 1200), {})
        assert len(await variants(castd)) == 1
        reply = await get(castd, MANIFEST)
        assert (reply.status, "MP3" in reply.text) == (404, True)


async def test_who_may_listen_is_asked_of_each_mount(autojump_clock: MockClock, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("ann:$2b$04$nothing\n")
    settings: dict[str, dict[str, Any]] = {
        "/high": {"users_file": str(users)},
        "/low": {"allow_listeners": ("192.0.2.0/24",)},
    }
    async with station(settings=settings) as castd:
        async with castd.connect("198.51.100.1") as client:
            reply = await client.ask(head("GET", FIRST))
        assert (reply.status, "www-authenticate" in reply.headers) == (401, True)
        async with castd.connect("192.0.2.7") as client:
            text = (await client.ask(head("GET", FIRST))).text
        assert "/low/" in text
        assert "/high/" not in text
        token = text.partition("session=")[2].split()[0]
        assert (await get(castd, f"/high/hls/audio.m3u8?session={token}")).status == 401, "the token is not for it"
        assert (await get(castd, "/radio", method="HEAD")).status == 401, "the first of its mounts"


async def test_an_address_and_an_agent_open_no_door(autojump_clock: MockClock, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{hashed('right')}\n")
    async with station(settings={"/high": {"users_file": str(users)}}) as castd:
        ann = {"Authorization": basic("ann", "right")}
        for _ in range(3):
            assert "/high/" in (await get(castd, MANIFEST, ann)).text
        assert sum(heard(castd).values()) == 1
        for query in ("", "?session=x", "?session=0123456789abcdef"):
            another = await get(castd, MANIFEST + query)
            assert (another.status, "/low/" in another.text, "/high/" in another.text) == (200, True, False), query
        first = await get(castd, MANIFEST, {"User-Agent": "other"} | ann)
        [location] = re.findall(r"<Location>(.*)</Location>", first.text)
        assert "/high/" in (await get(castd, location.removeprefix("http://radio.test"))).text, "its token does"


async def test_users_have_as_many_sessions_as_they_may_at_each_mount(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Also of a group whose first mount is everybody's."""
    users = tmp_path / "users"
    users.write_text(f"ann:{hashed('right')}\n")
    async with station(settings={"/low": {"users_file": str(users), "max_sessions_per_user": 1}}) as castd:
        ann = {"Authorization": basic("ann", "right")}
        for _ in range(2):
            high, low = await variants(castd, ann)
            for url in (high, low):
                assert (await get(castd, url)).status == 200
        assert heard(castd) == {"/high": 0, "/low": 1}
        assert session(castd).user == "ann"


async def test_a_mount_that_goes_away(autojump_clock: MockClock) -> None:
    async with station() as castd:
        high, low = await variants(castd)
        assert (await get(castd, high)).status == 200
        mount = castd.mount("/high")
        [source] = mount.sources
        source.end(Goodbye.KICKED)
        await trio.sleep(AWAY_SECONDS + 1)
        castd.server.segmenters.tidy()
        reply = await get(castd, high)
        assert (reply.status, "others of /radio go on" in reply.text) == (404, True)
        assert (await get(castd, low)).status == 200
        assert heard(castd)["/low"] == 1
        alone = await get(castd, "/high/hls/audio.m3u8", {"User-Agent": "another"})
        assert alone.status == 200, "who listens to it alone waits for its source"
        [source] = castd.mount("/low").sources
        source.end(Goodbye.KICKED)
        await trio.sleep(AWAY_SECONDS + 1)
        for url in (high, low, FIRST, MANIFEST):
            assert (await get(castd, url)).status == 200, "all of them may return"


async def test_dash(autojump_clock: MockClock) -> None:
    async with station() as castd:
        first = await get(castd, MANIFEST)
        assert first.status == 200, first.text
        manifest = mpd.check_group(first.body)
        assert [len(each) for each in manifest.values()] == [2]
        assert b'segmentAlignment="true"' in first.body
        [location] = re.findall(r"<Location>(.*)</Location>", first.text)
        url = location.removeprefix("http://radio.test")
        assert heard(castd) == {"/high": 0, "/low": 0}
        for _ in range(2):
            assert (await get(castd, url)).status == 200
        assert sum(heard(castd).values()) == 1
        for mount in ("/low", "/high"):
            segmenter = castd.server.segmenters.of(castd.mount(mount))
            segment = segmenter.listed[-1]
            name = f"{segmenter.session}-{segment.period.number}t{segment.start}.m4s"
            found = await get(castd, f"{mount}/dash/{name}")
            assert found.body == segment.data
            assert heard(castd)[mount] == 1, "it listens to what it asks for"
        assert (await get(castd, "/radio/dash/time")).status == 200
        again = await get(castd, MANIFEST)
        assert sum(heard(castd).values()) == 1
        assert again.status == 200


async def test_a_player_of_dash_that_keeps_no_token(autojump_clock: MockClock) -> None:
    async with station() as castd:
        for _ in range(3):
            assert (await get(castd, MANIFEST, {"User-Agent": "Lavf"})).status == 200
        assert sum(heard(castd).values()) == 1


async def test_another_process_knows_the_group(autojump_clock: MockClock) -> None:
    async with station() as castd:
        high, low = await variants(castd)
        await get(castd, high)
        sessions, mount = castd.server.sessions, castd.mount("/high")
        [state] = sessions.states(mount)
        old = msgspec.json.encode(state)
        [listener] = mount.listeners.values()
        sessions.part_with()
        del mount.listeners[listener.id]
        sessions.go_on_with(msgspec.json.decode(old, type=SessionState), mount)
        assert (await get(castd, low)).status == 200
        assert heard(castd) == {"/high": 0, "/low": 1}


async def test_a_reload(autojump_clock: MockClock) -> None:
    async with station() as castd:
        high, low = await variants(castd)
        await get(castd, high)
        current = castd.server.current
        for groups in ({}, {"/other": Group(mounts=("/low", "/high"))}, BOTH):
            config = replace(current.config, groups=groups)
            commit = castd.server.segmenters.prepare(config)
            current.config = config
            commit()
            assert (await get(castd, FIRST)).status == (200 if groups is BOTH else 404)
            for url in (high, low):
                assert (await get(castd, url)).status == 200, "who listens goes on"


async def test_a_reload_that_takes_a_mount_from_a_group(autojump_clock: MockClock) -> None:
    async with station() as castd:
        [location] = re.findall(r"<Location>(.*)</Location>", (await get(castd, MANIFEST)).text)
        url = location.removeprefix("http://radio.test")
        assert "/high/" in (await get(castd, url)).text
        current = castd.server.current
        config = replace(current.config, groups={"/radio": Group(mounts=("/low", "/more"))})
        commit = castd.server.segmenters.prepare(config)
        current.config = config
        commit()
        reply = await get(castd, url)
        assert (reply.status, "/low/" in reply.text, "/high/" in reply.text) == (200, True, False)


async def test_a_cache(autojump_clock: MockClock) -> None:
    async with station() as castd:
        for url in (FIRST, MANIFEST):
            reply = await get(castd, f"{url}?shared")
            assert (reply.status, reply.headers["cache-control"]) == (200, "max-age=2")
            assert "session=" not in reply.text


async def test_a_token_from_before_a_restart_is_one_listener(autojump_clock: MockClock) -> None:
    async with station() as castd:
        for _ in range(3):
            assert (await get(castd, f"{MANIFEST}?session=from-before-the-start")).status == 200
        assert sum(heard(castd).values()) == 1
        assert (await get(castd, f"{MANIFEST}?session=another-from-before-it")).status == 200
        assert sum(heard(castd).values()) == 2
        [location] = re.findall(r"<Location>(.*)</Location>", (await get(castd, MANIFEST, {"User-Agent": "x"})).text)
        url = location.removeprefix("http://radio.test")
        await get(castd, url)
        await trio.sleep(IDLE_SECONDS + 1)
        castd.server.sessions.tidy()
        assert sum(heard(castd).values()) == 0
        for _ in range(3):
            assert (await get(castd, url)).status == 200
        assert sum(heard(castd).values()) == 1, "nor is one that fell asleep more than one"


async def test_nobody_waits_twice_for_a_mount_that_sends_nothing(autojump_clock: MockClock) -> None:
    groups = {"/radio": Group(mounts=("/mute", "/high", "/low"))}
    async with station(groups=groups) as castd:
        await castd.encoder("/mute", AAC)
        took = []
        for _ in range(2):
            began = trio.current_time()
            assert [each.split("/")[1] for each in await variants(castd)] == ["high", "low"]
            took.append(trio.current_time() - began)
        assert took[0] > 5
        assert took[1] < 1

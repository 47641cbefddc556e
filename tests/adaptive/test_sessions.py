"""Tokens: those that were made here, those that were not, and how many listeners an address may be."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from castd.access.links import signed
from castd.adaptive.session import Session, SessionState
from castd.adaptive.sessions import REMEMBERED_SECONDS
from castd.config import Limits
from castd.errors import ClientError
from castd.http.messages import Request
from castd.http.routes import Grant
from castd.mount.party import Goodbye
from tests.adaptive.test_hls import FIRST, MEDIA, get, heard, media_url, station
from tests.support import ADMIN, Bench, Reply, frames, head

if TYPE_CHECKING:
    from trio.testing import MockClock

CORS = "access-control-allow-origin"


def invented(number: int) -> str:
    """A media playlist with a token that nobody made."""
    return f"{MEDIA}?session=invented-by-me-{number:04d}"


def session(castd: Bench) -> Session:
    [found] = castd.mount("/live").listeners.values()
    assert isinstance(found, Session)
    return found


async def get_from(castd: Bench, address: str, path: str) -> Reply:
    async with castd.connect(address) as client:
        return await client.ask(head("GET", path))


async def test_one_address_does_not_fill_the_server(autojump_clock: MockClock) -> None:
    async with station(limits=Limits(max_listeners=20, max_sessions_per_address=8)) as castd:
        for number in range(8):
            assert (await get(castd, invented(number))).status == 200
        for number in range(8, 30):
            reply = await get(castd, invented(number))
            assert (reply.status, reply.headers["retry-after"], reply.headers[CORS]) == (429, "5", "*")
            assert "too many listeners by HLS or DASH from this address" in reply.text
        assert (await get(castd, await media_url(castd))).status == 429, "nor by tokens that were made for it"
        assert (await get(castd, invented(3))).status == 200, "those that are here go on"
        assert heard(castd) == 8
        assert (await get_from(castd, "192.0.2.2", MEDIA)).status == 200
        assert heard(castd) == 9
        limits = await castd.ask(head("GET", "/api/v1/admin/limits", user=ADMIN))
        used = {"limit": "limits.max_sessions_per_address", "mount": "", "value": 8, "used": 8}
        assert used in json.loads(limits.body)["limits"]


class Told:
    """A service that wants to know when somebody leaves."""

    ended = 0

    def end(self) -> None:
        self.ended += 1

    def state(self) -> Any:
        return None


async def test_whom_there_is_no_room_for_was_not_let_in(autojump_clock: MockClock) -> None:
    async with station(limits=Limits(max_sessions_per_address=1)) as castd:
        sessions, mount = castd.server.sessions, castd.mount("/live")
        request = Request("GET", MEDIA, {}, {"user-agent": "one"}, "1.1", "192.0.2.1", "radio.test")
        first, told = Grant(stay=Told()), Told()
        sessions.attend(request, mount, first, "hls")
        first.close()
        assert first.kept
        second = Grant(stay=told)
        with pytest.raises(ClientError, match="too many listeners"):
            sessions.attend(replace(request, headers={"user-agent": "two"}), mount, second, "hls")
        second.close()
        assert told.ended == 1


async def test_what_is_no_token_is_none(autojump_clock: MockClock) -> None:
    async with station() as castd:
        for text in ("x", "", "%00", "a" * 200, "0123456789abcde%21"):
            for _ in range(3):
                assert (await get(castd, f"{MEDIA}?session={text}")).status == 200
        assert heard(castd) == 1, "one player, by its address and name"
        assert session(castd).token == ""


async def test_an_invented_token_lets_nobody_in(autojump_clock: MockClock) -> None:
    """Who has somebody else follow a link with a token of theirs does not get in by it afterwards."""
    async with station(settings={"link_key": "a long word"}) as castd:
        _, _, query = signed("a long word", "/live", 1 << 40, "anna").partition("?")
        assert (await get(castd, f"{invented(1)}&{query}")).status == 200
        assert session(castd).user == "anna"
        assert (await get(castd, invented(1))).status == 403
        assert (await get_from(castd, "192.0.2.66", invented(1))).status == 403


async def test_a_token_of_another_mount_lets_nobody_in(autojump_clock: MockClock) -> None:
    async with station(settings={"link_key": "a long word"}) as castd:
        encoder = await castd.encoder("/open")
        await encoder.send(frames(0, 1200))
        await wait_all_tasks_blocked()
        mine = (await get_from(castd, "192.0.2.66", "/open/hls/index.m3u8")).text.splitlines()[-1]
        assert (await get_from(castd, "192.0.2.66", f"/open/hls/{mine}")).status == 200
        _, _, query = signed("a long word", "/live", 1 << 40, "anna").partition("?")
        assert (await get(castd, f"/live/hls/{mine}&{query}")).status == 200
        assert (await get_from(castd, "192.0.2.66", f"/live/hls/{mine}")).status == 403
        assert (await get_from(castd, "192.0.2.66", f"/open/hls/{mine}")).status == 200
        assert [len(castd.mount(name).listeners) for name in ("/live", "/open")] == [1, 1]


async def test_after_a_restart_players_go_on_with_the_tokens_they_have(autojump_clock: MockClock) -> None:
    async with station() as before:
        urls = [await media_url(before) for _ in range(3)]
    async with station() as castd:
        for _ in range(3):
            for url in urls:
                assert (await get(castd, url)).status == 200
        assert heard(castd) == 3, "behind one address there may be several who call themselves the same"
        castd.server.sessions.end_all(Goodbye.KICKED)
        assert (await get(castd, urls[0])).status == 403
        assert (await get(castd, await media_url(castd))).status == 200
        assert (await get(castd, urls[0])).status == 403


async def test_one_without_a_token_that_was_kicked_begins_anew(autojump_clock: MockClock) -> None:
    async with station() as castd:
        assert (await get(castd, MEDIA)).status == 200
        session(castd).end(Goodbye.KICKED, "admin")
        reply = await get(castd, MEDIA)
        assert (reply.status, reply.headers[CORS]) == (403, "*")
        assert "kicked" in reply.text
        assert (await get_from(castd, "192.0.2.2", MEDIA)).status == 200
        assert (await get(castd, FIRST)).status == 200, "as anybody who connects again"
        assert (await get(castd, MEDIA)).status == 200


async def test_one_without_a_token_goes_on_when_the_format_changes(autojump_clock: MockClock) -> None:
    async with station() as castd:
        for url in (MEDIA, invented(1)):
            assert (await get(castd, url)).status == 200
        castd.server.sessions.end_all(Goodbye.FORMAT_CHANGED)
        for url in (MEDIA, invented(1)):
            assert (await get(castd, url)).status == 200


async def test_kicked_ones_are_not_remembered_for_ever(autojump_clock: MockClock) -> None:
    async with station() as castd:
        assert (await get(castd, MEDIA)).status == 200
        session(castd).end(Goodbye.KICKED, "admin")
        await trio.sleep(REMEMBERED_SECONDS + 1)
        castd.server.sessions.tidy()
        assert (await get(castd, MEDIA)).status == 200


async def test_a_claim_goes_on_in_another_process(autojump_clock: MockClock) -> None:
    async with station() as castd:
        assert (await get(castd, invented(1))).status == 200
        mount, sessions = castd.mount("/live"), castd.server.sessions
        [told] = [
            msgspec.msgpack.decode(msgspec.msgpack.encode(each), type=SessionState) for each in sessions.states(mount)
        ]
        mount.listeners.clear()
        sessions.part_with()
        sessions.go_on_with(told, mount)
        assert (await get(castd, invented(1))).status == 200
        assert heard(castd) == 1
        assert (await get(castd, invented(2))).status == 200
        assert heard(castd) == 2

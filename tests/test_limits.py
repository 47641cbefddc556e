"""Each limit is reached, told in words, and recovered from; bans by API."""

from __future__ import annotations

import html
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from castd.config import Bans, Limits, Proxies, Server
from tests.support import ADMIN, SOURCE, Reply, Serving, canary, configured, head, serving, until


async def live(castd: Serving, mount: str = "/live", count: int = 20) -> None:
    encoder = await castd.encoder(mount)
    await encoder.push(count)
    await until(lambda: castd.mount(mount).ring.head > 0)


async def api(castd: Serving, method: str, path: str, body: Any = None) -> Reply:
    data = json.dumps(body).encode() if body is not None else b""
    fields = {"Content-Length": str(len(data))}
    return await castd.ask(head(method, f"/api/v1/admin/{path}", fields, user=ADMIN) + data)


async def used(castd: Serving, limit: str, mount: str = "") -> tuple[float, float]:
    rows = json.loads((await api(castd, "GET", "limits")).text)["limits"]
    (row,) = [each for each in rows if (each["limit"], each["mount"]) == (limit, mount)]
    return row["used"], row["value"]


# Listeners


@pytest.mark.parametrize(
    ("limits", "settings", "words", "key"),
    [
        (Limits(), {"max_listeners": 2}, "max listeners reached", "mounts.max_listeners"),
        (Limits(max_listeners=2), {}, "the server's listener limit is reached", "limits.max_listeners"),
        # 128 kbit/s each
        (Limits(), {"max_bandwidth_mbit": 0.3}, "the mount's bandwidth is used up", "mounts.max_bandwidth_mbit"),
        (Limits(max_bandwidth_mbit=0.3), {}, "the server's bandwidth is used up", "limits.max_bandwidth_mbit"),
    ],
)
async def test_a_full_house(limits: Limits, settings: dict[str, Any], words: str, key: str) -> None:
    async with serving(configured(limits=limits, mounts={"/live": settings})) as castd:
        await live(castd, count=60)
        await until(lambda: castd.mount("/live").info is not None)
        ears = [await castd.ear("/live") for _ in range(2)]
        reply = await castd.ask(head("GET", "/live"))
        assert (reply.status, reply.headers["retry-after"]) == (503, "30")
        assert words in html.unescape(reply.text)
        reached, most = await used(castd, key, "/live" if key.startswith("mounts.") else "")
        assert reached == (2 if most == 2 else pytest.approx(0.256))
        await ears[0].close()
        await until(lambda: len(castd.mount("/live").listeners) == 1)
        await castd.ear("/live")


async def test_who_finds_no_room_is_sent_elsewhere() -> None:
    mounts: dict[str, dict[str, Any]] = {
        "/live ü": {"max_listeners": 1},
        "default": {"full_redirect": "https://relay.test{mount}?from=castd"},
    }
    async with serving(configured(mounts=mounts)) as castd:
        encoder = await castd.encoder("/live%20%C3%BC")
        await encoder.push(20)
        await until(lambda: castd.mount("/live ü").ring.head > 0)
        await castd.ear("/live%20%C3%BC")
        reply = await castd.ask(head("GET", "/live%20%C3%BC"))
        assert reply.status == 302
        assert reply.headers["location"] == "https://relay.test/live%20%C3%BC?from=castd"


# Connections


async def test_new_connections_of_one_address() -> None:
    async with serving(configured(limits=Limits(max_new_connections_per_minute=3))) as castd:
        for _ in range(3):
            assert (await castd.ask(head("GET", "/healthz"))).status == 200
        async with await castd.connect() as client:
            reply = await client.reply()
        assert reply.status == 429
        assert 15 <= int(reply.headers["retry-after"]) <= 20
        assert "too many new connections" in reply.text
        castd.server.admission.arrivals._good_at.clear()  # a minute passes
        assert (await castd.ask(head("GET", "/healthz"))).status == 200


async def test_waiting_for_a_second_request_is_waiting_too() -> None:
    async with serving(configured(limits=Limits(max_unread_heads=5))) as castd:
        kept = [await castd.connect() for _ in range(5)]
        for client in kept:
            assert (await client.ask(head("GET", "/healthz"))).status == 200
        await until(lambda: len(castd.server.admission.waiting) == 5)
        async with await castd.connect() as client:
            assert (await client.reply()).status == 503
        assert (await kept[0].ask(head("GET", "/healthz"))).status == 200
        await kept[1].close()
        await until(lambda: len(castd.server.admission.waiting) == 4)
        assert (await castd.ask(head("GET", "/healthz"))).status == 200


async def test_idle_connections_of_one_address_keep_nobody_out() -> None:
    proxies = Proxies(trusted=("127.0.0.9",))
    config = replace(configured(limits=Limits(max_unread_heads=50)), proxies=proxies)
    async with serving(config) as castd, canary(castd):
        flood = [await castd.connect() for _ in range(60)]
        await until(lambda: len(castd.server.admission.waiting) == 50)
        stream = await trio.open_tcp_stream("127.0.0.1", castd.port, local_address="127.0.0.2")
        castd.streams.append(stream)
        await stream.send_all(head("GET", "/healthz"))
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        assert len(flood) == 60


# Bans


async def test_a_ban_by_api_from_beginning_to_end(tmp_path: Path) -> None:
    config = replace(configured(), server=Server(state_dir=str(tmp_path)), proxies=Proxies(trusted=("127.0.0.1",)))
    rude = {"X-Forwarded-For": "192.0.2.7"}
    async with serving(config) as castd:
        await live(castd)
        ear = await castd.ear("/live", rude)
        other = await castd.ear("/live", {"X-Forwarded-For": "192.0.2.8"})
        reply = await api(
            castd, "POST", "bans", {"address": "192.0.2.7", "reason": "rude", "seconds": 3600, "kick": True}
        )
        assert reply.status == 201
        ban = json.loads(reply.text)
        assert (ban["address"], ban["scope"], ban["by"], ban["kicked"]) == ("192.0.2.7/32", "all", ADMIN[0], 1)
        await ear.rest()
        assert castd.server.records.recent[0].reason == "kicked"
        assert len(castd.mount("/live").listeners) == 1
        refused = await castd.ask(head("GET", "/live", rude))
        assert (refused.status, "this address is banned: rude" in refused.text) == (403, True)
        refused = await castd.ask(head("GET", "/api/v1/status", rude))
        assert json.loads(refused.text)["detail"] == "this address is banned: rude"
        assert other
    async with serving(config) as castd:
        assert (await castd.ask(head("GET", "/healthz", rude))).status == 403, "kept over a restart"
        assert (await api(castd, "DELETE", f"bans/{ban['id']}")).status == 200
        assert (await castd.ask(head("GET", "/healthz", rude))).status == 200
        assert (await api(castd, "DELETE", f"bans/{ban['id']}")).status == 404
        assert json.loads((await api(castd, "GET", "bans")).text) == {"bans": []}
    async with serving(config) as castd:
        assert (await castd.ask(head("GET", "/healthz", rude))).status == 200


@pytest.mark.parametrize(
    "body",
    [
        [], {}, {"address": "192.0.2.1", "agent": "x"}, {"address": "nonsense"}, {"address": "192.0.2.1/24"},
        {"address": "192.0.2.1", "scope": "some"}, {"address": "192.0.2.1", "seconds": 0}, {"agent": " "},
        {"address": "192.0.2.1", "seconds": True}, {"address": "192.0.2.1", "seconds": 1e300},
        {"address": "192.0.2.1", "kick": 1}, {"address": 7}, {"agent": "x" * 300}, {"address": "192.0.2.1", "why": ""},
    ],
)  # fmt: skip
async def test_no_ban(body: Any) -> None:
    async with serving() as castd:
        reply = await api(castd, "POST", "bans", body)
        assert reply.status == 400
        assert len(json.loads(reply.text)["detail"]) > 10
        assert json.loads((await api(castd, "GET", "bans")).text) == {"bans": []}


async def test_scopes() -> None:
    bans = Bans(listener_agents=("rude/*",), source_addresses=("127.0.0.1",))
    async with serving(replace(configured(), bans=bans)) as castd:
        assert (await castd.ask(head("PUT", "/live", user=SOURCE))).status == 403
        assert (
            await castd.ask(head("GET", "/admin/metadata?mount=/live&mode=updinfo&song=x", user=SOURCE))
        ).status == 403
        assert (await castd.ask(head("GET", "/live", {"User-Agent": "Rude/7"}))).status == 403
        assert (await castd.ask(head("GET", "/healthz", {"User-Agent": "Rude/7"}))).status == 200


async def test_a_banned_address_is_not_even_read(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with serving(replace(configured(), bans=Bans(addresses=("127.0.0.1",)))) as castd:
        for _ in range(20):
            async with await castd.connect() as client:
                reply = await client.reply()
                assert (reply.status, reply.body) == (403, b"this address is banned\r\n")
    assert sum("127.0.0.1 got 403" in message for message in caplog.messages) == 1, "repeats are told rarely"


async def test_lists_of_a_mount() -> None:
    mounts = {"/in": {"allow_listeners": ("192.0.2.0/24",)}, "/out": {"allow_sources": ("192.0.2.0/24",)}}
    async with serving(configured(mounts=mounts)) as castd:
        await live(castd, "/in")
        assert (await castd.ask(head("GET", "/in"))).status == 403
        assert (await castd.ask(head("PUT", "/out", user=SOURCE))).status == 403

"""castd's own JSON: its shapes, its changes, its problems."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
import trio.testing

from tests.support import ADMIN, SOURCE, Bench, Serving, bench, configured, head, serving, until

if TYPE_CHECKING:
    from trio.testing import MockClock

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


async def get(castd: Bench | Serving, path: str, user: tuple[str, str] | None = None) -> dict[str, Any]:
    reply = await castd.ask(head("GET", "/api/v1/" + path, user=user))
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    found: dict[str, Any] = json.loads(reply.body)
    return found


async def change(castd: Bench | Serving, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    reply = await castd.ask(head(method, "/api/v1/" + path, {"Content-Length": str(len(body))}, user=ADMIN) + body)
    if reply.status >= 400:
        assert reply.headers["content-type"] == "application/problem+json"
        problem = json.loads(reply.body)
        assert problem.keys() == {"type", "title", "status", "detail"}
        assert (problem["type"], problem["status"]) == ("about:blank", reply.status)
    return reply.status, json.loads(reply.body)


async def test_status_without_mounts(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        found = await get(castd, "status")
        assert (found["listeners"], found["mounts"]) == (0, [])
        assert RFC3339.fullmatch(found["server"]["started"])
        assert await get(castd, "mounts") == {"mounts": []}


async def test_a_mount(autojump_clock: MockClock) -> None:
    fields = {"ice-name": "N", "ice-bitrate": "128", "ice-audio-info": "samplerate=44100;channels=2"}
    async with bench() as castd, await castd.encoder("/jazz/high caf\xe9", fields) as encoder:
        castd.mount("/jazz/high caf\xe9").set_title("A - B", artist="A", title="B")
        (found,) = (await get(castd, "mounts"))["mounts"]
        assert RFC3339.fullmatch(found["started"])
        assert RFC3339.fullmatch(found["title"].pop("since"))
        assert found == {
            "mount": "/jazz/high caf\xe9",
            "state": "live",
            "fallback": None,
            "name": "N",
            "description": "",
            "genre": "",
            "url": "",
            "public": False,
            "content_type": "audio/mpeg",
            "codec": "",
            "bitrate": 128_000,
            "sample_rate": 44_100,
            "channels": 2,
            "listeners": 0,
            "listener_peak": 0,
            "started": found["started"],
            "title": {
                "text": "A - B",
                "artist": "A",
                "title": "B",
                "album": None,
                "url": "",
                "art": None,
                "duration_seconds": None,
                "position": 0,
                "media_seconds": 0,
                "listen": None,
            },
            "group": None,
            "rewind_seconds": 0,
            "links": found["links"],
            "listen_url": "http://radio.test/jazz/high%20caf%C3%A9",
            "path": "/jazz/high%20caf%C3%A9",
        }
        for name in ("jazz%2Fhigh%20caf%C3%A9", "%2Fjazz%2Fhigh%20caf%C3%A9"):
            assert (await get(castd, f"mounts/{name}"))["mount"] == found["mount"]
        await encoder.close()
        await trio.testing.wait_all_tasks_blocked()
        assert (await get(castd, "mounts"))["mounts"][0]["state"] == "waiting"


@pytest.mark.parametrize("path", ["mounts/nix", "mounts/a/b", "nix", "", "mounts/"])
async def test_what_is_not_there_is_a_problem(path: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        reply = await castd.ask(head("GET", "/api/v1/" + path))
        assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(("method", "status"), [("POST", 405), ("DELETE", 405), ("PATCH", 405)])
async def test_the_wrong_method_is_a_problem(method: str, status: int, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        reply = await castd.ask(head(method, "/api/v1/status"))
        assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json")
        assert reply.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_for_operators() -> None:
    config = configured(mounts={"/live": {"hidden": True, "max_listeners": 7}})
    async with serving(config) as castd, await castd.encoder("/live") as encoder:
        await encoder.push(10)
        ear = await castd.ear("/live", {"User-Agent": "an ear"})
        await until(lambda: castd.mount("/live").bytes_sent > 0)
        stats = await get(castd, "admin/stats", ADMIN)
        assert (stats["listeners"], stats["sources"]) == (1, 1)
        assert stats["totals"]["listeners"] == stats["totals"]["sources"] == 1
        assert stats["totals"]["connections"] >= 3
        (mount,) = stats["mounts"]
        assert (mount["hidden"], mount["max_listeners"], mount["bytes_received"]) == (True, 7, 4170)
        (source,) = (await get(castd, "admin/sources", ADMIN))["sources"]
        assert mount["sources"][0]["id"] == source["id"]
        assert (source["mount"], source["address"], source["agent"]) == ("/live", "127.0.0.1", "probe/1")
        assert (source["user"], source["protocol"], source["bytes_received"]) == (SOURCE[0], "PUT", 4170)
        (listener,) = (await get(castd, "admin/listeners?mount=/live", ADMIN))["listeners"]
        assert (listener["mount"], listener["address"], listener["agent"]) == ("/live", "127.0.0.1", "an ear")
        assert listener["bytes_sent"] > 0
        assert listener["jumps"] == 0

        assert (await change(castd, "DELETE", f"admin/listeners/{source['id']}"))[0] == 404
        status, kicked = await change(castd, "DELETE", f"admin/listeners/{listener['id']}")
        assert (status, kicked) == (200, {"id": listener["id"], "kicked": True})
        await ear.rest()
        assert (await get(castd, "admin/listeners", ADMIN))["listeners"] == []
        assert (await change(castd, "DELETE", f"admin/sources/{source['id']}"))[0] == 200
        assert await encoder.rest() == b""
        assert (await get(castd, "admin/sources", ADMIN))["sources"] == []
        assert (await change(castd, "DELETE", f"admin/sources/{source['id']}"))[0] == 404


@pytest.mark.parametrize("path", ["admin/listeners?mount=/nix", "admin/nope", "admin/"])
async def test_operators_problems(path: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        reply = await castd.ask(head("GET", "/api/v1/" + path, user=ADMIN))
        assert reply.status == 404
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "text", "artist"),
    [
        (b'{"text": "A - B"}', "A - B", None),
        (b'{"artist": "A", "title": "B", "album": null, "url": "http://a.test/"}', "A - B", "A"),
        (b'{"title": "B"}', "B", None),
        (b'{"text": "x\\u0000\\ny", "artist": ""}', "x y", None),
        (b"{}", "", None),
        ('{"text": "\N{SNOWMAN}"}'.encode(), "\N{SNOWMAN}", None),
    ],
)
async def test_a_title(
    body: bytes, text: str, artist: str | None, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bench() as castd, await castd.encoder("/live"):
        status, told = await change(castd, "POST", "admin/mounts/live/title", body)
        assert status == 200
        assert (told["text"], told["artist"]) == (text, artist)
        assert castd.title("/live") == text
    assert f"/live: title set by admin from 192.0.2.1: {text}" in caplog.messages


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\xff", "not JSON"),
        (b"[" * 50_000, "Expected `object`"),
        (b'{"text": ' + b"9" * 5000 + b"}", "Number out of range"),
        (b'{"text": ' + b"[" * 50_000, "the body"),
        (b"[]", "Expected `object`, got `array`"),
        (b'"text"', "Expected `object`"),
        (b'{"text": 1}', "Expected `str | null`, got `int` - at `$.text`"),
        (b'{"text": ["x"]}', "got `array`"),
        (b'{"text": "\\ud800"}', "not JSON"),
        (b'{"text": "' + b"x" * 1001 + b'"}', "length <= 1000"),
        (b'{"Text": "x"}', "unknown field `Text`"),
        (b'{"\\u0000\\n": "x"}', "unknown field"),
        (b'{"duration": -1}', ">= 0"),
        (b'{"art": "file:///etc/passwd"}', "at `$.art`"),
    ],
)
async def test_broken_titles(body: bytes, reason: str, autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        status, problem = await change(castd, "POST", "admin/mounts/live/title", body)
        assert status == 400
        assert reason in problem["detail"]
        assert castd.title("/live") is None
        assert (await change(castd, "POST", "admin/mounts/nix/title", b'{"text": "x"}'))[0] == 404
        assert (await change(castd, "POST", "admin/mounts/live/title", b" " * 65_537))[0] == 413

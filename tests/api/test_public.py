"""What everybody may know: cheap to poll, and in time with what is heard."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from xml.etree import ElementTree

import pytest
import trio.testing

from castd.config import Group
from tests.support import SOURCE, Reply, bench, configured, head, serving, until

MOUNT = "/api/v1/mounts/live"


def value(reply: Reply) -> Any:
    assert reply.status == 200, reply.text
    return json.loads(reply.body)


@pytest.mark.parametrize("path", ["status", "server", "mounts", "mounts/live", "mounts/live/titles", "openapi.json"])
async def test_polling_is_cheap(path: str) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        target = f"/api/v1/{path}"
        first = await castd.ask(head("GET", target))
        assert first.headers["cache-control"] == "no-cache"
        assert first.headers["access-control-allow-origin"] == "*"
        assert first.headers["access-control-expose-headers"] == "ETag"
        assert "access-control-allow-credentials" not in first.headers
        again = await castd.ask(head("GET", target, {"If-None-Match": first.headers["etag"]}))
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
        if path not in ("server", "openapi.json"):
            castd.mount("/live").set_title("news")
            changed = await castd.ask(head("GET", target, {"If-None-Match": first.headers["etag"]}))
            assert (changed.status, b"news" in changed.body) == (200, True)


async def test_titles() -> None:
    async with bench() as castd, await castd.encoder("/live"):
        mount = castd.mount("/live")
        for text in ("1", "2", "2", "", "3"):
            mount.ring.append(bytes(10))
            mount.set_title(text, duration=7)
        titles = value(await castd.ask(head("GET", f"{MOUNT}/titles")))["titles"]
        assert [each["text"] for each in titles] == ["3", "2", "1"], "the newest first, repetitions left out"
        assert (titles[0]["duration_seconds"], titles[0]["position"]) == (7, 50)
        assert len(value(await castd.ask(head("GET", f"{MOUNT}/titles?limit=1")))["titles"]) == 1
        for wrong in ("0", "51", "x"):
            assert (await castd.ask(head("GET", f"{MOUNT}/titles?limit={wrong}"))).status == 400


async def test_links_lead_somewhere() -> None:
    async with bench() as castd, await castd.encoder("/jazz/caf\xe9 & co"):
        mount = value(await castd.ask(head("GET", "/api/v1/mounts")))["mounts"][0]
        for name, link in mount["links"].items():
            if name in ("stream", "events", "hls", "dash"):  # these need a socket, or time
                continue
            reply = await castd.ask(head("GET", link))
            assert reply.status == 200, (name, link, reply.text)
        qr = await castd.ask(head("GET", mount["links"]["qr"]))
        assert qr.headers["content-type"] == "image/svg+xml"
        assert ElementTree.fromstring(qr.body).tag.endswith("svg")
        endless = await castd.ask(head("GET", mount["links"]["qr"], {"Host": "a" * 5000}))
        assert endless.status == 200, "a host no name can be is none to link to"


async def test_where_a_player_is() -> None:
    async with serving(configured(mounts={"/live": {"burst_seconds": 2.0, "burst_bytes": 0}})) as castd:
        encoder = await castd.encoder("/live")
        await encoder.push(400)
        await until(lambda: castd.mount("/live").timeline.end > 10)
        ear = await castd.ear("/live?player=abcdefgh12")
        found = value(await castd.ask(head("GET", f"{MOUNT}/hearing?player=abcdefgh12")))
        end = castd.mount("/live").timeline.end
        assert found["live_media_seconds"] == pytest.approx(end, abs=0.001)
        assert end - 2.2 < found["media_seconds"] <= end - 2
        ring = castd.mount("/live").ring
        assert (await ear.exactly(100)) == ring.read(found["position"], found["position"] + 100)
        for wrong in ("abcdefgh13", "short", "x" * 65):
            assert (await castd.ask(head("GET", f"{MOUNT}/hearing?player={wrong}"))).status in (400, 404)
        assert (await castd.ask(head("GET", "/api/v1/mounts/other/hearing?player=abcdefgh12"))).status == 404
        await ear.close()
        await until(lambda: not castd.mount("/live").listeners)
        assert (await castd.ask(head("GET", f"{MOUNT}/hearing?player=abcdefgh12"))).status == 404


async def test_two_who_call_themselves_the_same() -> None:
    async with serving() as castd:
        encoder = await castd.encoder("/live")
        await encoder.push(100)
        first = await castd.ear("/live?player=abcdefgh12")
        second = await castd.ear("/live?player=abcdefgh12")
        await first.close()
        await until(lambda: len(castd.mount("/live").listeners) == 1)
        assert (await castd.ask(head("GET", f"{MOUNT}/hearing?player=abcdefgh12"))).status == 200
        await second.close()
        for odd in ("", "a", "x" * 65, "%00%0d%0aabcdefgh", "<script>abc"):
            await (await castd.ear(f"/live?player={odd}")).close()
        await until(lambda: not castd.mount("/live").listeners)


async def test_oembed() -> None:
    async with bench() as castd, await castd.encoder("/live", {"ice-name": 'N"><script>'}):
        url = "http%3A%2F%2Fradio.test%2Fp%2Flive"
        found = value(await castd.ask(head("GET", f"/api/v1/oembed?url={url}&maxwidth=300")))
        assert (found["version"], found["type"], found["width"], found["height"]) == ("1.0", "rich", 300, 180)
        assert found["html"].startswith('<iframe src="http://radio.test/p/live?embed=1" width="300"')
        assert "script" not in found["html"]
        for wrong in ("x", "http%3A%2F%2F%5B", "http%3A%2F%2Fradio.test%2Flive", "http%3A%2F%2Fradio.test%2Fp%2Fnix"):
            assert (await castd.ask(head("GET", f"/api/v1/oembed?url={wrong}"))).status in (400, 404)
        assert (await castd.ask(head("GET", f"/api/v1/oembed?url={url}&format=xml"))).status == 400


async def test_asking_for_all_mounts_costs_little() -> None:
    """Forty mounts, asked for again and again: a figure for people, and no more than a bound for the test."""
    async with bench() as castd:
        for number in range(40):
            await castd.encoder(f"/m{number}")
        await trio.testing.wait_all_tasks_blocked()
        began = time.perf_counter()
        for _ in range(20):
            reply = await castd.ask(head("GET", "/api/v1/mounts"))
        print(f"{(time.perf_counter() - began) / 20 * 1000:.1f} ms an answer of {len(reply.body)} bytes")
        assert len(value(reply)["mounts"]) == 40


async def test_a_group_is_told() -> None:
    groups = {"/radio": Group(mounts=("/live", "/low", "/secret", "/away"))}
    settings = {"/secret": {"hidden": True}}
    async with bench(configured(groups=groups, mounts=settings)) as castd, await castd.encoder("/live"):
        assert value(await castd.ask(head("GET", MOUNT)))["group"] == "/radio"
        await castd.encoder("/low", {"ice-bitrate": "320", "Content-Type": "application/ogg"})
        await castd.encoder("/secret")
        assert "is a group of mounts" in (await castd.ask(head("PUT", "/radio", user=SOURCE))).text
        found = value(await castd.ask(head("GET", "/api/v1/groups/radio")))
        assert [each["mount"] for each in found["mounts"]] == ["/low", "/live"], "the highest bitrate first"
        assert found["first"] == "/live", "the order of the configuration"
        qr = await castd.ask(head("GET", "/api/v1/mounts/radio/qr"))
        assert (qr.status, qr.headers["content-type"]) == (200, "image/svg+xml")
        embedding = value(await castd.ask(head("GET", "/api/v1/oembed?url=http://radio.test/p/radio")))
        assert 'src="http://radio.test/p/radio?embed=1"' in embedding["html"]
        assert found["links"] == {"stream": "/radio", "hls": None, "dash": None, "page": "/p/radio"}
        assert value(await castd.ask(head("GET", "/api/v1/groups"))) == {"groups": [found]}
        assert (await castd.ask(head("GET", "/api/v1/groups/live"))).status == 404
        assert (await castd.ask(head("HEAD", "/radio"))).status == 200, "the first of its mounts that is on the air"
        assert "http://radio.test/radio" in (await castd.ask(head("GET", "/radio.m3u"))).text
        page = (await castd.ask(head("GET", "/p/live"))).text
        data = json.loads(re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)[0])
        assert [each["mount"] for each in data["group"]["mounts"]] == ["/low", "/live"]

"""Event streams: how things are, what happens then, and coming back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import trio

from castd.config import Limits
from castd.delivery import followers
from tests.support import ADMIN, Client, Serving, canary, configured, head, serving, until

MOUNTS = "/api/v1/events"
LIVE = "/api/v1/mounts/live/events"


@dataclass
class Message:
    """One event of a stream."""

    id: str
    name: str
    data: dict[str, Any]


class Follower(Client):
    """A client of an event stream; comments are left out."""

    async def follow(self, path: str, fields: Mapping[str, str] | None = None) -> Follower:
        await self.send(head("GET", path, fields))
        top = (await self.until(b"\r\n\r\n")).decode()
        assert top.startswith("HTTP/1.1 200 "), top
        for field in ("text/event-stream", "Access-Control-Allow-Origin: *", "no-store", "X-Accel-Buffering: no"):
            assert field in top
        return self

    async def next(self, *names: str) -> Message:
        """The next event of one of these names; of any without."""
        while True:
            lines = (await self.until(b"\n\n")).decode().rstrip("\n").split("\n")
            fields = dict(line.split(": ", 1) for line in lines if ": " in line)
            if "event" in fields and (not names or fields["event"] in names):
                return Message(fields["id"], fields["event"], json.loads(fields["data"]))


async def follower(castd: Serving, path: str = LIVE, fields: Mapping[str, str] | None = None) -> Follower:
    return await Follower(await castd.stream()).follow(path, fields)


async def test_the_life_of_a_mount() -> None:
    async with serving(configured(mounts={"/live": {"linger_seconds": 0.2}})) as castd:
        one, everything = await follower(castd), await follower(castd, MOUNTS)
        assert (await one.next()).name == "absent"
        assert (await everything.next()).data == {"mounts": []}
        encoder = await castd.encoder("/live", {"ice-name": "N"})
        await encoder.push(200)
        for each in (one, everything):
            assert (await each.next("source.connected")).data.keys() == {"mount", "time"}, "of nobody's address"
            mount = (await each.next("mount")).data
            assert (mount["mount"], mount["name"], mount["state"]) == ("/live", "N", "live")
            while mount["codec"] != "mp3":  # known once the frames are
                mount = (await each.next("mount")).data
            assert "listen_url" not in mount
        castd.mount("/live").set_title("A - B", artist="A", title="B", url="http://a.test/", duration=12)
        for each in (one, everything):
            title = (await each.next("title")).data
            told = (title["text"], title["artist"], title["title"], title["duration_seconds"])
            assert told == ("A - B", "A", "B", 12)
            assert title["position"] == castd.mount("/live").ring.head
            assert title["media_seconds"] == pytest.approx(castd.mount("/live").timeline.end, abs=0.001)
            assert title["wall"] == pytest.approx(castd.server.registry.clock.wall(), abs=5)
        await castd.ear("/live")
        for each in (one, everything):
            assert (await each.next("listeners")).data == {"mount": "/live", "listeners": 1, "listener_peak": 1}
        await encoder.close()
        for each in (one, everything):
            lost = (await each.next("source.lost")).data
            assert (lost["mount"], lost["linger_seconds"]) == ("/live", 0.2)
            assert (await each.next("mount")).data["state"] == "waiting"
            assert (await each.next("mount.closed")).data["reason"] == "source_ended"


async def test_nobody_hears_of_hidden_mounts_but_those_who_know_their_names() -> None:
    async with serving(configured(mounts={"/live": {"hidden": True}})) as castd:
        everything, one = await follower(castd, MOUNTS), await follower(castd)
        await castd.encoder("/live")
        await one.next("source.connected")
        await castd.encoder("/seen")
        await everything.next("mounts")
        assert (await everything.next()).data["mount"] == "/seen"


async def test_coming_back() -> None:
    async with serving() as castd:
        await castd.encoder("/live")
        mount = castd.mount("/live")
        first = await follower(castd)
        mount.set_title("1")
        seen = await first.next("title")
        await first.close()
        for text in ("2", "3"):
            mount.set_title(text)
            await trio.sleep(0.05)
        again = await follower(castd, fields={"Last-Event-ID": seen.id})
        titles = [await again.next() for _ in range(2)]
        assert [(each.name, each.data["text"]) for each in titles] == [("title", "2"), ("title", "3")]
        # what is not known, of another process, or nonsense: how things are
        boot = seen.id.partition("-")[0]
        for last in ("0123abcd-1", f"{boot}-99999", f"{boot}-", f"{boot}-{'9' * 40}", "x", f"{boot}-\xb2"):
            new = await follower(castd, fields={"Last-Event-ID": last})
            assert (await new.next()).name == "mount", last


async def test_a_head_request_and_the_limit() -> None:
    async with serving(configured(limits=Limits(max_event_streams=2))) as castd:
        async with await castd.connect() as client:
            await client.send(head("HEAD", MOUNTS))
            top = await client.rest()
            assert top.endswith(b"\r\n\r\n"), "the head, and nothing after it"
        for _ in range(2):
            await follower(castd, MOUNTS)
        reply = await castd.ask(head("GET", MOUNTS))
        assert (reply.status, reply.headers["retry-after"]) == (503, "10")
        assert json.loads(reply.body)["detail"] == "too many event streams"
        limits = json.loads((await castd.ask(head("GET", "/api/v1/admin/limits", user=ADMIN))).body)["limits"]
        assert {"limit": "limits.max_event_streams", "mount": "", "value": 2, "used": 2} in limits


async def test_who_has_gone_is_forgotten() -> None:
    async with serving() as castd:
        streams = castd.server.event_streams.followers
        one, other, third = [await follower(castd, MOUNTS) for _ in range(3)]
        assert len(streams) == 3
        await one.close()
        other.reset()
        await until(lambda: len(streams) == 1)
        await third.send(b"GET / HTTP/1.1\r\n\r\n")  # nothing can be asked any more
        await trio.sleep(0.05)
        assert len(streams) == 1


async def test_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "HEARTBEAT_SECONDS", 0.2)
    async with serving() as castd:
        one = await follower(castd, MOUNTS)
        await one.next("mounts")
        assert await one.until(b":\n\n") == b":\n\n"


async def test_who_reads_nothing_costs_nobody_else_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "MOST_PENDING", 64 * 1024)
    monkeypatch.setattr(followers, "INTERVAL_SECONDS", 0.001)
    async with serving() as castd:
        await castd.encoder("/live")
        streams, mount = castd.server.event_streams.followers, castd.mount("/live")
        async with canary(castd):
            deaf, good = await follower(castd), await follower(castd)
            heard = 0

            async def listen() -> None:
                nonlocal heard
                while True:
                    await good.next("title")
                    heard += 1

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                sent = 0
                while len(streams) == 2:
                    sent += 1
                    mount.set_title(f"{sent} " + "x" * 900)
                    await trio.sleep(0.002)
                await until(lambda: heard == sent)
                nursery.cancel_scope.cancel()
            assert b"event: title" in await deaf.rest()


async def test_a_round_costs_one_send_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 clients and a burst of events: the messages are made once, and each client gets them in one send."""
    crowd = 200  # of 2,000; the count is what matters
    async with serving() as castd:
        await castd.encoder("/live")
        streams, mount = castd.server.event_streams.followers, castd.mount("/live")
        everybody = [await follower(castd) for _ in range(crowd)]
        await trio.sleep(1.5)  # facts and counts are told
        before = streams.sends
        for number in range(20):
            mount.set_title(f"title {number}")
        for each in everybody:
            titles = [(await each.next("title")).data["text"] for _ in range(20)]
            assert titles == [f"title {number}" for number in range(20)]
        assert crowd <= streams.sends - before <= 3 * crowd

"""Each event is published where it happens, with its fields."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from castd.config import Config, Current, Limits
from castd.mount.party import Goodbye
from castd.mount.registry import Registry
from castd.stats.announcer import Announcer
from castd.stats.events import Event, Events, Subscription
from tests.mount.fakes import HandClock
from tests.mount.fakes import source as fake_source
from tests.support import Castd, configured, head, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from castd.config.events import EventName


@contextmanager
def hearing(castd: Castd, *names: EventName) -> Iterator[Subscription]:
    with castd.server.events.subscribe("the test", 1000, names) as subscription:
        yield subscription


async def the_next(subscription: Subscription, count: int) -> list[Event]:
    return [await subscription.receive() for _ in range(count)]


async def test_a_whole_life() -> None:
    config = configured(mounts={"default": {"linger_seconds": 0.0}})
    async with serving(config) as castd:
        with castd.server.events.subscribe("the test", 1000) as heard:
            encoder = await castd.encoder("/live", {"Ice-Name": "Radio", "Ice-Genre": "jazz"})
            await encoder.push(20)
            ear = await castd.ear("/live")
            listener = next(iter(castd.mount("/live").listeners.values()))
            castd.mount("/live").set_title("A - B", artist="A", title="B")
            castd.mount("/live").set_title("A - B", artist="A", title="B")  # a repeat is no news
            await ear.close()
            await until(lambda: not castd.mount("/live").listeners)
            await encoder.close()
            events = await the_next(heard, 8)
    assert [event.name for event in events] == [
        "mount.opened", "source.connected", "listener.connected", "title", "listener.ended", "source.ended",
        "source.lost", "mount.closed",
    ]  # fmt: skip
    assert {event.mount for event in events} == {"/live"}
    opened, source, joined, title, left, ended, lost, closed = (dict(event.fields) for event in events)
    who = {"address": "127.0.0.1", "agent": "probe/1"}
    pushes = who | {"id": source["id"], "user": "source", "protocol": "PUT"}
    assert opened == {}
    assert source == pushes | {"content_type": "audio/mpeg", "name": "Radio", "genre": "jazz"}
    listens = who | {"id": listener.id, "user": "", "protocol": "http"}
    assert joined == listens | {"listeners": 1}
    begins = [title.pop(name) for name in ("position", "media_seconds", "wall")]
    assert all(isinstance(each, int | float) and each > 0 for each in begins), begins
    assert title == {
        "text": "A - B",
        "artist": "A",
        "title": "B",
        "album": None,
        "url": "",
        "art": None,
        "duration_seconds": None,
    }
    assert isinstance(left.pop("seconds"), float)
    assert left.pop("reason") in ("left", "reset")
    assert left == listens | {"ended_by": "", "bytes_sent": listener.bytes_sent, "jumps": 0, "listeners": 0}
    assert isinstance(ended.pop("seconds"), float)
    reason = ended.pop("reason")
    assert ended == pushes | {"ended_by": "", "bytes_received": 20 * 417, "skipped_bytes": 0}
    assert lost == {"id": source["id"], "reason": reason, "listeners": 0, "linger_seconds": 0.0}
    assert closed == {"reason": "source_ended"}


async def test_a_source_that_returns() -> None:
    async with serving() as castd:
        with hearing(castd, "source.connected", "source.lost", "source.returned", "title") as heard:
            encoder = await castd.encoder("/live")
            castd.mount("/live").set_title("the same")
            await encoder.push(20)
            await castd.ear("/live")
            await encoder.close()
            first = await the_next(heard, 3)
            await castd.encoder("/live")
            castd.mount("/live").set_title("the same")  # by another source
            then = await the_next(heard, 3)
    assert [each.name for each in first] == ["source.connected", "title", "source.lost"]
    assert [each.name for each in then] == ["source.connected", "source.returned", "title"]
    returned = then[1].fields
    assert returned["id"] == then[0].fields["id"]
    assert returned["listeners"] == 1
    assert isinstance(returned["away_seconds"], float)


async def test_who_was_kicked_by_whom() -> None:
    async with serving() as castd:
        with hearing(castd, "source.ended") as heard:
            await castd.encoder("/live")
            reply = await castd.ask(
                head("POST", "/admin/killsource?mount=/live", user=("admin", "the operator's word"))
            )
            assert reply.status == 200
            (event,) = await the_next(heard, 1)
    assert (event.fields["reason"], event.fields["ended_by"]) == ("kicked", "admin")


def test_a_standby_source_is_no_loss() -> None:
    time = HandClock()
    events = Events(time.clock.wall)
    registry = Registry(Current(Config()), time.clock)
    registry.observer = Announcer(events, time.clock)
    heard: list[Event] = []
    events.publish = lambda *args: heard.append(Event(args[0], 0.0, args[1], args[2]))  # type: ignore[method-assign]
    mount = registry.open("/live")
    with mount.claim(fake_source()):
        with mount.claim(fake_source(priority=1)):
            pass
        time.now += 5
    with mount.claim(fake_source()):
        pass
    mount.close(Goodbye.DRAINED)
    assert [each.name for each in heard] == [
        "mount.opened", "source.connected", "source.connected", "source.ended", "source.ended", "source.lost",
        "source.connected", "source.returned", "source.ended", "source.lost", "mount.closed",
    ]  # fmt: skip
    assert heard[4].fields["reason"] == "failed"  # nobody said why


async def test_limits() -> None:
    config = configured(
        limits=Limits(max_listeners=2, max_sources=1, max_connections_per_address=9),
        mounts={"/live": {"max_listeners": 1}},
    )
    async with serving(config) as castd:
        with hearing(castd, "limit.reached") as heard:
            await (await castd.encoder("/live")).push(20)
            assert (await castd.ask(head("PUT", "/other", user=("source", "the encoders' word")))).status == 403
            await castd.ear("/live")
            for _ in range(3):
                assert (await castd.ask(head("GET", "/live"))).status == 503
            for _ in range(8):
                await castd.stream()
            sources, listeners, connections = await the_next(heard, 3)
    assert (sources.mount, sources.fields) == ("", {"what": "limits.max_sources", "limit": 1, "refused": 1})
    assert (listeners.mount, listeners.fields) == (
        "/live",
        {"what": "mounts.max_listeners", "limit": 1, "refused": 1},
    )
    assert connections.fields == {"what": "limits.max_connections_per_address", "limit": 9, "refused": 1}


async def test_limits_of_the_door() -> None:
    async with serving(configured(limits=Limits(max_unread_heads=1))) as castd:
        with hearing(castd, "limit.reached") as heard:
            for _ in range(3):
                await castd.stream()
            (event,) = await the_next(heard, 1)
    assert event.fields == {"what": "limits.max_unread_heads", "limit": 1, "refused": 1}


def test_a_limit_is_told_once_in_a_while() -> None:
    time = HandClock()
    heard: list[Event] = []
    events = Events(time.clock.wall)
    events.publish = lambda *args: heard.append(Event(args[0], 0.0, args[1], args[2]))  # type: ignore[method-assign]
    announcer = Announcer(events, time.clock)
    for _ in range(100):
        announcer.limit_reached("limits.max_listeners", 5)
    announcer.limit_reached("mounts.max_listeners", 5, "/a")
    announcer.limit_reached("mounts.max_listeners", 5, "/b")
    time.now += 11
    announcer.limit_reached("limits.max_listeners", 5)
    assert [(each.mount, each.fields["refused"]) for each in heard] == [("", 1), ("/a", 1), ("/b", 1), ("", 100)]


async def test_nobody_hears_and_nothing_happens() -> None:
    async with serving() as castd:
        castd.server.events.publish("title", "/live", {})

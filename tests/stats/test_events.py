"""The bus: publishing waits for nobody and never raises, whatever subscribers do."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

from castd.config.events import EVENT_NAMES, matching
from castd.stats.events import Event, Events


def test_patterns() -> None:
    assert matching(["title"]) == {"title"}
    assert matching(["source.l*", "source.s*"]) == {"source.lost", "source.silent", "source.sounding"}
    assert matching(["*.connected", "*.lost"]) == {"source.connected", "listener.connected", "source.lost"}
    assert matching(["*"]) == set(EVENT_NAMES)
    assert matching(["Source.*", "source", ""]) == set()


def test_an_event_as_json() -> None:
    event = Event("title", 1_763_884_570.25, "/live", {"text": "A \u2013 \ud800", "album": None})
    told = json.loads(json.dumps(event.as_json()))
    assert told == {
        "event": "title",
        "time": "2025-11-23T07:56:10.250Z",
        "mount": "/live",
        "fields": {"text": "A \u2013 \ud800", "album": None},
    }
    assert Event("title", 5.0, "", {}).moment == "1970-01-01T00:00:05.000Z"


async def test_each_subscriber_gets_what_it_wants() -> None:
    events = Events(lambda: 7.0)
    every, titles = events.subscribe("a", 10), events.subscribe("b", 10, ["title"])
    events.publish("mount.opened", "/x", {})
    events.publish("title", "/x", {"text": "T"})
    assert [(await every.receive()).name, (await every.receive()).name] == ["mount.opened", "title"]
    assert await titles.receive() == Event("title", 7.0, "/x", {"text": "T"})


async def test_what_finds_no_room_is_dropped_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    events = Events(lambda: 0.0)
    slow, quick = events.subscribe("the slow one", 3), events.subscribe("the quick one", 1000)
    for number in range(500):
        events.publish("title", "/x", {"text": str(number)})
    assert (slow.dropped, quick.dropped) == (497, 0)
    assert [(await slow.receive()).fields["text"] for _ in range(3)] == ["0", "1", "2"]
    assert caplog.text.count("the slow one is too slow: events are dropped") == 1


async def test_a_closed_subscription_gives_what_it_has() -> None:
    events = Events(lambda: 0.0)
    with events.subscribe("who", 10) as subscription:
        events.publish("title", "/x", {})
    events.publish("title", "/x", {})
    await subscription.receive()
    with pytest.raises(trio.EndOfChannel):
        await subscription.receive()
    subscription.close()


async def test_a_subscriber_may_close_while_another_waits() -> None:
    events = Events(lambda: 0.0)
    subscription = events.subscribe("who", 0)
    got: list[Event] = []

    async def wait() -> None:
        got.append(await subscription.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        events.publish("title", "/x", {})
    assert len(got) == 1
    assert subscription.dropped == 0

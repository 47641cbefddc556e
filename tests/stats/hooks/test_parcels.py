"""What is told at once, and when."""

from __future__ import annotations

import json

import trio
import trio.testing

from castd.stats.events import Events
from castd.stats.hooks.parcels import PARCEL_EVENTS, Gatherer, Parcel
from tests.stats.hooks.fakes import event


class Teller:
    """Notes what is told, and when."""

    def __init__(self) -> None:
        self.parcels: list[tuple[float, Parcel]] = []
        self.begun = trio.current_time()

    async def tell(self, parcel: Parcel) -> None:
        self.parcels.append((round(trio.current_time() - self.begun, 3), parcel))

    @property
    def told(self) -> list[tuple[float, list[str], bool]]:
        return [(at, [each.name for each in parcel.events], parcel.batch) for at, parcel in self.parcels]


def test_a_single_event_is_an_object_and_a_batch_a_list() -> None:
    one, two = event(text="\u266b"), event("listener.ended")
    assert json.loads(Parcel((one,)).body)["fields"] == {"text": "\u266b"}
    assert [each["event"] for each in json.loads(Parcel((two,), batch=True).body)] == ["listener.ended"]
    assert Parcel((one,)).id != Parcel((one,)).id
    assert Parcel((two, one, two)).names == "listener.ended, title"


async def test_listeners_are_gathered_and_the_rest_is_not(autojump_clock: trio.testing.MockClock) -> None:
    events, teller = Events(lambda: 0.0), Teller()
    subscription = events.subscribe("who", 1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Gatherer(subscription, 5.0, teller.tell).run)
        await trio.sleep(1)
        events.publish("listener.connected", "/live", {})
        await trio.sleep(3)
        events.publish("listener.ended", "/live", {})
        events.publish("title", "/live", {})
        await trio.sleep(10)
        events.publish("listener.connected", "/live", {})
        subscription.close()
    assert teller.told == [
        (4.0, ["title"], False),
        (6.0, ["listener.connected", "listener.ended"], True),
        (14.0, ["listener.connected"], True),
    ]


async def test_a_full_house_comes_in_parts() -> None:
    events, teller = Events(lambda: 0.0), Teller()
    subscription = events.subscribe("who", 2000)
    for _ in range(PARCEL_EVENTS + 1):
        events.publish("listener.connected", "/live", {})
    subscription.close()
    await Gatherer(subscription, 5.0, teller.tell).run()
    assert [len(parcel.events) for _, parcel in teller.parcels] == [PARCEL_EVENTS, 1]


async def test_without_a_batch_each_is_told_by_itself() -> None:
    events, teller = Events(lambda: 0.0), Teller()
    subscription = events.subscribe("who", 10)
    events.publish("listener.connected", "/live", {})
    events.publish("listener.ended", "/live", {})
    subscription.close()
    await Gatherer(subscription, 0.0, teller.tell).run()
    assert [(names, batch) for _, names, batch in teller.told] == [
        (["listener.connected"], False),
        (["listener.ended"], False),
    ]

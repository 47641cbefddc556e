"""Visits as they end: titles heard, lag, and what stands for addresses."""

from __future__ import annotations

import pytest

from castd.delivery.listener import Listener
from castd.delivery.outlet import Outlet
from castd.mount.mount import Mount
from castd.mount.party import Goodbye, Ids
from castd.stats.visits import DAY_SECONDS, Pseudonyms, Visit, arrival, departure
from tests.delivery.fakes import FakeSocket
from tests.mount.fakes import Encoder, HandClock, settings

PLAIN = Pseudonyms("plain")


class Scene:
    """A mount with an encoder and a listener that starts at its live end."""

    def __init__(self, *, frames: int = 20, room: int | None = None, lag_seconds: float = 20.0) -> None:
        self.clock = HandClock()
        self.mount = Mount(
            "/m", settings(ring_bytes=65_536, burst_seconds=0.5, lag_seconds=lag_seconds), self.clock.clock
        )
        self.encoder = Encoder(self.mount)
        self.mount.sources.append(self.encoder.source)
        self.mount._begin(self.encoder.source)
        self.encoder.feed(frames)
        self.socket = FakeSocket(room)

    def join(self) -> Listener:
        position = self.mount.ring.head
        listener = Listener(self.mount, self.socket, position=position, address="192.0.2.1", connected=self.clock.now)
        self.mount.join(listener)
        self.since = arrival(self.mount, position)
        return listener

    def gone(self, listener: Listener) -> Visit:
        listener.end(Goodbye.LEFT)
        return departure(self.mount, listener, self.since, PLAIN, None)


def test_what_is_on_when_one_comes_counts_and_what_nobody_heard_does_not() -> None:
    scene = Scene()
    scene.mount.set_title("before")
    scene.encoder.feed(4)
    scene.mount.set_title("on")
    listener = scene.join()
    scene.encoder.feed(4)
    scene.mount.set_title("next")
    scene.encoder.feed(4)
    listener.serve()
    scene.mount.set_title("after")
    visit = scene.gone(listener)
    assert (visit.titles, visit.last_titles) == (2, ("on", "next"))


def test_one_that_heard_nothing_heard_no_title() -> None:
    scene = Scene()
    scene.mount.set_title("on")
    visit = scene.gone(scene.join())
    assert (visit.titles, visit.last_titles) == (0, ())


def test_titles_whose_audio_is_long_gone_are_counted_and_the_last_known() -> None:
    scene = Scene()
    listener = scene.join()
    for number in range(40):
        scene.mount.set_title(f"title {number}")
        scene.encoder.feed(40)
        listener.serve()
    visit = scene.gone(listener)
    assert visit.titles == 40
    assert visit.last_titles == tuple(f"title {number}" for number in range(35, 40))


def test_an_empty_title_is_none_to_remember() -> None:
    scene = Scene()
    listener = scene.join()
    for title in ("one", "", "two"):
        scene.mount.set_title(title)
        scene.encoder.feed()
        listener.serve()
    assert scene.gone(listener).last_titles == ("one", "two")


def test_times_are_by_the_monotonic_clock() -> None:
    scene = Scene()
    listener = scene.join()
    begun = scene.clock.now + 1e9
    scene.clock.now += 12.5
    visit = scene.gone(listener)
    assert (visit.started, visit.ended, visit.seconds) == (begun, begun + 12.5, 12.5)
    assert (visit.kind, visit.address, visit.reason) == ("listener", "192.0.2.1", "left")


def test_the_worst_lag_is_that_before_a_jump() -> None:
    scene = Scene(room=400, lag_seconds=2.0)
    outlet = Outlet(
        scene.mount,
        on_news=lambda each: None,
        on_blocked=lambda each: None,
        on_leave=lambda each: None,
        on_close=lambda each: None,
    )
    scene.mount.outlet = outlet
    listener = scene.join()
    outlet.add(listener)
    for _ in range(100):  # of 25 ms each
        scene.encoder.feed()
        if not listener.blocked:
            outlet.serve(listener)
        outlet.walked(scene.mount.ring.head)
    assert listener.jumps == 1
    visit = scene.gone(listener)
    assert 2.0 <= visit.worst_lag_seconds <= 2.2
    assert visit.jumps == 1


def test_nobody_lags_who_takes_everything() -> None:
    scene = Scene()
    listener = scene.join()
    scene.encoder.feed(30)  # not walked yet
    assert scene.gone(listener).worst_lag_seconds == 0.0


def test_a_source() -> None:
    scene = Scene(frames=0)
    source = scene.encoder.source
    since = arrival(scene.mount, 0)
    scene.mount.set_title("its title")
    scene.encoder.feed(10)
    source.bytes_received = 4000
    source.end(Goodbye.KICKED, "admin")
    visit = departure(scene.mount, source, since, PLAIN, None)
    assert (visit.kind, visit.bytes, visit.titles, visit.last_titles) == ("source", 4000, 1, ("its title",))
    assert (visit.reason, visit.ended_by, visit.user, visit.protocol) == ("kicked", "admin", "source", "PUT")


def test_a_source_that_left_without_a_word_failed() -> None:
    scene = Scene()
    assert departure(scene.mount, scene.encoder.source, arrival(scene.mount, 0), PLAIN, None).reason == "failed"


def test_hashed_addresses_are_the_same_for_a_day() -> None:
    pseudonyms, other_server = Pseudonyms("hashed"), Pseudonyms("hashed")
    midnight = 20_000 * DAY_SECONDS
    first = pseudonyms.of("192.0.2.1", midnight)
    assert pseudonyms.of("192.0.2.1", midnight + DAY_SECONDS - 1) == first
    assert pseudonyms.of("192.0.2.2", midnight) != first
    assert pseudonyms.of("192.0.2.1", midnight + DAY_SECONDS) != first
    assert other_server.of("192.0.2.1", midnight) != first
    assert len(first) == 16
    assert "192" not in first or "." not in first


@pytest.mark.parametrize(("style", "kept"), [("plain", "192.0.2.1"), ("none", "")])
def test_addresses_kept_or_left_out(style: str, kept: str) -> None:
    assert Pseudonyms("plain" if style == "plain" else "none").of("192.0.2.1", 0.0) == kept


def test_ids_go_on() -> None:
    ids = Ids()
    assert [ids(), ids()] == [1, 2]
    ids.go_on_after(40)
    ids.go_on_after(7)
    assert ids() == 41

"""Listeners who went back: the audio of then at the pace of the clock, with its titles, whatever happens meanwhile."""

from __future__ import annotations

from math import inf

import pytest

from castd.config import Config, Current
from castd.delivery.listener import Listener
from castd.delivery.pace import Pace, wall_time
from castd.delivery.pump import Pump
from castd.errors import ClientError
from castd.mount.mount import Mount
from castd.mount.party import Goodbye
from castd.mount.shape import Shape
from tests.delivery.fakes import FakePoller, FakeSocket
from tests.delivery.icy import deinterleave
from tests.mount.fakes import FRAME_SECONDS, Encoder, HandClock, frames_of, settings

BURST = 2.0


class Radio:
    """A mount that heard a while, and a pump; everything happens as its time comes."""

    def __init__(self, ring_bytes: int = 4 << 20, frames: int = 8000) -> None:
        self.time = HandClock()
        self.pump = Pump(Current(Config()), FakePoller())
        self.mount = Mount("/m", settings(ring_seconds=300, ring_bytes=ring_bytes), self.time.clock)
        self.encoder = Encoder(self.mount)
        self.mount.take_on(self.encoder.source)
        for _ in range(frames):
            self.time.now += FRAME_SECONDS
            self.encoder.feed()

    def go_back(self, seconds: float, room: int | None = None, metaint: int = 0) -> Listener:
        entry = self.mount.timeline.rewound(self.mount.timeline.end - seconds)
        assert entry is not None
        listener = Listener(
            self.mount, FakeSocket(room), position=entry.position, metaint=metaint, connected=self.time.now
        )
        listener.pace = Pace(entry.time + BURST, self.time.now)
        self.pump.add(listener)
        return listener

    def play(self, seconds: float, *, silent: bool = False) -> None:
        for _ in range(round(seconds / FRAME_SECONDS)):
            self.time.now += FRAME_SECONDS
            if not silent:
                self.encoder.feed()
            self.pump.remind()
            while self.pump.turn(self.time.now) == self.time.now:
                pass


def heard(listener: Listener) -> list[int]:
    assert isinstance(listener.connection, FakeSocket)
    audio, _ = deinterleave(bytes(listener.connection.received), listener.icy.metaint if listener.icy else 0)
    return [number for _, number in frames_of(audio)]


def test_it_hears_what_was_on_in_its_own_time() -> None:
    radio = Radio()
    listener = radio.go_back(60)
    start = 8000 - round(60 / FRAME_SECONDS)
    first = heard(listener)
    assert start - 4 <= first[0] <= start
    assert abs(len(first) * FRAME_SECONDS - BURST) < 0.2, "a burst, and no more"
    radio.play(10)
    now = heard(listener)
    assert now == list(range(first[0], first[0] + len(now)))
    assert abs(len(now) * FRAME_SECONDS - BURST - 10) < 0.2
    assert listener.gone is None
    assert listener.jumps == 0
    assert not radio.pump.outlet(radio.mount).ready


def test_it_goes_on_while_the_source_is_away_until_it_has_everything() -> None:
    radio = Radio()
    listener = radio.go_back(20)
    radio.play(5, silent=True)
    assert abs(len(heard(listener)) * FRAME_SECONDS - BURST - 5) < 0.3
    radio.play(30, silent=True)
    assert heard(listener)[-1] == radio.encoder.number - 1
    radio.play(3)
    assert heard(listener)[-1] > radio.encoder.number - 10


def test_titles_are_those_of_then() -> None:
    radio = Radio(frames=4000)
    radio.mount.set_title("then")
    for _ in range(4000):
        radio.time.now += FRAME_SECONDS
        radio.encoder.feed()
    radio.mount.set_title("now")
    listener = radio.go_back(50, metaint=1000)
    radio.play(2)
    assert isinstance(listener.connection, FakeSocket)
    _, titles = deinterleave(bytes(listener.connection.received), 1000)
    said = [each for each in titles if each]
    assert len(said) == 1
    assert "then" in said[0]


def test_one_who_is_slow_goes_on_later_and_misses_nothing() -> None:
    radio = Radio()
    listener = radio.go_back(100, room=4000)
    connection = listener.connection
    assert isinstance(connection, FakeSocket)
    for _ in range(60):
        radio.play(1)
        connection.room = 4000  # a quarter of what it is owed
        if listener.blocked:
            radio.pump._writable(listener)
    numbers = heard_so_far(listener)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert listener.gone is None
    assert listener.jumps == 0


def heard_so_far(listener: Listener) -> list[int]:
    """Whole frames only: it is in the middle of one."""
    assert isinstance(listener.connection, FakeSocket)
    received = bytes(listener.connection.received)
    return [number for _, number in frames_of(received[: len(received) // 400 * 400])]


def test_one_who_takes_nothing_is_let_go() -> None:
    radio = Radio()
    listener = radio.go_back(100, room=1000)
    radio.play(60)
    assert listener.gone is Goodbye.FELL_BEHIND


def test_one_at_the_oldest_end_is_moved_on_in_whole_frames() -> None:
    radio = Radio(ring_bytes=1 << 20)
    oldest = radio.mount.timeline.oldest
    assert oldest is not None
    blocked = radio.go_back(inf, room=1000)
    listener = radio.go_back(inf)
    listener.pace = Pace(oldest.time, radio.time.now)
    for _ in range(3000):  # live comes faster than the clock
        radio.time.now += FRAME_SECONDS / 4
        radio.encoder.feed()
        radio.pump.turn(radio.time.now)
    assert listener.gone is None
    assert listener.jumps > 0
    numbers = heard(listener)
    assert numbers == sorted(set(numbers))
    assert blocked.gone in (None, Goodbye.FELL_BEHIND)


def test_no_format_is_heard_behind_another() -> None:
    """Even of who came while nobody knew yet what the next source sends."""
    radio = Radio()
    mount = radio.mount
    mount.recognised(radio.encoder.source, Shape("mpeg"), "audio/mpeg")
    mount.release(radio.encoder.source)
    radio.play(1, silent=True)
    radio.encoder = Encoder(mount)
    mount.take_on(radio.encoder.source)
    radio.play(1, silent=True)
    live = Listener(mount, FakeSocket(), position=mount.ring.head, connected=radio.time.now)
    radio.pump.add(live)
    listener = radio.go_back(60)
    mount.recognised(radio.encoder.source, Shape("aac"), "audio/aac")
    assert listener.gone is Goodbye.FORMAT_CHANGED
    assert live.gone is None


def test_moved_to_another_mount_it_hears_what_is_live() -> None:
    radio = Radio()
    other = Mount("/other", settings(), radio.time.clock)
    encoder = Encoder(other)
    other.take_on(encoder.source)
    encoder.feed(400)
    listener = radio.go_back(60)
    radio.pump.move(listener, other)
    assert listener.mount is other
    assert listener.pace is None
    encoder.feed(1)
    assert listener in radio.pump.outlet(other).ready
    assert not radio.pump.outlet(radio.mount).rewound


def in_a_frame() -> tuple[Radio, Listener, FakeSocket]:
    """One who is slow, and whose pace was set anew just now."""
    radio = Radio()
    listener = radio.go_back(100, room=50_000)
    connection = listener.connection
    assert isinstance(connection, FakeSocket)
    before = listener.pace
    while listener.pace == before:
        radio.play(FRAME_SECONDS)
        if listener.blocked and radio.encoder.number % 50 == 0:
            connection.room = 1001
            radio.pump._writable(listener)
    assert len(connection.received) % 400
    assert not listener.caught_up, "it has a part of a frame"
    return radio, listener, connection


def test_who_is_moved_in_a_frame_has_it_whole_before() -> None:
    radio, listener, connection = in_a_frame()
    other = Mount("/other", settings(), radio.time.clock)
    encoder = Encoder(other)
    other.take_on(encoder.source)
    encoder.feed(400)
    before = heard_so_far(listener)
    radio.pump.move(listener, other)
    connection.room = None
    radio.pump._writable(listener)
    assert listener.mount is other
    numbers = heard(listener)  # whole frames all through
    assert numbers[: len(before) + 1] == [*before, before[-1] + 1]


def test_whose_time_is_over_in_a_frame_has_it_whole_before() -> None:
    radio, listener, connection = in_a_frame()
    listener.most_seconds = 1.0
    outlet = radio.pump.outlet(radio.mount)
    outlet.limited.add(listener)
    listener.connected = radio.time.now - 2.0
    outlet.end_overdue(radio.time.now)
    assert not connection.closed
    connection.room = None
    outlet.end_overdue(radio.time.now)
    assert listener.gone is Goodbye.LIMIT
    assert len(connection.received) % 400 == 0


@pytest.mark.parametrize(
    ("text", "wall"),
    [
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T02:01:00+02:00", 60.0),
        ("1970-01-01T02:01:00 02:00", 60.0),
        ("1970-01-01T00:01:00.250Z", 60.25),
        ("60", 60.0),
        ("60.25", 60.25),
    ],
)
def test_moments(text: str, wall: float) -> None:
    assert wall_time(text) == wall


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "1970-01-01T00:01:00", "1e9", "9" * 13, "1970-13-01T00:00:00Z", "nan"]
)
def test_no_moments(text: str) -> None:
    with pytest.raises(ClientError, match="a moment is written as"):
        wall_time(text)

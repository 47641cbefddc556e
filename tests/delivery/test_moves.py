"""Listeners who are moved from mount to mount while some of them take little at a time."""

from __future__ import annotations

import random
from itertools import groupby, pairwise

import pytest

from castd.config import Config, Current
from castd.delivery.listener import Listener
from castd.delivery.moves import Misfit, move_listeners, require_fit
from castd.delivery.pump import Pump
from castd.ingest.fallback import Fallbacks
from castd.mount.party import Goodbye
from castd.mount.registry import Registry
from castd.mount.shape import Shape
from castd.wire.framer import Head
from tests.delivery.fakes import FakePoller, FakeSocket
from tests.delivery.test_pump import Bench, numbers, socket
from tests.mount.fakes import Encoder, HandClock, frames_of, settings

MP3 = Shape("mpeg", "mp3", 44_100)


def two_mounts() -> Bench:
    bench = Bench(settings(), settings())
    for mount, encoder in zip(bench.mounts, bench.encoders, strict=True):
        mount.recognised(encoder.source, MP3, "audio/mpeg")
        encoder.feed(40)
    return bench


def feed(bench: Bench, count: int) -> None:
    for encoder in bench.encoders:
        encoder.feed(count)


def drain(bench: Bench, listeners: list[Listener]) -> None:
    """Let everybody take all there is."""
    for each in listeners:
        socket(each).room = None
        bench.poller.on_writable(each)
    bench.turn(1.0)


async def test_two_hundred_move_many_times_and_hear_whole_frames() -> None:
    dice = random.Random(4)
    bench = two_mounts()
    listeners = [bench.listen(room=dice.randrange(100, 3000) if i % 3 == 0 else None) for i in range(200)]
    here, to = bench.mounts
    for _ in range(20):
        feed(bench, 8)
        bench.turn(0.2)
        for each in listeners:
            fake = socket(each)
            if fake.room is not None:
                fake.room += dice.randrange(0, 4000)
                bench.poller.on_writable(each)
        await move_listeners(bench.pump, here, to, "admin")
        assert len(here.listeners) + len(to.listeners) == 200
        assert not [each for each in listeners if each.gone]
        here, to = to, here
    drain(bench, listeners)
    assert sum(len(mount.listeners) for mount in bench.mounts) == 200
    for each in listeners:
        received = frames_of(bytes(socket(each).received))
        for (mount, number), (next_mount, next_number) in pairwise(received):
            assert mount != next_mount or next_number == number + 1, "no gap and no repetition within a mount"
    assert {each.mount for each in listeners} == {here}, "who was late has arrived"
    assert sum(each.bytes_sent for each in listeners) == sum(mount.bytes_sent for mount in bench.mounts)


async def test_an_icy_listener_keeps_its_blocks_in_step() -> None:
    bench = two_mounts()
    listener = bench.listen(metaint=700)
    for mount, title in zip(bench.mounts, ("one", "two"), strict=True):
        mount.set_title(title)
    for start in (0, 1, 0):
        feed(bench, 8)
        bench.turn(1.0)
        await move_listeners(bench.pump, bench.mounts[start], bench.mounts[1 - start], "admin")
    feed(bench, 8)
    bench.turn(1.0)
    found = numbers(listener)
    assert len(found) > 40, "deinterleaved, all are whole frames"
    assert listener.mount is bench.mounts[1]


async def test_a_listener_gets_the_headers_of_where_it_goes() -> None:
    bench = two_mounts()
    bench.encoders[1].feed(1, head=Head(b"[h:00000000].;", "opus", 48_000, 2, b""))
    bench.encoders[1].feed(8)
    listener = bench.listen()
    bench.mounts[1].shape = MP3
    await move_listeners(bench.pump, bench.mounts[0], bench.mounts[1], "admin")
    assert b"[h:00000000].;" in bytes(socket(listener).received)


async def test_a_move_that_would_stop_players_is_refused() -> None:
    bench = two_mounts()
    here, listener = bench.mounts[0], bench.listen()
    bench.mounts[1].shape = Shape("ogg", "opus", 48_000)
    with pytest.raises(Misfit, match="/m0 is mpeg mp3 44100 Hz, /m1 is ogg opus 48000 Hz"):
        await move_listeners(bench.pump, bench.mounts[0], bench.mounts[1], "admin")
    bench.mounts[1].release(bench.encoders[1].source)
    with pytest.raises(Misfit, match="/m1 has no source"):
        require_fit(bench.mounts[0], bench.mounts[1])
    assert listener.mount is here


async def test_who_is_moved_back_before_it_has_gone_stays() -> None:
    bench = two_mounts()
    listener = bench.listen(room=10)
    await move_listeners(bench.pump, bench.mounts[0], bench.mounts[1], "admin")
    assert listener.bound_for is bench.mounts[1]
    bench.pump.move(listener, bench.mounts[0])
    drain(bench, [listener])
    assert {mount for mount, _ in frames_of(bytes(socket(listener).received))} == {"/m0"}


async def test_the_mount_closes_before_a_slow_listener_has_gone() -> None:
    bench = two_mounts()
    slow, fast = bench.listen(room=1000), bench.listen()
    await move_listeners(bench.pump, bench.mounts[0], bench.mounts[1], "admin")
    bench.mounts[0].close(Goodbye.SOURCE_ENDED)
    assert slow.gone is None
    assert fast.gone is None
    drain(bench, [slow, fast])
    feed_other = bench.encoders[1]
    feed_other.feed(8)
    bench.turn(1.0)
    for each in (slow, fast):
        received = frames_of(bytes(socket(each).received))
        assert received[-1] == ("/m1", 47)


def by_source(frame: tuple[str, int]) -> tuple[str, int]:
    """The mount, and which hundred: each encoder of a mount has its own."""
    mount, number = frame
    return mount, number // 100 if mount == "/live" else 0


async def test_two_hundred_hear_fallbacks_and_takeovers() -> None:
    """A third of them takes a part of each send only. Nobody is dropped, every frame is whole, and within a stretch of
    one source none is missing or repeated."""
    dice = random.Random(7)
    time = HandClock()
    current = Current(Config(mounts={"/live": {"fallback": "/auto", "lag_seconds": 60.0, "ring_seconds": 120.0}}))
    registry = Registry(current, time.clock)
    poller = FakePoller()
    pump = Pump(current, poller)
    fallbacks = Fallbacks(current, registry)
    auto = Encoder(registry.open("/auto"))
    auto.mount.take_on(auto.source)
    auto.mount.recognised(auto.source, MP3, "audio/mpeg")
    auto.feed(40)
    fallbacks.settle_all()
    live = registry.mounts["/live"]
    listeners = []
    for number in range(200):
        entry = live.join_point()
        assert entry is not None
        fake = FakeSocket(dice.randrange(100, 3000) if number % 3 == 0 else None)
        listeners.append(Listener(live, fake, position=entry.position, connected=time.now))
        pump.add(listeners[-1])

    def pass_time() -> None:
        time.now += 0.2
        while pump.turn(time.now) == time.now:
            pass
        for each in listeners:
            fake = socket(each)
            if fake.room is not None:
                fake.room += dice.randrange(0, 5000)
                poller.on_writable(each)

    for turn in range(20):
        encoder, rival = Encoder(live), Encoder(live)
        for feeder, priority in ((encoder, 0), (rival, 5)):
            feeder.number = 1000 * (2 * turn + 1) + 100 * priority
            feeder.source.priority = priority
        live.take_on(encoder.source)
        live.recognised(encoder.source, MP3, "audio/mpeg")
        for _ in range(3):
            encoder.feed(8)
            auto.feed(8)
            pass_time()
        live.take_on(rival.source)  # a takeover by who goes before it, for a while
        live.recognised(rival.source, MP3, "audio/mpeg")
        for _ in range(2):
            rival.feed(8)
            encoder.feed(8)
            pass_time()
        for feeder in (rival, encoder):
            live.release(feeder.source)
        assert [source.fallback for source in live.sources] == ["/auto"]
        for _ in range(3):
            auto.feed(8)
            pass_time()
        assert len(live.listeners) == registry.listeners == 200
    for each in listeners:
        socket(each).room = None
        poller.on_writable(each)
    pass_time()
    assert not [each for each in listeners if each.gone or each.jumps]
    for each in listeners:
        received = frames_of(bytes(socket(each).received))
        assert received[-1][0] == "/auto"
        stretches = [list(group) for _, group in groupby(received, key=by_source)]
        assert len(stretches) >= 41
        for stretch in stretches:
            assert all(b == a + 1 for (_, a), (_, b) in pairwise(stretch))

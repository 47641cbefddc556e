"""The pump over many listeners, by turns: who is walked, who is left alone, who is moved forward."""

from __future__ import annotations

import random
from itertools import pairwise
from math import inf

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from castd.config import Config, Current, MountSettings
from castd.delivery.listener import Listener
from castd.delivery.pump import SLICE, Pump
from castd.mount.mount import Clock, Mount
from castd.mount.party import Goodbye
from castd.wire.framer import Head
from tests.delivery.fakes import FakePoller, FakeSocket
from tests.delivery.icy import deinterleave
from tests.mount.fakes import Encoder, HandClock, frames_of, settings


class Bench:
    """A pump, mounts on a hand-set clock, and listeners on fake sockets."""

    def __init__(self, *chosen: MountSettings) -> None:
        self.time = HandClock()
        self.poller = FakePoller()
        self.pump = Pump(Current(Config()), self.poller)
        self.mounts = [Mount(f"/m{i}", each, self.time.clock) for i, each in enumerate(chosen or (settings(),))]
        self.encoders = [Encoder(mount) for mount in self.mounts]
        for mount, encoder in zip(self.mounts, self.encoders, strict=True):
            mount.sources.append(encoder.source)
            mount._begin(encoder.source)

    def listen(self, mount: int = 0, room: int | None = None, metaint: int = 0, pending: bytes = b"") -> Listener:
        here = self.mounts[mount]
        entry = here.join_point()
        assert entry is not None
        listener = Listener(
            here, FakeSocket(room), position=entry.position, pending=pending, metaint=metaint, connected=self.time.now
        )
        self.pump.add(listener)
        return listener

    def turn(self, seconds: float = 0.0) -> float:
        """Let time pass, then turn until nothing is cut short."""
        self.time.now += seconds
        while (due := self.pump.turn(self.time.now)) == self.time.now:
            pass
        return due


def socket(listener: Listener) -> FakeSocket:
    assert isinstance(listener.connection, FakeSocket)
    return listener.connection


def numbers(listener: Listener) -> list[int]:
    metaint = listener.icy.metaint if listener.icy else 0
    audio, _ = deinterleave(bytes(socket(listener).received), metaint)
    return [number for _, number in frames_of(audio)]


def test_everybody_gets_everything_and_only_when_there_is_news() -> None:
    bench = Bench()
    bench.encoders[0].feed(10)
    listeners = [bench.listen() for _ in range(3)]
    assert bench.turn() == inf
    sends = [socket(each).sends for each in listeners]
    bench.turn(1.0)
    assert [socket(each).sends for each in listeners] == sends, "silence costs no call"
    bench.encoders[0].feed(3)
    bench.turn(1.0)
    assert all(numbers(each) == list(range(13)) for each in listeners)


def test_mounts_are_served_no_sooner_than_their_interval() -> None:
    bench = Bench()
    listener = bench.listen()
    calls = []
    for _ in range(100):  # a frame every 10 ms for a second
        bench.encoders[0].feed(1)
        before = socket(listener).sends
        bench.turn(0.010)
        calls.append(socket(listener).sends - before)
    assert 15 <= sum(calls) <= 21
    bench.turn(0.1)
    assert numbers(listener) == list(range(100))


@pytest.mark.parametrize(("listeners", "seconds"), [(1, 0.05), (1000, 0.45), (20_000, 1.0)])
def test_the_interval_grows_with_the_listeners(listeners: int, seconds: float) -> None:
    bench = Bench()
    outlet = bench.pump.outlet(bench.mounts[0])
    bench.pump._plan(outlet, 1000.0, listeners)
    assert outlet.due - 1000.0 == pytest.approx(seconds, abs=0.0126)
    assert outlet.latest - 1000.0 == pytest.approx(min(seconds + min(seconds, 0.1), 1.0), abs=0.0126)


def test_a_mount_may_ask_for_low_latency() -> None:
    bench = Bench(settings(send_interval_max_seconds=0.1))
    outlet = bench.pump.outlet(bench.mounts[0])
    bench.pump._plan(outlet, 1000.0, 20_000)
    assert outlet.due - 1000.0 == pytest.approx(0.1, abs=0.0126)
    assert outlet.latest - 1000.0 == pytest.approx(0.1, abs=0.0126), "the longest interval it may have"


async def test_a_mount_that_is_due_goes_with_its_source(autojump_clock: trio.testing.MockClock) -> None:
    """One wake-up serves both; where the source pauses, listeners wait for no more of it."""
    pump = Pump(Current(Config()), FakePoller())
    mount = Mount("/live", settings(), Clock(monotonic=trio.current_time, wall=trio.current_time))
    encoder = Encoder(mount)
    mount.sources.append(encoder.source)
    mount._begin(encoder.source)
    encoder.feed(20)
    listeners = [Listener(mount, FakeSocket(10**9), position=mount.ring.head) for _ in range(100)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        for each in listeners:
            pump.add(each)
        await trio.sleep(1)
        turns, served = pump.turns, []
        for _ in range(20):
            encoder.feed(4)
            sends = socket(listeners[0]).sends
            await trio.sleep(0.104)
            served.append(socket(listeners[0]).sends - sends)
        assert served == [1, 0] * 10, "0.14 s are over at every second write"
        assert pump.turns - turns <= 30
        encoder.feed(4)
        await trio.sleep(0.13)
        encoder.feed(1)
        await trio.sleep(0.12)
        assert listeners[0].caught_up, "though the source is silent"
        nursery.cancel_scope.cancel()


def test_a_walk_is_cut_into_slices() -> None:
    bench = Bench()
    bench.encoders[0].feed(1)
    listeners = [bench.listen() for _ in range(SLICE + 10)]
    bench.encoders[0].feed(1)
    bench.time.now += 5
    assert bench.pump.turn(bench.time.now) == bench.time.now
    assert sum(numbers(each) == [0, 1] for each in listeners) == SLICE
    assert bench.pump.turn(bench.time.now) == inf
    assert all(numbers(each) == [0, 1] for each in listeners)


def test_stalled_listeners_cost_nothing() -> None:
    """Not one call for them, whatever the number of turns, until their socket is writable."""
    bench = Bench()
    bench.encoders[0].feed(4)
    stalled = [bench.listen(room=100) for _ in range(50)]
    reading = bench.listen()
    for _ in range(100):
        bench.encoders[0].feed(2)
        bench.turn(0.1)
    assert bench.pump.served <= 101, "only the one that reads is walked"
    assert all(socket(each).sends == 1 for each in stalled)
    assert numbers(reading) == list(range(204))
    for each in stalled:
        socket(each).room = None
        bench.poller.writable(each)
    assert all(numbers(each) == list(range(204)) for each in stalled)
    bench.encoders[0].feed(1)
    bench.turn(1.0)
    assert all(numbers(each) == list(range(205)) for each in stalled), "and they are walked again"


def test_a_broken_connection_ends_only_itself() -> None:
    bench = Bench()
    bench.encoders[0].feed(1)
    listeners = [bench.listen() for _ in range(5)]
    socket(listeners[1]).broken = ConnectionResetError()
    socket(listeners[3]).broken = TimeoutError()
    bench.encoders[0].feed(1)
    bench.turn(1.0)
    assert [each.gone for each in listeners] == [None, Goodbye.RESET, None, Goodbye.VANISHED, None]
    assert len(bench.mounts[0].listeners) == 3
    assert all(numbers(each) == [0, 1] for each in listeners[::2])


def test_a_bug_in_one_listener_costs_nobody_else(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    bench.encoders[0].feed(1)
    listeners = [bench.listen() for _ in range(3)]

    def fail(anything: object) -> None:
        raise ValueError("no socket does this")

    monkeypatch.setattr(socket(listeners[1]), "send", fail)
    listeners[2].on_gone.append(fail)
    bench.encoders[0].feed(1)
    bench.turn(1.0)
    listeners[2].end(Goodbye.KICKED)
    assert [each.gone for each in listeners] == [None, Goodbye.FAILED, Goodbye.KICKED]
    assert numbers(listeners[0]) == [0, 1]
    assert socket(listeners[2]).closed
    assert len(caplog.records) == 2


def test_a_mount_that_closes_gives_everybody_the_rest() -> None:
    bench = Bench()
    listener = bench.listen()
    bench.encoders[0].feed(7)
    bench.mounts[0].close(Goodbye.SOURCE_ENDED)
    assert numbers(listener) == list(range(7))
    assert listener.gone is Goodbye.SOURCE_ENDED


def stall(bench: Bench, seconds: float) -> None:
    """Let audio flow while nobody stalled takes any."""
    for _ in range(round(seconds / 0.1)):
        bench.encoders[0].feed(4)
        bench.turn(0.1)


@pytest.mark.parametrize("metaint", [0, 150, 5000])
def test_who_falls_behind_jumps_to_an_entry_with_whole_frames(metaint: int) -> None:
    bench = Bench(settings(burst_seconds=2.0, lag_seconds=10.0))
    bench.encoders[0].feed(200)
    listener = bench.listen(room=1234, metaint=metaint)
    stall(bench, 7.9)  # it began 2 s behind
    assert listener.jumps == 0
    stall(bench, 0.3)
    assert listener.jumps == 1
    socket(listener).room = None
    bench.poller.writable(listener)
    got = numbers(listener)
    gaps = [(a, b) for a, b in pairwise(got) if b != a + 1]
    assert len(gaps) == 1
    assert gaps[0][1] in bench.encoders[0].entries
    assert got[-1] == bench.encoders[0].number - 1
    # from 10 s behind to a burst behind; less the frames it was given to finish what it had begun
    assert 7.5 <= (gaps[0][1] - gaps[0][0]) * 0.025 <= 8.2
    assert bench.mounts[0].slow_listeners == 1


def test_who_takes_nothing_at_all_is_let_go_at_the_second_lag() -> None:
    bench = Bench(settings(burst_seconds=2.0, lag_seconds=10.0))
    bench.encoders[0].feed(100)
    listener = bench.listen(room=50)
    stall(bench, 11.0)
    assert listener.gone is None
    assert listener.jumps == 1
    stall(bench, 10.0)
    assert listener.gone is Goodbye.FELL_BEHIND


def test_the_drop_policy_lets_go_at_once() -> None:
    bench = Bench(settings(lag_seconds=10.0, lag_policy="drop"))
    bench.encoders[0].feed(100)
    listener = bench.listen(room=50)
    stall(bench, 11.0)
    assert listener.gone is Goodbye.FELL_BEHIND
    assert socket(listener).closed


@pytest.mark.parametrize("chained", [False, True])
def test_a_jump_brings_the_headers_of_another_link_and_only_these(chained: bool) -> None:
    bench = Bench(settings(burst_seconds=1.0, lag_seconds=5.0))
    first, second = (Head(f"[/h:{i:08d}]..;".encode(), "opus", 48000, 2, b"") for i in range(2))
    bench.encoders[0].feed(4, head=first)
    bench.encoders[0].feed(40)
    listener = bench.listen(room=50)
    stall(bench, 3.0)
    bench.encoders[0].feed(4, head=second if chained else None)
    stall(bench, 2.0)
    assert listener.jumps == 1
    socket(listener).room = None
    bench.poller.writable(listener)
    received = socket(listener).received
    assert first.data not in received
    assert (second.data in received) is chained
    audio = frames_of(bytes(received))
    assert audio[-1] == ("/m0", bench.encoders[0].number - 1)


def test_a_listener_mid_frame_is_rescued_before_its_bytes_are_overwritten() -> None:
    """A 64 KiB ring and a source that fills it at once: the lag limit is far, the ring is not."""
    bench = Bench(settings(ring_bytes=65_536, burst_seconds=0.5, lag_seconds=50.0))
    bench.encoders[0].feed(100)
    stalled, reading = bench.listen(room=333), bench.listen()
    for _ in range(5):
        bench.encoders[0].feed(150)  # 60,000 bytes, no turn in between
    assert reading.jumps == 0
    assert numbers(reading) == list(range(80, 700)), "given what was about to go"
    bench.turn(1.0)
    assert numbers(reading)[-1] == 849
    socket(stalled).room = None
    bench.poller.writable(stalled)
    if stalled.gone is None:
        got = numbers(stalled)
        assert got[-1] == 849


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0, 97, 1600]), st.sampled_from([65_536, 1 << 18]))
def test_chaos(seed: int, metaint: int, ring_bytes: int) -> None:
    """Listeners who join, leave, stall and sip at random: each has whole frames, from its join on, exactly once, and
    every break in them is a counted jump to an entry."""
    rng = random.Random(seed)
    bench = Bench(settings(ring_bytes=ring_bytes, burst_seconds=0.5, lag_seconds=3.0))
    encoder = bench.encoders[0]
    encoder.sizes = (400, 1044, 37, 209)
    encoder.feed(50)
    everybody = []
    for _ in range(rng.randrange(20, 120)):
        encoder.feed(rng.randrange(1, 40))
        if rng.random() < 0.4:
            everybody.append(bench.listen(room=rng.choice([None, 0, 1, 5000]), metaint=metaint))
        for listener in rng.sample(everybody, len(everybody) // 3):
            if listener.gone is not None:
                continue
            if rng.random() < 0.1:
                listener.end(Goodbye.LEFT)
            else:
                socket(listener).room = rng.choice([None, 0, 7, 400, 20_000])
                if listener in bench.poller.waiting and socket(listener).room != 0:
                    bench.poller.writable(listener)
        bench.turn(rng.choice([0.0, 0.05, 0.5]))
    live = [each for each in everybody if each.gone is None]
    for listener in live:
        socket(listener).room = None
    for seconds in (0.0, 5.0):
        for listener in live:
            while (
                listener.blocked and listener.gone is None
            ):  # more than one call where there are more buffers than one takes
                bench.poller.writable(listener)
        bench.turn(seconds)
    for listener in live:
        while listener.blocked and listener.gone is None:
            bench.poller.writable(listener)
    assert set(bench.mounts[0].listeners.values()) == set(live)
    for listener in live:
        got = numbers(listener)
        breaks = [(a, b) for a, b in pairwise(got) if b != a + 1]
        assert got[-1] == encoder.number - 1
        assert got[0] in encoder.entries
        assert all(b > a and b in encoder.entries for a, b in breaks)
        assert len(breaks) <= listener.jumps
        assert listener.bytes_sent == len(socket(listener).received)

"""A mount through its sources' comings and goings."""

from __future__ import annotations

import os

import pytest

from castd.config import Config, Current
from castd.mount.mount import GROW_AGAIN_SECONDS, FrameTooLarge, Mount
from castd.mount.party import Goodbye
from castd.mount.registry import Registry
from castd.wire.framer import Entry, Run
from tests.mount.fakes import FRAME_SECONDS, Encoder, HandClock, frames_of, settings, source


def mount(**changed: float | int | str) -> Mount:
    return Mount("/m", settings(**changed), HandClock().clock)  # type: ignore[arg-type]


def waits(here: Mount) -> bool:
    return here.lost is not None


def test_media_time_goes_on_over_a_gap_and_audio_is_contiguous() -> None:
    here = mount()
    first, second = Encoder(here), Encoder(here)
    with here.claim(first.source):
        first.feed(8)
    assert waits(here)
    assert here.timeline.end == pytest.approx(8 * FRAME_SECONDS)
    with here.claim(second.source):
        assert not waits(here)
        second.feed(4)
    assert here.timeline.end == pytest.approx(12 * FRAME_SECONDS)
    numbers = [number for _, number in frames_of(here.ring.read(0, here.ring.head))]
    assert numbers == [*range(8), *range(4)]


def test_a_framer_that_starts_late_does_not_move_the_clock() -> None:
    """A standby's framer has been counting before its source feeds the ring."""
    here = mount()
    encoder = Encoder(here)
    with here.claim(encoder.source):
        here.append(encoder.source, Run(b"x", 100.0, 100.5))
        assert here.timeline.end == pytest.approx(0.5)


def test_the_higher_priority_feeds_and_the_standby_is_discarded() -> None:
    here = mount()
    low, high = Encoder(here), Encoder(here)
    high.source.priority = 5
    with here.claim(low.source):
        low.feed(2)
        with here.claim(high.source):
            assert here.source is low.source  # until there is something to be heard instead
            low.feed(1)
            high.feed(1)
            assert here.source is high.source
            low.feed(1)
        assert here.source is low.source
        low.feed(1)
    numbers = [number for _, number in frames_of(here.ring.read(0, here.ring.head))]
    assert numbers == [0, 1, 2, 0, 4]


def test_a_run_larger_than_the_ring_is_refused_whole() -> None:
    here = mount(ring_bytes=65_536)
    encoder = Encoder(here)
    with here.claim(encoder.source), pytest.raises(FrameTooLarge, match="does not fit"):
        here.append(encoder.source, Run(bytes(65_537), 0.0, 1.0))
    assert here.ring.head == 0


def test_the_ring_grows_to_its_seconds_and_stops_at_its_bytes() -> None:
    here = mount(ring_seconds=30.0, ring_bytes=4 << 20)
    encoder = Encoder(here, sizes=(4000,))  # 160 kB/s: 30 s are 4.8 MB
    with here.claim(encoder.source):
        for _ in range(400):
            encoder.feed(10)
        assert here.ring.capacity == 4 << 20
        assert here.timeline.oldest is not None
        assert here.timeline.end - here.timeline.oldest.time > 25
    slow = mount(ring_seconds=30.0, ring_bytes=4 << 20)
    encoder = Encoder(slow, sizes=(400,))  # 16 kB/s: 30 s are 480 kB
    with slow.claim(encoder.source):
        for _ in range(400):
            encoder.feed(10)
        assert slow.ring.capacity == 512 * 1024


def test_measured_bitrate() -> None:
    here = mount()
    encoder = Encoder(here)
    with here.claim(encoder.source):
        encoder.feed(40)
        assert here.measured_bitrate == 0
        encoder.feed(200)
        assert here.measured_bitrate == pytest.approx(400 * 8 / FRAME_SECONDS, rel=0.02)


def test_ending_is_once_and_the_first_reason_stands() -> None:
    stopped = []
    here = source()
    here.stop = lambda: stopped.append(1)
    here.end(Goodbye.KICKED)
    here.end(Goodbye.DRAINED)
    assert (here.gone, stopped) == (Goodbye.KICKED, [1])


def test_reaping_waits_for_the_linger_time() -> None:
    time = HandClock()
    registry = Registry(Current(Config()), time.clock)
    here = registry.open("/live")
    assert registry.open("/live") is here
    with here.claim(source()):
        time.now += 100
        assert registry.reap() == []
        assert registry.sources == 1
    time.now += 29.9
    assert registry.reap() == []
    time.now += 0.2
    assert registry.reap() == [here]
    assert registry.get("/live") is None


@pytest.mark.parametrize(
    ("frame_bytes", "burst_bytes", "seconds"),
    [
        (400, 0, 4.0),
        (400, 32_768, 4.05),  # 16 kB/s: the block is 2.05 s
        (200, 32_768, 6.1),
        (50, 32_768, 10.0),  # 2 kB/s: as far as half of lag_seconds
    ],
)
def test_the_burst_holds_a_block_of_a_slow_stream(frame_bytes: int, burst_bytes: int, seconds: float) -> None:
    here = mount(burst_seconds=4.0, burst_bytes=burst_bytes, lag_seconds=20.0)
    encoder = Encoder(here, sizes=(frame_bytes,))
    with here.claim(encoder.source):
        for _ in range(100):
            encoder.feed(10)
        entry = here.join_point()
        assert entry is not None
        assert here.timeline.end - entry.time == pytest.approx(seconds, abs=0.15)


def test_no_burst_means_none() -> None:
    here = mount(burst_seconds=0.0, burst_bytes=32_768)
    encoder = Encoder(here)
    with here.claim(encoder.source):
        for _ in range(100):
            encoder.feed(10)
        entry = here.join_point()
        assert entry is not None
        assert here.timeline.end - entry.time <= 0.1


def test_a_stream_without_time_makes_no_entry_a_byte() -> None:
    """An unknown type sent byte by byte: the timeline stays short."""
    time = HandClock()
    here = Mount("/m", settings(), time.clock)
    feeder = source("application/x-unknown")
    with here.claim(feeder):
        for _ in range(1000):
            time.now += 0.001
            here.append(feeder, Run(b"x", None, None, (Entry(0, 0.0),)))
        entries = [here.timeline.next_entry(position) for position in range(1000)]
    assert 9 <= len({entry.position for entry in entries if entry}) <= 11


@pytest.mark.parametrize(
    "error", [OSError(12, "Cannot allocate memory"), OSError(24, "Too many open files"), MemoryError()]
)
def test_no_memory_for_a_larger_ring_keeps_the_one_there_is(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    time = HandClock()
    here = Mount("/live", settings(), time.clock)
    encoder = Encoder(here)

    def no_memory(capacity: int) -> None:
        raise error

    with here.claim(encoder.source):
        with monkeypatch.context() as patch:
            patch.setattr(here.ring, "grow", no_memory)
            for _ in range(100):
                encoder.feed(10)
        assert here.ring.capacity == 256 * 1024
        oldest = here.timeline.oldest
        assert oldest
        assert frames_of(here.ring.read(oldest.position, here.ring.head))
        assert caplog.text.count("the ring stays at 262144 bytes") == 1
        encoder.feed(10)
        assert here.ring.capacity == 256 * 1024, "it is not tried all the time"
        time.now += GROW_AGAIN_SECONDS
        for _ in range(60):
            encoder.feed(10)
        assert here.ring.capacity > 256 * 1024


def test_the_time_of_streams_without_time_goes_on_from_source_to_source() -> None:
    time = HandClock()
    here = Mount("/m", settings(), time.clock)
    for _ in range(2):
        feeder = source("application/x-unknown")
        before = here.timeline.end
        with here.claim(feeder):
            for _ in range(100):
                here.append(feeder, Run(b"x" * 100, None, None, (Entry(0, 0.0),)))
                time.now += 1.0
        assert here.timeline.end == pytest.approx(before + 99)
    timed = Encoder(here)
    with here.claim(timed.source):
        timed.feed(40)
    assert here.timeline.end == pytest.approx(2 * 99 + 40 * FRAME_SECONDS)


@pytest.mark.parametrize("later", [500_000.0, -500_000.0])
def test_time_goes_on_in_a_process_whose_clock_is_another(later: float) -> None:
    """Where frames have no times, the clock's are taken: its difference is no audio."""
    old, new = HandClock(), HandClock()
    before = Mount("/m", settings(), old.clock)
    before.take_on(source("application/octet-stream"))
    piece = Run(b"x" * 100, None, None, (Entry(0, 0.0),))
    for _ in range(100):
        old.now += 0.1
        before.append(before.sources[0], piece)
    state = before.state()
    state.later(later)
    new.now = old.now + later
    after = Mount("/m", settings(), new.clock)
    after.go_on_from(state, os.dup(before.ring.descriptor))
    for _ in range(10):
        new.now += 0.1
        after.append(after.sources[0], piece)
    assert abs(after.timeline.end - before.timeline.end - 1) < 0.01

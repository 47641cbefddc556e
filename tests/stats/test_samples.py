"""A source's health: bitrate, gaps, drift; through a fallback's turn, and into the next process."""

from __future__ import annotations

import msgspec
import pytest

from castd.config import Config, Current
from castd.mount.party import Source, SourceState
from castd.mount.registry import Registry
from castd.stats.samples import Health, Samples
from tests.mount.fakes import FRAME_SECONDS, Encoder, HandClock

FRAME = 400
SECOND = round(1 / FRAME_SECONDS)
BITRATE = SECOND * FRAME * 8


class Bench:
    """A mount that is looked at every second, as long as time is let pass."""

    def __init__(self) -> None:
        self.clock = HandClock()
        config = Config(mounts={"default": {"silence_fallback": True, "silence_seconds": 5.0}})
        registry = Registry(Current(config), self.clock.clock)
        self.samples = Samples(registry)
        self.mount = registry.open("/m")

    def encoder(self, fallback: str = "") -> Encoder:
        encoder = Encoder(self.mount)
        encoder.source.fallback = fallback
        self.mount.take_on(encoder.source)
        return encoder

    def second(self, *encoders: Encoder, frames: int = SECOND) -> None:
        """Each sends so many frames, and a second has passed."""
        for encoder in encoders:
            run = encoder.run(frames)
            encoder.source.bytes_received += len(run.data)
            encoder.mount.append(encoder.source, run)
        self.samples.look()
        self.clock.now += 1.0

    @property
    def health(self) -> Health:
        found = self.samples.health(self.mount)
        assert found is not None
        return found


def test_bitrates_of_ten_seconds_each() -> None:
    bench = Bench()
    encoder = bench.encoder()
    for _ in range(31):
        bench.second(encoder)
    assert bench.health.bitrates == [BITRATE] * 3
    for _ in range(10):
        bench.second(encoder, frames=SECOND // 2)
    assert bench.health.bitrates[-1] == pytest.approx(BITRATE / 2, rel=0.06)


def test_a_gap_is_one_however_long() -> None:
    bench = Bench()
    encoder = bench.encoder()
    for _ in range(5):
        bench.second(encoder)
    for _ in range(6):
        bench.second()
    assert bench.health.gaps == 1
    assert bench.health.last_frame_seconds == pytest.approx(7.0)
    assert bench.health.drift_seconds == pytest.approx(0.0, abs=0.01), "nothing is known of what is still to come"
    bench.second(encoder)
    assert bench.health.drift_seconds == pytest.approx(-6.0, abs=0.01)
    for _ in range(3):
        bench.second()
    assert bench.health.gaps == 2


def test_an_encoder_with_a_fast_clock() -> None:
    bench = Bench()
    encoder = bench.encoder()
    for _ in range(60):
        bench.second(encoder, frames=SECOND + 1)
    assert bench.health.drift_seconds == pytest.approx(59 * FRAME_SECONDS, abs=0.01)


def test_what_a_fallback_played_is_nobody_elses_drift() -> None:
    bench = Bench()
    encoder, fallback = bench.encoder(), bench.encoder("/other")
    for _ in range(20):
        bench.second(encoder, fallback)
    for level in (-70.0, -20.0):
        for _ in range(5):
            bench.mount.hear(encoder.source, level, level, 1.0)
        for _ in range(20):
            bench.second(encoder)
            bench.second(encoder, fallback, frames=SECOND * 2 if level > -50 else SECOND)
    assert bench.mount.source is encoder.source
    assert bench.health.drift_seconds == pytest.approx(20.0, abs=2.0), "its own, since it is heard again"


def test_it_goes_on_in_another_process() -> None:
    bench = Bench()
    encoder = bench.encoder()
    for _ in range(25):
        bench.second(encoder, frames=SECOND + 1)
    before = bench.health
    (state,) = [each.state() for each in bench.mount.sources]
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=SourceState)
    state.later(100.0)
    bench.clock.now += 100.0
    bench.mount.appended += 100.0
    encoder.source = Source.of(state)
    bench.mount.sources = [encoder.source]
    assert bench.health == before
    for _ in range(20):
        bench.second(encoder, frames=SECOND + 1)
    assert bench.health.drift_seconds == pytest.approx(44 * FRAME_SECONDS, abs=0.01)
    assert len(bench.health.bitrates) == 4

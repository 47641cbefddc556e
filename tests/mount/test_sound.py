"""When a source is silent, when it is back, and who is heard meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from castd.mount.mount import Mount
from castd.mount.observer import Observer
from castd.mount.party import Source, SourceState
from castd.mount.sound import NOTHING_DBFS, RETURN_SECONDS, Sound
from tests.mount.fakes import Encoder, HandClock, frames_of, settings, source

SETTINGS = replace(settings(), silence_seconds=5.0, silence_dbfs=-50.0, silence_fallback=True)


class Witness(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []

    def source_silent(self, mount: Mount, source: Source) -> None:
        self.seen.append(("silent", source.sound.quiet_seconds))

    def source_sounding(self, mount: Mount, source: Source) -> None:
        self.seen.append(("sounding", source.sound.last_silence_seconds))


def heard(levels: Sequence[float | None]) -> list[bool]:
    """Whether it is silent after each second."""
    sound, found = Sound(), []
    for level in levels:
        sound.hear(level, level, 1.0, SETTINGS)
        found.append(sound.silent)
    return found


def test_quiet_for_long_is_silent() -> None:
    assert heard([-20.0, *[-60.0] * 6]) == [False] * 5 + [True] * 2


def test_pauses_of_speech_are_not() -> None:
    assert not any(heard([-60.0, -70.0, -60.0, -70.0, -30.0] * 10))


def test_what_nobody_can_tell_sounds() -> None:
    assert not any(heard([None] * 20))
    assert heard([NOTHING_DBFS] * 5 + [None] * 3) == [False] * 4 + [True] * 3 + [False]


def test_a_click_does_not_end_a_silence() -> None:
    clicks = [-60.0] * 5 + [-10.0, -60.0, -10.0, -10.0, -60.0] * 4
    assert heard(clicks)[4:] == [True] * 21


def test_sound_for_a_while_does() -> None:
    assert heard([-60.0] * 5 + [-30.0] * 4) == [False] * 4 + [True] * 3 + [False] * 2


def test_it_changes_no_oftener_than_that() -> None:
    """However it comes and goes: between two changes there are silence_seconds, or RETURN_SECONDS."""
    levels: list[float | None] = []
    for turn in range(1, 40):
        levels += [-60.0] * (turn % 8) + [-20.0] * (turn % 5)
    states = heard(levels)
    changes = [at for at in range(1, len(states)) if states[at] != states[at - 1]]
    assert len(changes) > 4
    for at, then in itertools.pairwise(changes):
        assert then - at >= (RETURN_SECONDS if states[at] else SETTINGS.silence_seconds)


def silent_mount(witness: Observer, **changed: object) -> tuple[Mount, Encoder, Encoder]:
    """A mount with a silent encoder and a fallback that is ready."""
    mount = Mount("/m", replace(SETTINGS, **changed), HandClock().clock, witness)  # type: ignore[arg-type]
    live, other = Encoder(mount), Encoder(mount)
    other.source.fallback = "/other"
    mount.take_on(live.source)
    live.feed(4)
    mount.take_on(other.source)
    other.feed(4)
    for _ in range(5):
        mount.hear(live.source, -70.0, -60.0, 1.0)
    return mount, live, other


def test_the_fallback_is_heard_instead_and_the_encoder_again() -> None:
    witness = Witness()
    mount, live, other = silent_mount(witness)
    assert mount.source is other.source
    live.feed(4)
    other.feed(4)
    for _ in range(3):
        mount.hear(live.source, -20.0, -3.0, 1.0)
    assert mount.source is live.source
    other.feed(1)
    live.feed(5)  # an entry is the first thing heard of it
    assert not mount.needs_fallback
    assert witness.seen == [("silent", 5.0), ("sounding", 8.0)]
    numbers = [number for _, number in frames_of(mount.ring.read(0, mount.ring.head))]
    assert numbers == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_without_the_setting_nothing_changes_but_what_is_told() -> None:
    witness = Witness()
    mount, live, _ = silent_mount(witness, silence_fallback=False)
    assert witness.seen == [("silent", 5.0)]
    assert mount.source is live.source
    assert not mount.needs_fallback


def test_an_encoder_that_stands_by_goes_before_the_fallback() -> None:
    mount, _, _ = silent_mount(Observer())
    spare = Encoder(mount)
    spare.source.priority = -5
    mount.take_on(spare.source)
    spare.feed(4)
    assert mount.source is spare.source


def test_a_reload_that_switches_it_off_forgets_the_silence() -> None:
    mount, live, other = silent_mount(Observer())
    mount.reconfigure(replace(SETTINGS, silence_fallback=False))
    assert mount.source is live.source
    mount.reconfigure(SETTINGS)
    assert mount.source is other.source
    mount.reconfigure(replace(SETTINGS, silence_seconds=0.0))
    assert mount.source is live.source
    assert live.source.sound == Sound()


def test_another_process_goes_on_with_it() -> None:
    _, live, _ = silent_mount(Observer())
    live.source.steadiness.begun, live.source.steadiness.gaps = (10.0, 3.0), 2
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(live.source.state()), type=SourceState)
    state.later(5.0)
    again = Source.of(state)
    assert again.sound.silent
    assert again.steadiness.begun == (15.0, 3.0)
    assert again.steadiness.gaps == 2


def test_a_process_before_there_was_sound_can_hand_over() -> None:
    told = msgspec.to_builtins(source().state())
    del told["sound"], told["steadiness"]
    assert Source.of(msgspec.convert(told, SourceState)).sound == Sound()

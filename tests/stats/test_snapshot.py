"""Facts: the operator's words before the source's, the bytes' before both."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from castd.config import MountSettings
from castd.delivery.listener import Listener
from castd.mount.mount import Mount
from castd.mount.party import Description
from castd.stats.snapshot import listener_facts, mount_facts, source_facts
from castd.wire.tags import StreamInfo
from tests.delivery.fakes import FakeSocket
from tests.mount.fakes import Encoder, HandClock, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SAID = Description("audio/mpeg", name="N", description="D", genre="G", url="U", public=True, bitrate="128")


@contextmanager
def playing(said: Description = SAID, own: MountSettings | None = None) -> Iterator[tuple[Mount, Encoder, HandClock]]:
    """A mount with its source."""
    clock = HandClock()
    mount = Mount("/live", own or settings(), clock.clock)
    encoder = Encoder(mount)
    encoder.source.description = said
    with mount.claim(encoder.source):
        yield mount, encoder, clock


def test_before_the_first_source() -> None:
    facts = mount_facts(Mount("/live", settings(), HandClock().clock))
    assert (facts.name, facts.content_type, facts.codec, facts.bitrate, facts.public) == ("", "", "", 0, False)


def test_what_the_source_says() -> None:
    with playing() as (mount, _, _):
        facts = mount_facts(mount)
    assert (facts.name, facts.description, facts.genre, facts.url, facts.public) == ("N", "D", "G", "U", True)


def test_what_the_operator_says_goes_before_it() -> None:
    own = MountSettings(name="n", description="d", genre="g", url="u", public=False)
    with playing(own=own) as (mount, _, _):
        facts = mount_facts(mount)
    assert (facts.name, facts.description, facts.genre, facts.url, facts.public) == ("n", "d", "g", "u", False)


@pytest.mark.parametrize(
    ("bitrate", "audio_info", "expected"),
    [
        ("128", (), 128_000),
        ("", (("ice-bitrate", "96"),), 96_000),
        ("", (("bitrate", "64"),), 64_000),
        ("128", (("bitrate", "64"),), 128_000),
        ("-1e999", (), 0),
        ("9" * 50, (("bitrate", "9" * 50),), 0),
        ("\N{SUPERSCRIPT TWO}", (("bitrate", "x"),), 0),
    ],
)
def test_bitrate_in_words(bitrate: str, audio_info: tuple[tuple[str, str], ...], expected: int) -> None:
    said = replace(SAID, bitrate=bitrate, audio_info=audio_info)
    with playing(said) as (mount, _, _):
        assert mount_facts(mount).bitrate == expected


def test_the_frames_say_it_best_and_without_words_it_is_measured() -> None:
    with playing(replace(SAID, bitrate="")) as (mount, encoder, _):
        encoder.feed(200)  # 400 bytes in 0.025 s
        assert mount_facts(mount).bitrate == pytest.approx(128_000, rel=0.02)
        mount.info = StreamInfo("mp3", 192_000, 48_000, 2)
        facts = mount_facts(mount)
        assert (facts.codec, facts.bitrate, facts.sample_rate, facts.channels) == ("mp3", 192_000, 48_000, 2)


def test_a_listeners_lag_is_in_seconds_of_audio() -> None:
    with playing() as (mount, encoder, clock):
        listener = Listener(mount, FakeSocket(), position=0, address="192.0.2.7", agent="an ear", connected=clock.now)
        mount.join(listener)
        encoder.feed(80)
        clock.now += 2.5
        facts = listener_facts(mount, listener)
        assert (facts.mount, facts.address, facts.agent, facts.protocol) == ("/live", "192.0.2.7", "an ear", "http")
        assert facts.connected_seconds == 2.5
        assert facts.lag_seconds == pytest.approx(2.0, abs=0.11)
        listener.serve()
        facts = listener_facts(mount, listener)
        assert (facts.lag_seconds, facts.bytes_sent) == (0.0, 80 * 400)


def test_a_sources_silence() -> None:
    with playing() as (mount, encoder, clock):
        clock.now += 7.0
        encoder.source.received = clock.now
        clock.now += 3.25
        facts = source_facts(mount, encoder.source)
        assert (facts.connected_seconds, facts.silent_seconds) == (10.25, 3.25)

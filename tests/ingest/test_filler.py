"""Silence while nothing else is there: when it comes, for how long, and how much of it."""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from castd.config import Delivery
from castd.ingest import filler as filler_module
from castd.mount.party import Goodbye
from castd.wire.adts import AdtsFramer
from castd.wire.mpeg_audio import MpegAudioFramer
from castd.wire.ogg_pages import Page, PageCutter
from tests import xiph
from tests.support import FRAME_BYTES, FRAME_SECONDS, Bench, Encoder, bench, configured, frames, head, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from castd.mount.mount import Mount

FIXTURES = Path(__file__).parents[1] / "fixtures"

OGG = {"Content-Type": "audio/ogg"}


class Sitter:
    """A listener who is there and takes nothing."""

    address, agent, user, protocol = "192.0.2.9", "sitter/1", "", "http"
    bytes_sent = bytes_elsewhere = position = jumps = 0
    worst_lag_seconds = connected = 0.0
    ended_by = ""
    hears_past = False

    def __init__(self, mount: Mount) -> None:
        self.id = 1_000_000 + len(mount.listeners)
        self.gone: Goodbye | None = None
        self.mount = mount
        mount.join(self)

    def end(self, reason: Goodbye, by: str = "") -> None:
        self.gone = reason
        self.mount.leave(self)


@asynccontextmanager
async def radio(linger: float = 30.0, **mounts: dict[str, Any]) -> AsyncIterator[Bench]:
    """castd with these mounts ("/live", "/auto" and so on), its stand-ins, and the janitor as far as they need him."""
    config = configured(
        mounts={f"/{name}": each for name, each in mounts.items()}, delivery=Delivery(linger_seconds=linger)
    )
    async with bench(config) as castd, trio.open_nursery() as nursery:
        await nursery.start(castd.server.fallbacks.run)

        async def tidy() -> None:
            while True:
                await trio.sleep(1.0)
                castd.server.fallbacks.settle_all()
                castd.server.registry.reap()

        nursery.start_soon(tidy)
        yield castd
        nursery.cancel_scope.cancel()


async def on_air(castd: Bench, count: int = 200, mount: str = "/live") -> Encoder:
    """An encoder that has sent so many frames in their time."""
    encoder = await castd.encoder(mount)
    await play(encoder, count)
    return encoder


async def play(encoder: Encoder, count: int) -> None:
    for _ in range(count // 4):
        await encoder.push(4)
        await trio.sleep(4 * FRAME_SECONDS)


def silent(frame: bytes) -> bool:
    return not frame[4:].strip(b"\0")


def mp3_frames(audio: bytes) -> list[bytes]:
    assert len(audio) % FRAME_BYTES == 0
    return [audio[at : at + FRAME_BYTES] for at in range(0, len(audio), FRAME_BYTES)]


async def test_silence_is_as_long_as_the_encoder_is_away(autojump_clock: MockClock) -> None:
    async with radio(live=dict(filler="silence")) as castd:
        encoder = await on_air(castd)
        live = castd.mount("/live")
        sitter = Sitter(live)
        for away in (5.0, 1.5, 20.0):
            await encoder.close()
            lost, at, time = trio.current_time(), live.ring.head, live.timeline.end
            while trio.current_time() - lost < away:
                await trio.sleep(0.13)
                assert live.timeline.end - time <= trio.current_time() - lost + 4 * FRAME_SECONDS
            filled = live.timeline.end - time
            assert away - 0.3 < filled
            assert all(
                map(silent, mp3_frames(live.ring.read(max(at, live.ring.tail), live.ring.head)[-FRAME_BYTES * 40 :]))
            )
            assert [each.fallback for each in live.sources] == ["silence"]
            answer = await castd.ask(head("GET", "/api/v1/mounts/live"))
            assert '"state":"silence"' in answer.text
            end = live.ring.head
            encoder = await on_air(castd)
            assert live.ring.read(end, live.ring.head) == frames(0, 199), "nothing of silence after the encoder"
            assert [each.fallback for each in live.sources] == [""]
        assert sitter.gone is None


async def test_who_is_back_soon_is_heard_without_silence(autojump_clock: MockClock) -> None:
    async with radio(live=dict(filler="silence")) as castd:
        encoder = await on_air(castd)
        live = castd.mount("/live")
        Sitter(live)
        for _ in range(10):
            await encoder.close()
            await trio.sleep(0.8)
            end = live.ring.head
            encoder = await on_air(castd, 40)
            assert live.ring.read(end, live.ring.head) == frames(0, 39)


async def test_a_short_burst_is_filled_soon(autojump_clock: MockClock) -> None:
    """Players with half a second in hand get silence after a quarter; those with nothing, at once."""
    for burst in (0.5, 0.0):
        async with radio(live=dict(filler="silence", burst_seconds=burst)) as castd:
            encoder = await on_air(castd)
            live = castd.mount("/live")
            Sitter(live)
            await encoder.close()
            end = live.timeline.end
            await trio.sleep(burst / 2 + 0.35)
            assert live.timeline.end - end > burst / 2


async def test_silence_is_for_listeners(autojump_clock: MockClock) -> None:
    async with radio(live=dict(filler="silence")) as castd:
        encoder = await on_air(castd)
        await encoder.close()
        live = castd.mount("/live")
        await trio.sleep(5.0)
        assert live.sources == []
        assert live.timeline.end == pytest.approx(200 * FRAME_SECONDS, abs=0.05)
        sitter = Sitter(live)
        await trio.sleep(10.0)
        assert len(live.sources) == 1
        sitter.end(Goodbye.LEFT)
        await trio.sleep(2.0)
        assert live.sources == []
        assert not live.closed
        await trio.sleep(31.0)
        assert live.closed


async def test_silence_ends_one_day(autojump_clock: MockClock) -> None:
    async with radio(live=dict(filler="silence", filler_seconds=30.0)) as castd:
        encoder = await on_air(castd)
        live = castd.mount("/live")
        sitter = Sitter(live)
        await encoder.close()
        await trio.sleep(29.0)
        assert len(live.sources) == 1
        encoder = await on_air(castd)  # and it counts anew
        await encoder.close()
        await trio.sleep(29.0)
        assert len(live.sources) == 1
        await trio.sleep(2.0)
        assert (live.sources, sitter.gone) == ([], None)
        await trio.sleep(28.0)
        assert (live.sources, sitter.gone) == ([], None), "no silence again"
        await trio.sleep(3.0)
        assert sitter.gone is Goodbye.SOURCE_ENDED


async def test_silence_without_end_and_without_lingering(autojump_clock: MockClock) -> None:
    async with radio(0.0, live=dict(filler="silence", filler_seconds=0.0)) as castd:
        encoder = await on_air(castd)
        live = castd.mount("/live")
        sitter = Sitter(live)
        await encoder.close()
        await trio.sleep(200.0)
        assert sitter.gone is None
        assert live.timeline.end == pytest.approx(205.0, abs=10.0)


async def test_a_machine_that_slept_fills_a_burst_and_no_more(autojump_clock: MockClock) -> None:
    async with radio(live=dict(filler="silence")) as castd:
        encoder = await on_air(castd)
        live = castd.mount("/live")
        Sitter(live)
        await encoder.close()
        await trio.sleep(10.0)
        end, now = live.timeline.end, live.clock.monotonic
        object.__setattr__(live.clock, "monotonic", lambda: now() + 3600.0)
        await trio.sleep(1.0)
        assert 4.0 < live.timeline.end - end < 6.0


async def test_nothing_is_sent_where_that_is_wanted(autojump_clock: MockClock) -> None:
    async with radio(live={}) as castd:
        encoder = await on_air(castd)
        live = castd.mount("/live")
        Sitter(live)
        await encoder.close()
        await trio.sleep(20.0)
        assert live.sources == []


async def test_a_fallback_goes_before_silence_and_silence_is_no_fallback(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    file = tmp_path / "later.mp3"
    first = dict(fallback="/auto", fallback_file=str(file), filler="silence")
    async with radio(live=first, auto=dict(filler="silence")) as castd:
        auto = await on_air(castd, mount="/auto")
        encoder = await on_air(castd)
        live, other = castd.mount("/live"), castd.mount("/auto")
        Sitter(live)
        Sitter(other)
        await encoder.close()
        await play(auto, 120)
        assert [each.fallback for each in live.sources] == ["/auto"]
        await auto.close()
        await trio.sleep(3.0)
        assert [each.fallback for each in other.sources] == ["silence"]
        assert [each.fallback for each in live.sources] == ["silence"], "its own"
        file.write_bytes((FIXTURES / "cbr-44100-stereo.mp3").read_bytes())
        with trio.fail_after(30.0):
            await until(lambda: [each.fallback for each in live.sources] == [str(file)])
        encoder = await on_air(castd)
        assert [each.fallback for each in live.sources] == [""]


async def test_an_encoder_that_sends_nothing_does_not_stop_silence(autojump_clock: MockClock) -> None:
    async with radio(live=dict(filler="silence")) as castd:
        encoder = await on_air(castd)
        live = castd.mount("/live")
        Sitter(live)
        await encoder.close()
        await trio.sleep(3.0)
        end = live.timeline.end
        async with await castd.encoder("/live") as mute:
            await trio.sleep(5.0)
            assert live.timeline.end - end == pytest.approx(5.0, abs=0.3)
            assert live.source is not live.encoder
            await play(mute, 40)
            assert live.source is live.encoder


async def test_a_title_stays_over_silence(autojump_clock: MockClock) -> None:
    async with radio(live=dict(filler="silence")) as castd:
        encoder = await on_air(castd)
        live = castd.mount("/live")
        Sitter(live)
        live.set_title("A - B")
        title = live.timeline.title
        await encoder.close()
        await trio.sleep(3.0)
        await on_air(castd)
        assert live.timeline.title is title


async def sent(castd: Bench, name: str, kind: str, serial: int = 0) -> Encoder:
    """An encoder that has sent a file, an Ogg one perhaps with another serial number."""
    encoder = await castd.encoder("/live", {"Content-Type": kind})
    data = (FIXTURES / name).read_bytes()
    if serial:
        pages = map(Page.read, PageCutter().feed(data))
        data = b"".join(replace(each, serial=serial).write() for each in pages)
    await encoder.send(data)
    await trio.sleep(0.5)
    return encoder


@pytest.mark.parametrize("name", ["cbr-48000-stereo.mp3", "layer2-48000-crc.mp3", "mono-8000.mp3"])
async def test_mpeg_audio_goes_on(name: str, autojump_clock: MockClock) -> None:
    async with radio(live=dict(filler="silence")) as castd:
        encoder = await sent(castd, name, "audio/mpeg")
        live = castd.mount("/live")
        Sitter(live)
        await encoder.close()
        await trio.sleep(4.0)
        framer = MpegAudioFramer()
        framer.feed(castd.ring("/live"))
        assert framer.skipped_bytes == 0
        assert (framer.sample_rate, framer.variable_bitrate) == (live.shape.sample_rate, False)


async def test_aac_goes_on(autojump_clock: MockClock) -> None:
    async with radio(live=dict(filler="silence")) as castd:
        encoder = await sent(castd, "lc-44100-stereo.aac", "audio/aac")
        Sitter(castd.mount("/live"))
        await encoder.close()
        await trio.sleep(4.0)
        framer = AdtsFramer()
        runs = framer.feed(castd.ring("/live"))
        assert framer.skipped_bytes == 0
        assert runs[-1].end == pytest.approx(castd.mount("/live").timeline.end, abs=0.05)


@pytest.mark.parametrize("unchain", [False, True], ids=["chained", "unchained"])
@pytest.mark.parametrize(("codec", "name"), [("opus", "opus.opus"), ("vorbis", "vorbis.ogg"), ("flac", "flac.oga")])
async def test_ogg_goes_on(codec: str, name: str, unchain: bool, autojump_clock: MockClock) -> None:
    """A link of silence, and one of the encoder that is back; or all of it in one."""
    async with radio(live=dict(filler="silence", unchain=unchain)) as castd:
        encoder = await sent(castd, name, "audio/ogg")
        live = castd.mount("/live")
        Sitter(live)
        before = live.timeline.end
        await encoder.close()
        await trio.sleep(10.0)
        assert live.timeline.end - before == pytest.approx(10.25, abs=0.5)
        await sent(castd, name, "audio/ogg", serial=5)
        assert [each.fallback for each in live.sources] == [""]
        audio, seconds = castd.ring("/live"), live.timeline.end
    cutter = PageCutter()
    pages = [Page.read(each) for each in cutter.feed(audio)]
    assert cutter.skipped_bytes == 0
    begins = [page for page in pages if page.bos]
    assert len({page.serial for page in begins}) == len(begins) == (1 if unchain else 3)
    for one, next_one in pairwise(pages):
        if one.serial == next_one.serial:
            assert next_one.sequence == one.sequence + 1
            assert next_one.granule_position >= one.granule_position or next_one.granule_position == -1
    if codec == "flac" and not unchain:
        return  # libFLAC ends with the first link
    decoded = xiph.decode(codec, audio)
    assert decoded.holes == 0
    assert decoded.samples / decoded.sample_rate == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [("speex.spx", "audio/ogg", "its stream is speex"), ("vp8-vorbis.webm", "video/webm", "its stream is webm")],
)
async def test_what_has_no_silence_is_held_and_told_once(
    name: str, kind: str, words: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.WARNING)
    async with radio(live=dict(filler="silence")) as castd:
        for _ in range(2):
            encoder = await sent(castd, name, kind)
            live = castd.mount("/live")
            sitter = Sitter(live)
            await encoder.close()
            await trio.sleep(10.0)
            assert live.sources == []
            assert sitter.gone is None
    assert caplog.text.count("/live: no silence can stand in, so listeners wait without: " + words) == 1


async def test_a_bug_in_it_costs_nobody_else(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    def broken(*_: object) -> None:
        raise IndexError("made up")

    async with radio(live=dict(filler="silence")) as castd:
        encoder = await on_air(castd)
        live = castd.mount("/live")
        sitter = Sitter(live)
        monkeypatch.setattr(filler_module.Filler, "play", broken)
        await encoder.close()
        await trio.sleep(5.0)
        assert live.sources == []
        monkeypatch.setattr(filler_module, "silence_after", broken)
        encoder = await on_air(castd)
        await encoder.close()
        await trio.sleep(5.0)
        assert live.sources == []
        assert sitter.gone is None
        await on_air(castd)
    assert caplog.text.count("IndexError: made up") == 2


async def test_it_can_be_switched_on_and_off(autojump_clock: MockClock) -> None:
    async with radio(live={}) as castd:
        encoder = await on_air(castd)
        live = castd.mount("/live")
        Sitter(live)
        await encoder.close()
        await trio.sleep(3.0)
        for mode, count in (("silence", 1), ("hold", 0), ("silence", 1)):
            live.reconfigure(configured(mounts={"/live": {"filler": mode}}).mount("/live"))
            castd.server.fallbacks.settle_all()
            assert len(live.sources) == count
        castd.server.fallbacks.stopping = True
        live.sources[0].end(Goodbye.DRAINED)
        await trio.sleep(3.0)
        assert live.sources == []


async def test_hooks_are_told_of_silence(autojump_clock: MockClock) -> None:
    async with radio(live=dict(filler="silence")) as castd:
        heard = castd.server.events.subscribe("the test", 100, ("fallback.started", "fallback.ended"))
        encoder = await on_air(castd)
        Sitter(castd.mount("/live"))
        await encoder.close()
        await trio.sleep(3.0)
        await on_air(castd)
        for name in ("fallback.started", "fallback.ended"):
            event = await heard.receive()
            assert (event.name, event.fields["fallback"]) == (name, "silence")
        heard.close()


@pytest.mark.parametrize("name", ["", "opus.opus"], ids=["mp3", "opus"])
async def test_another_process_begins_it_anew(name: str, autojump_clock: MockClock) -> None:
    """After an upgrade (see castd.upgrade.taking) the filler that was told of is nobody's, and another goes on."""
    async with radio(live=dict(filler="silence")) as castd:
        encoder = await (sent(castd, name, "audio/ogg") if name else on_air(castd))
        live = castd.mount("/live")
        Sitter(live)
        await encoder.close()
        await trio.sleep(5.0)
        assert [each.fallback for each in live.sources] == ["silence"]
        state, memory = live.state(), os.dup(live.ring.descriptor)
    async with radio(0.0, live=dict(filler="silence")) as castd:
        live = castd.server.registry.adopt(state, memory)
        (source,) = live.sources
        assert not castd.server.fallbacks.go_on_with(live, source)
        live.release(source)
        sitter = Sitter(live)  # told of after the sources
        before = live.timeline.end
        await trio.sleep(5.0)
        assert [each.fallback for each in live.sources] == ["silence"]
        assert live.timeline.end - before == pytest.approx(5.0, abs=0.4)
        assert sitter.gone is None
        audio = castd.ring("/live")
    if name:
        pages = [Page.read(each) for each in PageCutter().feed(audio)]
        begins = [page.serial for page in pages if page.bos]
        assert len(set(begins)) == len(begins) == 3
        assert [page.serial for page in pages if page.eos] == begins[:2]
    else:
        assert all(map(silent, mp3_frames(audio)[200:]))

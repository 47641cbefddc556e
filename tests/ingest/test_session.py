"""One source from its first byte to its goodbye: silence, noise, titles, and types that were not as declared."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from castd.config import Limits
from castd.http.connection import READ_BYTES
from castd.ingest.session import NO_AUDIO_TIMES, SECOND_LOOK_SECONDS, TURN_BYTES, Session
from castd.mount.party import Goodbye
from castd.wire import icy
from castd.wire.sniff import PATIENCE_BYTES, Sniffer
from tests.support import (
    FRAME_BYTES,
    FRAME_SECONDS,
    SOURCE,
    Encoder,
    basic,
    bench,
    canary,
    configured,
    frames,
    head,
    serving,
    until,
)
from tests.wire.test_ogg import page
from tests.wire.test_picture import id3

if TYPE_CHECKING:
    from trio.testing import MockClock

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORDINGS = {
    "mpeg": ("cbr-44100-stereo.mp3", "audio/mpeg"),
    "aac": ("lc-44100-stereo.aac", "audio/aac"),
    "ogg": ("opus.opus", "audio/ogg"),
}


def recording(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def goodbyes(caplog: pytest.LogCaptureFixture) -> list[Goodbye]:
    """The reasons in the closing lines of sources."""
    by_code = {reason.value: reason for reason in Goodbye}
    return [by_code[m.partition(" closed: ")[2].partition(",")[0]] for m in caplog.messages if " closed: " in m]


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_a_source_that_falls_silent_is_dropped_in_time(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(source_timeout_seconds=8.0)
    async with bench(configured(limits=limits)) as castd, await castd.encoder("/live") as encoder:
        begun = trio.current_time()
        await encoder.push(5)
        await trio.sleep(7.9)
        await encoder.push(5)
        assert await encoder.rest() == b""
        assert trio.current_time() - begun == pytest.approx(7.9 + 8 + SECOND_LOOK_SECONDS)
        assert castd.mount("/live").source is None
        assert castd.ring("/live") == frames(0, 10), "its last frame is heard, too"
    assert goodbyes(caplog) == [Goodbye.SILENT]


async def test_a_source_that_never_sends_is_dropped_in_time(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live") as encoder:
        begun = trio.current_time()
        assert await encoder.rest() == b""
        assert trio.current_time() - begun == pytest.approx(Limits().source_timeout_seconds + SECOND_LOOK_SECONDS)


@pytest.mark.parametrize("declared", ["audio/mpeg", "audio/aac", "audio/ogg", "application/x-unheard-of"])
async def test_a_byte_a_second_is_no_stream(
    declared: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench() as castd, await castd.encoder("/live", {"Content-Type": declared}) as encoder:
        begun = trio.current_time()
        assert not await encoder.drip([b"\xff"] * 100, 1.0)
        limit = NO_AUDIO_TIMES * Limits().source_timeout_seconds
        assert trio.current_time() - begun == pytest.approx(limit, abs=2.1)
    assert goodbyes(caplog) == [Goodbye.NO_AUDIO]


async def test_noise_is_dropped_with_a_reason(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    noise = random.Random(1)
    async with bench() as castd, await castd.encoder("/live") as encoder:
        assert not await encoder.drip((noise.randbytes(1000) for _ in range(100)), 0.5)
        assert len(castd.ring("/live")) < 5000
    assert goodbyes(caplog) == [Goodbye.NO_AUDIO]


async def test_a_format_whose_bounds_are_broken_is_dropped_with_a_reason(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Headers that never end."""
    start = page(0, b"NewCodec", kind=2)
    pages = (page(0, bytes(60_000), sequence=sequence) for sequence in range(1, 100))
    async with bench() as castd, await castd.encoder("/live", {"Content-Type": "audio/ogg"}) as encoder:
        await encoder.send(start)
        assert not await encoder.drip(pages, 0.1)
    assert goodbyes(caplog) == [Goodbye.BROKEN]
    assert any("bytes of Ogg headers" in message for message in caplog.messages)


async def test_a_bug_of_ours_ends_one_source(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Session, data: bytes) -> None:
        raise RuntimeError("a bug")

    async with bench() as castd, await castd.encoder("/live") as encoder, await castd.encoder("/other"):
        monkeypatch.setattr(Session, "_feed", broken)
        await encoder.push(1)
        assert await encoder.rest() == b""
        assert castd.mount("/live").source is None
        assert castd.mount("/other").source is not None
    assert goodbyes(caplog)[0] is Goodbye.FAILED
    assert sum(record.exc_info is not None for record in caplog.records) == 1


@pytest.mark.parametrize("sent", RECORDINGS)
@pytest.mark.parametrize("declared", ["audio/mpeg", "audio/aac", "application/ogg", "video/webm", "audio/x-unheard-of"])
def test_bytes_are_believed_before_words(sent: str, declared: str) -> None:
    name, _ = RECORDINGS[sent]
    data = recording(name)
    for step in (1, 997, len(data)):
        sniffer = Sniffer(declared)
        verdict = None
        for at in range(0, len(data), step):
            verdict = sniffer.feed(data[at : at + step])
            if verdict is not None:
                break
        assert verdict is not None
        assert verdict.format == sent
        assert verdict.content_type in (declared, {"mpeg": "audio/mpeg", "aac": "audio/aac", "ogg": "audio/ogg"}[sent])
        assert at <= PATIENCE_BYTES


@pytest.mark.parametrize("start", [b"fLaC", b"RIFF", bytes(PATIENCE_BYTES)])
def test_what_nobody_can_frame_passes_as_declared(start: bytes) -> None:
    verdict = Sniffer("audio/x-rare").feed(start)
    assert verdict is not None
    assert (verdict.format, verdict.content_type) == ("audio/x-rare", "audio/x-rare")
    assert b"".join(run.data for run in verdict.runs) == start


async def test_listeners_are_told_what_is_sent_and_the_log_what_was_said(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench() as castd, await castd.encoder("/live", {"Content-Type": "application/ogg"}) as encoder:
        await encoder.push(60)
        await trio.testing.wait_all_tasks_blocked()
        description = castd.mount("/live").description
        assert description is not None
        assert description.content_type == "audio/mpeg"
        assert castd.mount("/live").format == "mpeg"
        assert castd.ring("/live") == frames(0, 59), "nothing of the beginning is lost"
    assert "source of /live says application/ogg and sends audio/mpeg" in caplog.messages


async def test_ogg_declared_as_mp3(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as castd, await castd.encoder("/live") as encoder:
        await encoder.send(recording("opus.opus"))
        await until(lambda: castd.title("/live") is not None)
        assert castd.mount("/live").format == "ogg"
        await until(lambda: castd.mount("/live").info is not None)
        info = castd.mount("/live").info
        assert info is not None
        assert info.codec == "opus"
    assert "source of /live says audio/mpeg and sends audio/ogg" in caplog.messages


async def test_a_stream_too_short_to_be_sure_of_is_heard(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        async with await castd.encoder("/live") as encoder:
            await encoder.send(frames(0, 2))
            await encoder.stream.send_eof()
            assert await encoder.rest() == b""
        assert castd.ring("/live") == frames(0, 2)


@pytest.mark.parametrize("step", [1, 7, 50_000])
async def test_titles_in_the_stream_are_taken_out(step: int, autojump_clock: MockClock) -> None:
    metaint, audio = 1000, frames(0, 20)
    blocks = [icy.block("One", "http://one.test/"), icy.EMPTY, b"\x02" + b"StreamWrong='x';".ljust(32, b"\0"),
              b"\x02" + b"StreamTitle='\x02T\xffo';".ljust(32, b"\0")]  # fmt: skip
    sent = b""
    for index in range(0, len(audio), metaint):
        sent += audio[index : index + metaint]
        sent += blocks[index // metaint] if index // metaint < len(blocks) else icy.EMPTY
    async with bench() as castd, await castd.encoder("/live", {"icy-metaint": str(metaint)}) as encoder:
        titles: list[tuple[int, str, str]] = []
        for at in range(0, len(sent), step):
            await encoder.send(sent[at : at + step])
            await trio.testing.wait_all_tasks_blocked()
        timeline = castd.mount("/live").timeline
        for position in range(0, castd.mount("/live").ring.head, 100):
            title = timeline.title_at(position)
            if title and (not titles or titles[-1][1] != title.text):
                titles.append((title.position, title.text, title.url))
        assert castd.ring("/live") == frames(0, 19)
        assert castd.title("/live") == "T\N{LATIN SMALL LETTER Y WITH DIAERESIS}o"
        assert [text for _, text, _ in titles][-1] == "T\N{LATIN SMALL LETTER Y WITH DIAERESIS}o"


async def test_a_title_told_while_the_first_bytes_are_on_the_way_stays(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live") as encoder:
        castd.mount("/live").set_title("By hand")
        await encoder.send(id3() + frames(0, 20))
        await trio.testing.wait_all_tasks_blocked()
        assert castd.ring("/live") == frames(0, 19)
        assert castd.title("/live") == "By hand"
        await encoder.send(id3() + frames(20, 40))
        await until(lambda: castd.title("/live") == "Song")


async def test_a_title_repeated_in_each_block_is_set_once(autojump_clock: MockClock) -> None:
    sent = b"".join(frames(at, at + 1) + icy.block("One" if at < 10 else "Two") for at in range(20))
    async with bench() as castd, await castd.encoder("/live", {"icy-metaint": str(FRAME_BYTES)}) as encoder:
        await encoder.send(sent[: len(sent) // 4])
        await trio.testing.wait_all_tasks_blocked()
        castd.mount("/live").set_title("By hand")
        await encoder.send(sent[len(sent) // 4 : len(sent) // 3])
        await trio.testing.wait_all_tasks_blocked()
        assert castd.title("/live") == "By hand"
        await encoder.send(sent[len(sent) // 3 :])
        await trio.testing.wait_all_tasks_blocked()
        timeline = castd.mount("/live").timeline
        assert castd.title("/live") == "Two"
        assert timeline.titles_up_to(castd.mount("/live").ring.head) == 3


@pytest.mark.parametrize(
    ("fields", "sent"),
    [({}, b"\xff" * READ_BYTES), ({"icy-metaint": "256"}, (bytes(256) + icy.block("x" * 4000)) * 15)],
)
async def test_one_read_is_taken_apart_in_turns(
    fields: dict[str, str], sent: bytes, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is hard to parse keeps nobody else waiting for more than TURN_BYTES of it."""
    taken = [0]  # bytes between two turns of others
    whole = Session._take_apart

    async def watched(self: Session, data: bytes) -> None:
        taken[-1] += len(data)
        await whole(self, data)

    async def others() -> None:
        while sum(taken) < len(sent):
            taken.append(0)
            await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Session, "_take_apart", watched)
    async with bench() as castd, await castd.encoder("/live", fields) as encoder, trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await encoder.send(sent)
    assert sum(taken) == len(sent)
    # one turn may end and the next begin between two of theirs
    assert max(taken) <= 2 * TURN_BYTES < len(sent)


async def test_the_figures_shown_are_those_of_the_link_that_plays() -> None:
    async with serving() as castd, await castd.encoder("/live", {"Content-Type": "audio/ogg"}) as encoder:
        for name, codec, rate in (
            ("opus.opus", "opus", 48_000),
            ("vorbis.ogg", "vorbis", 44_100),
            ("flac.oga", "flac", 16_000),
        ):
            await encoder.send(recording(name))

            def shown(codec: str = codec) -> bool:
                info = castd.mount("/live").info
                return info is not None and info.codec == codec

            await until(shown)
            info = castd.mount("/live").info
            assert info is not None
            assert info.sample_rate == rate


async def test_titles_of_ogg_links_come_with_their_audio() -> None:
    async with serving() as castd, await castd.encoder("/live", {"Content-Type": "audio/ogg"}) as encoder:
        await encoder.send(recording("chain.opus"))
        await encoder.stream.send_eof()
        await until(lambda: castd.mount("/live").source is None)
        timeline = castd.mount("/live").timeline
        found = [timeline.title_at(at) for at in range(0, castd.mount("/live").ring.head, 500)]
        titles = dict.fromkeys((t.title, t.time) for t in found if t)
        assert [title for title, _ in titles] == ["Song 1", "Song 2", "Song 3"]
        assert [round(time) for _, time in titles] == [0, 2, 4]


def flipped(data: bytes, share: float, seed: int) -> bytes:
    """With so many of the bits turned over."""
    chosen, damaged = random.Random(seed), bytearray(data)
    for _ in range(int(len(data) * 8 * share)):
        bit = chosen.randrange(len(data) * 8)
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


async def push_all(encoder: Encoder, data: bytes) -> None:
    """Send everything, or as much as castd takes."""
    try:
        for at in range(0, len(data), 4000):
            await encoder.send(data[at : at + 4000])
            await trio.lowlevel.checkpoint()
        await encoder.stream.send_eof()
    except trio.BrokenResourceError:
        pass
    await encoder.rest()


@pytest.mark.parametrize("kind", RECORDINGS)
@pytest.mark.parametrize("damage", ["1 % of bits", "0.1 % of bits", "cut in mid frame", "noise", "endless page"])
async def test_damaged_sources_harm_nobody_else(kind: str, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    name, content_type = RECORDINGS[kind]
    whole = recording(name)
    data = {
        "1 % of bits": flipped(whole, 0.01, 1) * 3,
        "0.1 % of bits": flipped(whole, 0.001, 2) * 3,
        "cut in mid frame": whole[: len(whole) // 2 + 13] + whole[7:],
        "noise": random.Random(3).randbytes(200_000),
        "endless page": whole[:6000] + b"OggS\0\0" + bytes(20) + b"\xff" * 256 + bytes(500_000),
    }[damage]
    async with serving() as castd, canary(castd):
        encoder = await castd.encoder("/live", {"Content-Type": content_type})
        await push_all(encoder, data)
        await until(lambda: castd.mount("/live").source is None)
        assert len(castd.ring("/live")) <= len(data)
        async with await castd.encoder("/live", {"Content-Type": content_type}) as clean:
            await clean.send(whole)
            await until(lambda: castd.mount("/live").ring.head > len(whole) // 2)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("vanishing", ["reset in mid frame", "hang-up in mid frame", "hang-up in mid chunk"])
async def test_an_encoder_that_vanishes(vanishing: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as castd, canary(castd):
        if vanishing == "hang-up in mid chunk":
            encoder = Encoder(await castd.stream())
            await encoder.send(head("PUT", "/live", {"Transfer-Encoding": "chunked"}, user=SOURCE))
            await encoder.until(b"\r\n\r\n")
            await encoder.send(b"FFFF\r\n")
        else:
            encoder = await castd.encoder("/live")
        await encoder.push(10)
        await encoder.send(frames(10, 11)[:100])
        await until(lambda: castd.mount("/live").ring.head >= 9 * FRAME_BYTES)
        ear = await castd.ear("/live")
        assert await ear.exactly(9 * FRAME_BYTES) == frames(0, 9)
        if vanishing == "reset in mid frame":
            encoder.reset()
        else:
            await encoder.close()
        await until(lambda: castd.mount("/live").source is None)
        async with await castd.encoder("/live") as back, ear:
            back.next = 50
            await back.push(10)
            heard = await ear.exactly(9 * FRAME_BYTES)
            assert heard in (frames(50, 59), frames(9, 10) + frames(50, 58)), "whole frames only"
    reasons = {"reset in mid frame": Goodbye.RESET, "hang-up in mid frame": Goodbye.FINISHED}
    assert reasons.get(vanishing, Goodbye.LEFT) in goodbyes(caplog)
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING], "nobody is at fault"


async def test_a_wrong_password_shows_in_no_ring(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        sent = head("SOURCE", "/live", {"Authorization": basic("source", "guess")}) + frames(0, 10)
        assert (await castd.ask(sent)).status == 401
        assert not castd.server.registry.mounts


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("mounts", "reads_per_second"), [(1, 1 / FRAME_SECONDS), (60, 10.0)])
async def test_where_there_are_many_sources_each_is_read_less_often(
    mounts: int, reads_per_second: float, chunked: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, count = 10.0, round(10.0 / FRAME_SECONDS)
    moments: set[float] = set()
    async with bench() as castd:
        for number in range(1, mounts):
            await castd.encoder(f"/m{number}")
        fields = {"Transfer-Encoding": "chunked"} if chunked else {}
        async with await castd.encoder("/m0", fields) as encoder:
            session_feed = Session._feed

            async def feed(self: Session, data: bytes) -> None:
                moments.add(trio.current_time())
                await session_feed(self, data)

            monkeypatch.setattr(Session, "_feed", feed)
            for number in range(count):
                data = frames(number, number + 1)
                await encoder.send(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
                await trio.sleep(FRAME_SECONDS)
            await trio.sleep(1.0)
            assert castd.ring("/m0") == frames(0, count - 1), "all but the last, which the next header would complete"
    assert 0.5 * reads_per_second <= len(moments) / seconds <= 1.05 * reads_per_second


async def test_nothing_is_lost_of_who_is_stopped(autojump_clock: MockClock) -> None:
    """The last frame waits for a header behind it; who is replaced or kicked sends none."""
    for replaced in (True, False):
        async with bench() as castd, await castd.encoder("/live") as old:
            await old.push(20)
            await trio.sleep(3.0)
            live = castd.mount("/live")
            assert castd.ring("/live") == frames(0, 19)
            if replaced:
                await castd.encoder("/live")
            else:
                assert live.source is not None
                live.source.end(Goodbye.KICKED, "admin")
                await trio.sleep(0.1)
            assert castd.ring("/live") == frames(0, 20)
            assert len(live.sources) == int(replaced)

"""A process that encodes and crashes, hangs, or comes too late costs audio and a line of the log; nobody is let go."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from castd.config import Config, Current
from castd.mount.party import Goodbye
from castd.mount.registry import Registry
from castd.mount.shape import Shape
from castd.stats.records import Records
from castd.transcode import rendition, renditions
from castd.transcode.backlog import ROOM_SECONDS, Backlog
from castd.transcode.renditions import Renditions
from castd.wire.framer import Entry, Run
from tests.mount.fakes import HandClock
from tests.mount.fakes import source as fake_source
from tests.support import FRAME_SECONDS, frame, until

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.mount.party import Source

IMPOSTOR = """
import os, re
from castd.levels.messages import LENGTH
from castd.levels.pipes import exactly, write
from castd.transcode.messages import Begin, Encoded, Finish, read_question, written
while head := exactly(LENGTH.size):
    question = read_question(exactly(LENGTH.unpack(head)[0]))
    data = getattr(question, "data", b"")
    if b"<00000666>" in data:
        os.abort()
    if b"<00000777>" in data:
        write(1, LENGTH.pack(3) + b"abc")
    if b"<00000888>" in data:
        write(1, written(Encoded(data, float("nan"), float("inf"))))
    if data:
        write(1, written(Encoded(data, question.start, question.start + len(data) // 417 * 1152 / 44100)))
    else:
        write(1, written(Encoded()))
"""
"""Gives back what it gets, and dies of certain frames."""

COMMAND = (sys.executable, "-c", IMPOSTOR)


@dataclass
class Bench:
    """A mount /live and its renditions."""

    registry: Registry
    renditions: Renditions
    current: Current
    live: Mount
    source: Source
    clock: HandClock
    number: int = 0

    def push(self, count: int, first: int | None = None) -> None:
        """The next frames, or those from a number on, whose time is what it would be anyway."""
        data = b"".join(frame((self.number if first is None else first) + at) for at in range(count))
        start, end = self.number * FRAME_SECONDS, (self.number + count) * FRAME_SECONDS
        self.number += count
        self.clock.now += count * FRAME_SECONDS
        self.live.append(self.source, Run(data, start, end, (Entry(0, start),)))

    def heard(self, name: str) -> bytes:
        mount = self.registry.get(name)
        return bytes(mount.ring.read(mount.ring.tail, mount.ring.head)) if mount else b""

    async def until_heard(self, number: int, name: str = "/low") -> Mount:
        """Wait for a frame at a rendition; it is confirmed by the next."""
        await until(lambda: f"<{number:08d}>".encode() in self.heard(name))
        return self.registry.mounts[name]

    def connect(self) -> None:
        self.source = fake_source()
        self.live.take_on(self.source)
        self.live.recognised(self.source, Shape("mpeg", "mp3", 44_100), "audio/mpeg")
        self.number = 0


LOW: dict[str, Any] = {"transcode_from": "/live", "codec": "mp3", "bitrate": 64_000, "transcode_on_demand": False}


@asynccontextmanager
async def transcoding(**low: Any) -> AsyncIterator[Bench]:
    config = Config(mounts={"/low": {**LOW, **low}})
    current, clock = Current(config), HandClock()
    registry = Registry(current, clock.clock)
    records = Records(config, clock.clock)

    async def nothing(name: str) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    made = Renditions(current, registry, records, nothing, COMMAND)
    live = registry.open("/live")
    bench = Bench(registry, made, current, live, fake_source(), clock)
    bench.connect()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run)
            yield bench
            nursery.cancel_scope.cancel()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


async def test_the_stream_at_its_times() -> None:
    async with transcoding() as bench:
        for _ in range(10):
            bench.push(4)
        low = await bench.until_heard(38)
        assert low.source is not None
        assert (low.source.protocol, low.source.fallback, low.shape) == ("transcode", "", Shape("mpeg", "mp3", 44_100))
        bench.live.set_title("Artist - Song", artist="Artist", title="Song", url="http://example.invalid/")
        told = bench.live.timeline.title
        for _ in range(10):
            bench.push(4)
        await bench.until_heard(78)
        title = low.timeline.title
        assert told is not None
        assert title is not None
        assert title[3:] == told[3:]
        assert title.time == pytest.approx(told.time, abs=0.11)
        assert low.timeline.end == pytest.approx(79 * FRAME_SECONDS, abs=0.001)
        oldest = low.timeline.oldest
        assert oldest is not None
        assert oldest.time == 0.0
        # what segments are cut by: the wall time that media time 0 would have
        origins = [min(each.wall - each.time for each in mount.timeline.entries_from(1)) for mount in (bench.live, low)]
        assert origins[1] == pytest.approx(origins[0], abs=0.11), "but for the distance of entries"


@pytest.mark.parametrize(("poison", "words"), [
    (666, "ended: killed by SIGABRT"),
    (777, "gave an answer that is none"),
    (888, "is given up: it told times that cannot be"),
])  # fmt: skip
async def test_a_crash_costs_a_line(
    poison: int, words: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renditions, "FIRST_PAUSE_SECONDS", 0.05)
    async with transcoding() as bench:
        bench.push(40)
        low = await bench.until_heard(38)
        bench.push(1, first=poison)
        await until(lambda: bool(errors(caplog)))
        assert words in errors(caplog)[0]
        assert low.source is None, "so that a fallback may stand in"
        bench.push(200)  # the poison is behind the burst
        await bench.until_heard(239)
        assert bench.registry.get("/low") is low
        assert not low.closed
        assert low.timeline.end == pytest.approx(240 * FRAME_SECONDS, abs=0.001), "the time goes on as the original's"


async def test_a_source_that_goes_and_comes_back() -> None:
    async with transcoding() as bench:
        bench.push(40)
        low = await bench.until_heard(38)
        bench.source.end(Goodbye.LEFT)
        bench.live.release(bench.source)
        await until(lambda: low.source is None)
        await bench.until_heard(39)  # which no other confirmed
        assert low.lost is not None, "its listeners wait, as those of the original do"
        bench.connect()
        bench.push(30, first=1000)
        assert await bench.until_heard(1028) is low


async def test_one_that_is_kicked_pauses(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renditions, "FIRST_PAUSE_SECONDS", 0.5)
    async with transcoding() as bench:
        bench.push(40)
        low = await bench.until_heard(38)
        assert low.source is not None
        kicked, before = low.source, trio.current_time()
        kicked.end(Goodbye.KICKED, "admin")
        await until(lambda: kicked not in low.sources)
        assert not low.sources
        bench.push(40)
        await until(lambda: bool(low.sources))
        assert trio.current_time() - before >= 0.5
        [line] = errors(caplog)
        assert line == "/low: the process that encodes was ended by admin; the next begins in 0.5 s"
        [closed] = [each for each in bench.renditions._records.recent if each.kind == "source"]
        assert (closed.reason, closed.ended_by) == ("kicked", "admin")


async def test_a_bug_in_what_it_is_made_from_costs_nobody_else(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renditions, "FIRST_PAUSE_SECONDS", 0.05)
    async with transcoding() as bench:
        bench.source.end(Goodbye.LEFT)
        bench.live.release(bench.source)

        async def broken(name: str) -> bool:
            await trio.lowlevel.checkpoint()
            raise ZeroDivisionError

        monkeypatch.setattr(bench.renditions, "_summon", broken)
        await until(lambda: len(errors(caplog)) >= 4)
        assert errors(caplog)[0] == "/low: not encoded for a while"
        bench.connect()
        bench.push(40)
        await bench.until_heard(38)


async def test_an_encoder_goes_before_it() -> None:
    async with transcoding() as bench:
        bench.push(40)
        low = await bench.until_heard(38)
        rendition_source, encoder = low.source, fake_source()
        low.take_on(encoder)
        low.recognised(encoder, Shape("mpeg", "mp3", 44_100), "audio/mpeg")
        low.append(encoder, Run(frame(5000), 0.0, FRAME_SECONDS, (Entry(0, 0.0),)))
        assert low.source is encoder
        low.release(encoder)
        assert low.source is rendition_source
        bench.push(40)
        await bench.until_heard(78)


async def test_on_demand(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(renditions, "SUMMON_SECONDS", 5.0)
    monkeypatch.setattr(renditions, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(rendition, "LOOK_SECONDS", 0.1)
    async with transcoding(transcode_on_demand=True) as bench:
        bench.push(40)
        await trio.testing.wait_all_tasks_blocked()
        assert "encodes" not in caplog.text, "nobody wants it"
        monkeypatch.setattr(renditions, "SUMMON_SECONDS", 0.5)
        assert not await bench.renditions.summon("/other")
        monkeypatch.setattr(renditions, "SUMMON_SECONDS", 5.0)
        assert await bench.renditions.summon("/low")
        low = await bench.until_heard(38)
        await until(lambda: low.source is None)  # nobody came
        assert "encoded no more: finished" in caplog.text
        bench.source.end(Goodbye.LEFT)
        bench.live.release(bench.source)
        assert bench.registry.get("/low") is low
        assert not await bench.renditions.summon("/low"), "there is nothing to encode, and nobody waits for it"


async def test_a_reload_ends_and_begins() -> None:
    async with transcoding() as bench:
        bench.push(40)
        low = await bench.until_heard(38)
        bench.current.config = Config()
        bench.renditions.prepare(bench.current.config)()
        await until(lambda: low.source is None)
        bench.current.config = Config(mounts={"/small": LOW})
        bench.renditions.prepare(bench.current.config)()
        bench.push(40)
        await bench.until_heard(78, "/small")


def test_what_comes_too_late_is_left_out() -> None:
    """Bounded in seconds; a decoder begins anew behind it."""
    registry = Registry(Current(Config()), HandClock().clock)
    live, source = registry.open("/live"), fake_source()
    live.take_on(source)
    live.recognised(source, Shape("mpeg", "mp3", 44_100), "audio/mpeg")
    backlog = Backlog(live, burst_seconds=0.0)
    for second in range(25):
        backlog.add(Run(b"%02d." % second, float(second), second + 1.0, (Entry(0, float(second)),)), 100.0 + second)
    assert backlog.lost_seconds == 2 * ROOM_SECONDS
    piece, origin = backlog.take()
    assert (piece.begins, piece.start, piece.data) == (True, 20.0, b"20.21.22.23.24.")
    assert origin == 99.0, "it had come a second before its end was due"
    assert not backlog
    backlog.add(Run(b"more", 25.0, 26.0), 126.0)
    piece, _ = backlog.take()
    assert (piece.begins, piece.start) == (False, 25.0)


def test_another_source_is_for_another_decoder() -> None:
    registry = Registry(Current(Config()), HandClock().clock)
    live, first, second = registry.open("/live"), fake_source(), fake_source()
    live.take_on(first)
    live.recognised(first, Shape("mpeg", "mp3", 44_100), "audio/mpeg")
    backlog = Backlog(live, burst_seconds=0.0)
    backlog.add(Run(b"one", 0.0, 1.0), 0.0)
    live.release(first)
    live.take_on(second)
    live.recognised(second, Shape("aac", "aac", 48_000), "audio/aac")
    backlog.add(Run(b"two", 1.0, 2.0), 0.0)
    pieces = [backlog.take()[0] for _ in range(2)]
    assert [(each.format, each.begins, each.data) for each in pieces] == [("mpeg", True, b"one"), ("aac", True, b"two")]

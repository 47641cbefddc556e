"""Going back by time, through a whole server: requests, restarts, clips, and a disk with too little room."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from castd.config.model import Server as ServerSettings
from castd.delivery.rewinds import Rewinds
from castd.mount.party import Goodbye
from castd.mount.rewind import NewRing, RewindFile
from tests.support import ADMIN, FRAME_BYTES, FRAME_SECONDS, Ear, Serving, configured, head, serving, until

REWIND = {"default": {"rewind_seconds": 120.0, "linger_seconds": 60.0}}


@asynccontextmanager
async def radio(folder: Path, **mount: float) -> AsyncIterator[Serving]:
    mounts = {"default": {**REWIND["default"], **mount}}
    async with serving(configured(server=ServerSettings(state_dir=str(folder)), mounts=mounts), 60.0) as castd:
        yield castd


async def on_file(castd: Serving) -> None:
    await until(lambda: castd.mount("/live").on_file)


async def numbers(ear: Ear, count: int) -> list[int]:
    found = re.findall(rb"<(\d{8})>", await ear.exactly(count * FRAME_BYTES))
    assert len(found) == count
    return [int(each) for each in found]


async def push(castd: Serving, seconds: float, first: int = 0) -> int:
    """Audio that long, at once; how many frames."""
    encoder = await castd.encoder("/live")
    encoder.next = first
    count = round(seconds / FRAME_SECONDS)
    before = castd.server.registry.mounts["/live"].bytes_received
    for _ in range(count // 100):
        await encoder.push(100)
    await until(lambda: castd.mount("/live").bytes_received - before >= count // 100 * 100 * FRAME_BYTES)
    return count // 100 * 100


async def test_by_seconds_and_by_titles(tmp_path: Path) -> None:
    async with radio(tmp_path) as castd:
        sent = await push(castd, 100)
        await on_file(castd)
        castd.mount("/live").set_title("A - B")
        ear = await castd.ear("/live?t=-50")
        (first, *rest) = await numbers(ear, 100)
        assert abs((sent - first) * FRAME_SECONDS - 50) < 1.5
        assert rest == list(range(first + 1, first + 100))
        told = json.loads((await castd.ask(head("GET", "/api/v1/mounts/live/titles"))).body)["titles"]
        assert re.fullmatch(r"/live\?start=\d+\.\d{3}", told[0]["listen"])
        song = await castd.ask(head("HEAD", told[0]["listen"]))
        assert song.status == 200
        at = told[0]["media_seconds"] - 20
        (number,) = await numbers(await castd.ear(f"/live?media={at}"), 1)
        assert 0 <= at - number * FRAME_SECONDS < 1.5
        (number,) = await numbers(await castd.ear(f"/live?media={at + 1000}"), 1)
        assert number > sent - 400, "what has not come is the live end"
        farthest = await castd.ear("/live?t=-100000")
        (number,) = await numbers(farthest, 1)
        oldest = castd.mount("/live").timeline.oldest
        assert oldest is not None
        assert 4 < number * FRAME_SECONDS - oldest.time < 7, "a little after the oldest, which goes next"
        shown = json.loads((await castd.ask(head("GET", "/api/v1/mounts/live"))).body)
        assert shown["rewind_seconds"] == 60
        (first,) = await numbers(await castd.ear("/live?media=0"), 1)
        told = json.loads((await castd.ask(head("GET", "/api/v1/mounts/live/window"))).body)
        assert abs(told["live_media_seconds"] - sent * FRAME_SECONDS) < 0.1
        assert abs(told["oldest_media_seconds"] - first * FRAME_SECONDS) < 1.5


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("t=600", 400, "t is a number"),
        ("t=soon", 400, "t is a number"),
        ("t=-1e5", 400, "t is a number"),
        ("media=soon", 400, "media is a number"),
        ("media=-", 400, "media is a number"),
        ("start=soon", 400, "a moment is written"),
        ("start=2099-01-01T00:00:00Z", 400, "has not come yet"),
        ("start=2020-01-01T00:00:00Z", 404, "not held any more: the oldest is from 20"),
    ],
)
async def test_what_cannot_be_had(query: str, status: int, words: str, tmp_path: Path) -> None:
    async with radio(tmp_path) as castd:
        await push(castd, 20)
        reply = await castd.ask(head("GET", f"/live?{query}"))
        assert reply.status == status
        assert words in reply.text


async def test_a_mount_that_keeps_nothing(tmp_path: Path) -> None:
    async with radio(tmp_path, rewind_seconds=0.0) as castd:
        await push(castd, 20)
        reply = await castd.ask(head("GET", "/live?t=-10"))
        assert reply.status == 404
        assert "rewind_seconds" in reply.text
        told = json.loads((await castd.ask(head("GET", "/api/v1/mounts/live/window"))).body)
        assert told["oldest_media_seconds"] is None
        assert not (tmp_path / "rewind").exists()


async def test_it_outlasts_the_server_and_the_mount(tmp_path: Path) -> None:
    async with radio(tmp_path) as castd:
        sent = await push(castd, 60)
        await on_file(castd)
        castd.mount("/live").set_title("before")
    async with radio(tmp_path) as castd:
        encoder = await castd.encoder("/live")
        encoder.next = 50_000
        await encoder.push(400)
        await until(lambda: castd.mount("/live").bytes_received >= 400 * FRAME_BYTES)
        assert castd.mount("/live").on_file
        ear = await castd.ear("/live?t=-40")
        heard = await numbers(ear, 100)
        assert abs((sent - heard[0]) * FRAME_SECONDS - 30) < 2
        titles = json.loads((await castd.ask(head("GET", "/api/v1/mounts/live/titles"))).body)["titles"]
        assert titles[-1]["text"] == "before"
        newcomer = await castd.ear("/live")
        assert (await numbers(newcomer, 1))[0] >= 50_000
        await encoder.close()
        await until(lambda: castd.mount("/live").source is None)
        castd.server.registry.mounts.pop("/live").close(Goodbye.SOURCE_ENDED)
        await push(castd, 10, 90_000)
        ear = await castd.ear("/live?t=-45")
        assert (await numbers(ear, 1))[0] < 50_000


async def test_who_went_back_hears_all_that_is_held_when_the_source_is_gone(tmp_path: Path) -> None:
    """Those at the live end are let go as ever, and nobody new comes in but to go back."""
    async with radio(tmp_path, linger_seconds=0.5) as castd:
        encoder = await castd.encoder("/live")
        await encoder.push(1000)
        await on_file(castd)
        live = await castd.ear("/live")
        back = await castd.ear("/live?t=-8")
        (first,) = await numbers(back, 1)
        begun = trio.current_time()
        await encoder.close()
        await live.exactly(1 << 30)
        assert trio.current_time() - begun < 6
        assert castd.mount("/live").source is None
        assert (await castd.ask(head("GET", "/live"))).status == 404
        assert (await castd.ask(head("HEAD", "/live?t=-5"))).status == 200
        heard = [int(each) for each in re.findall(rb"<(\d{8})>", await back.exactly(1 << 30))]
        assert heard == list(range(first + 1, 1000)), "to the last frame"
        await until(lambda: not castd.server.registry.mounts)
        assert (await castd.ask(head("GET", "/live?t=-5"))).status == 404


async def test_clips(tmp_path: Path) -> None:
    async with radio(tmp_path) as castd:
        sent = await push(castd, 30)
        mount = castd.mount("/live")
        begun = mount.timeline.entries_from(0)[0].wall
        assert (await castd.ask(head("GET", f"/live/clip?start={begun + 0.001}"))).status == 401
        clip = await castd.ask(head("GET", f"/live/clip?start={begun + 0.001:.3f}", user=ADMIN))
        assert clip.status == 200
        assert clip.headers["content-type"] == "audio/mpeg"
        assert re.fullmatch(r'attachment; filename="live-\d{8}T\d{6}Z\.mp3"', clip.headers["content-disposition"])
        found = [int(each) for each in re.findall(rb"<(\d{8})>", clip.body)]
        assert len(clip.body) == len(found) * FRAME_BYTES
        assert found == list(range(found[0], sent - 1))  # the last waits for a next header
        for query, status in (
            ("", 400),
            ("?start=soon", 400),
            (f"?start={begun + 0.002}&end={begun + 0.001}", 400),
            ("?start=1", 404),
        ):
            assert (await castd.ask(head("GET", f"/live/clip{query}", user=ADMIN))).status == status
        assert (await castd.ask(head("GET", "/none/clip?start=1", user=ADMIN))).status == 404


async def test_a_download_is_finished_when_the_server_stops(tmp_path: Path) -> None:
    async with radio(tmp_path) as castd:
        await push(castd, 60)
        mount = castd.mount("/live")
        begun = mount.timeline.entries_from(0)[0].wall
        stream = await castd.stream()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        await stream.send_all(head("GET", f"/live/clip?start={begun + 0.001:.3f}", user=ADMIN))
        received = bytes(await stream.receive_some(4096))
        castd.server._stop.set()
        await until(lambda: castd.server.front.stopping)
        while data := await stream.receive_some(65536):
            received += data
        answer, _, body = received.partition(b"\r\n\r\n")
        assert len(body) == int(re.search(rb"(?i)content-length: (\d+)", answer)[1]) > 500_000  # type: ignore[index]


async def test_a_disk_with_too_little_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The mount plays on, says so, and offers what fits; here nothing does."""
    monkeypatch.setattr("castd.mount.rewind.RESERVE_BYTES", 1 << 60)
    caplog.set_level(logging.INFO)
    async with radio(tmp_path) as castd:
        encoder = await castd.encoder("/live")
        ear = await castd.ear("/live")
        await encoder.push(800)
        await until(lambda: "plays on, but cannot be rewound: [Errno 28] 0 MiB are free for it" in caplog.text)
        await encoder.push(200)
        assert await numbers(ear, 999) == list(range(999))
        assert (await castd.ask(head("HEAD", "/live?t=-5"))).status == 200, "of what is in memory"


@pytest.mark.parametrize(
    "trouble", [OSError(errno.EROFS, "Read-only file system"), RuntimeError("can't start new thread")]
)
async def test_a_disk_that_fails(
    trouble: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs what can be rewound; the mount plays on."""
    caplog.set_level(logging.INFO)

    def fail(*args: object) -> None:
        raise trouble

    monkeypatch.setattr("castd.delivery.rewinds.SAVE_SECONDS", 0.0)
    async with radio(tmp_path, rewind_seconds=30.0) as castd:
        await push(castd, 60)
        await on_file(castd)
        with monkeypatch.context() as patched:
            patched.setattr(RewindFile, "save", fail)
            patched.setattr(RewindFile, "remove", fail)
            await until(lambda: "will not know what can be rewound" in caplog.text)
            patched.setattr(Rewinds, "_wanted", lambda self, name: 0.0)
            caplog.clear()
            castd.server.registry.mounts.pop("/live").close(Goodbye.SOURCE_ENDED)
            await until(lambda: "cannot be removed" in caplog.text or "will not know" in caplog.text)
            await push(castd, 10)
        assert castd.mount("/live").source is not None


async def test_a_file_that_comes_when_another_process_has_the_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is nobody's: the mount stays as the other process has it, and so do its files."""
    begun, go_on, made = threading.Event(), threading.Event(), list[NewRing]()
    allocate = RewindFile.allocate

    def slowly(file: RewindFile, wanted: int, least: int) -> NewRing:
        begun.set()
        assert go_on.wait(60)
        made.append(allocate(file, wanted, least))
        return made[0]

    def let_go(descriptor: int) -> bool:
        return not Path(f"/proc/self/fd/{descriptor}").exists()

    monkeypatch.setattr(RewindFile, "allocate", slowly)
    async with radio(tmp_path) as castd:
        await push(castd, 30)
        mount = castd.mount("/live")
        await until(begun.is_set)
        del castd.server.registry.mounts["/live"]
        go_on.set()
        await until(lambda: bool(made) and (mount.on_file or let_go(made[0].descriptor)))
        assert not mount.on_file
        assert list((tmp_path / "rewind").iterdir()) == []
        mount.close(Goodbye.HANDED_OVER)


async def test_a_file_that_grows_is_copied_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that has ten times the bitrate it had: all is there, in the file that has the name."""
    monkeypatch.setattr("castd.delivery.rewinds.RETRY_SECONDS", 0.0)
    monkeypatch.setattr("castd.delivery.rewinds.STEP_BYTES", 20_000)
    monkeypatch.setattr("castd.delivery.rewinds.LAST_BYTES", 10_000)
    monkeypatch.setattr("castd.delivery.rewinds.SPARE", 0.2)
    async with radio(tmp_path, rewind_seconds=1000.0) as castd:
        encoder = await castd.encoder("/live")
        await encoder.push(1000)
        await until(lambda: castd.mount("/live").on_file)
        mount = castd.mount("/live")
        before, sent = mount.ring.capacity, 1000
        while mount.ring.capacity == before or sent < 30_000:
            monkeypatch.setattr("castd.delivery.rewinds.SPARE", 4.0 if mount.ring.tail else 0.2)
            await encoder.push(100)
            sent += 100
            await trio.sleep(0.005)
        await until(lambda: mount.bytes_received >= sent * FRAME_BYTES)
        [name] = (tmp_path / "rewind").glob("*.ring")
        assert os.fstat(mount.ring.descriptor).st_ino == name.stat().st_ino
        assert [path.suffix for path in (tmp_path / "rewind").iterdir() if path.suffix == ".new"] == []
        held = mount.ring.read(mount.ring.tail, mount.ring.head)
        found = [int(each) for each in re.findall(rb"<(\d{8})>", held)]
        assert found == list(range(found[0], found[0] + len(found)))
        assert len(held) > before


async def test_trouble_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("castd.delivery.rewinds.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("castd.delivery.rewinds.LOOK_SECONDS", 0.01)
    tried = 0

    def fail(*args: object) -> None:
        nonlocal tried
        tried += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    async with radio(tmp_path, rewind_seconds=30.0) as castd:
        await push(castd, 20)
        await on_file(castd)
        with monkeypatch.context() as patched:
            patched.setattr(RewindFile, "save", fail)
            await until(lambda: tried > 5)
        assert caplog.text.count("will not know what can be rewound") == 1
        await until(lambda: "is written down again" in caplog.text)

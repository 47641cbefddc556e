"""Recordings: whole frames, files that decoders can begin with, and a disk that is full or away."""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import trio

from castd.ingest import recorder
from castd.ingest.recorder import Piece, Rules, _File
from castd.wire.ogg_pages import Page, PageCutter
from tests.support import FRAME_BYTES, configured, frames, serving, until

if TYPE_CHECKING:
    import pytest

    from castd.config import Config

FIXTURES = Path(__file__).parents[1] / "fixtures"


def config(folder: Path, name: str = "d-%Y.mp3", **more: Any) -> Config:
    return replace(configured(), mounts={"/live": {"dump_file": str(folder / name), **more}})


def file_of(folder: Path) -> Path:
    return folder / time.strftime("d-%Y.mp3")


def read(path: Path) -> bytes:
    return path.read_bytes()


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: path.stat().st_ctime_ns)


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def test_what_an_encoder_sends_and_nothing_else(tmp_path: Path) -> None:
    fallback = {"fallback_file": str(FIXTURES / "cbr-44100-stereo.mp3")}
    async with serving(config(tmp_path / "new", "{mount}-%Y.mp3", **fallback)) as castd:
        path = tmp_path / "new" / time.strftime("live-%Y.mp3")
        await until(lambda: castd.mount("/live").begun)
        assert size_of(path) == 0
        async with await castd.encoder("/live") as encoder:
            await encoder.push(100)
            await until(lambda: size_of(path) >= 99 * FRAME_BYTES)
            assert read(path) == frames(0, 99)
        await until(lambda: bool([True for each in castd.mount("/live").sources if each.fallback]))
        async with await castd.encoder("/live") as encoder:
            encoder.next = 500
            await encoder.push(10)
            await until(lambda: size_of(path) > 100 * FRAME_BYTES)
        data = read(path)
    assert len(data) % FRAME_BYTES == 0
    assert data.startswith(frames(0, 99))
    assert frames(500, 509) in data


async def test_what_is_left_is_written_when_the_server_stops(tmp_path: Path) -> None:
    async with serving(config(tmp_path)) as castd, await castd.encoder("/live") as encoder:
        await encoder.push(30)
        await until(lambda: castd.mount("/live").ring.head == 29 * FRAME_BYTES)
    data = file_of(tmp_path).read_bytes()
    assert len(data) >= 29 * FRAME_BYTES
    assert data == frames(0, len(data) // FRAME_BYTES)


async def test_ogg_files_begin_with_their_headers(tmp_path: Path) -> None:
    async with (
        serving(config(tmp_path, "x.ogg", dump_rotate_bytes=4000)) as castd,
        await castd.encoder("/live", {"Content-Type": "audio/ogg"}) as encoder,
    ):
        stream = read(FIXTURES / "opus.opus")
        for at in range(0, len(stream), 1000):
            await encoder.send(stream[at : at + 1000])
            await trio.sleep(0.01)
        await encoder.close()
        await until(lambda: castd.mount("/live").source is None)
        await until(lambda: len(files_of(tmp_path)) > 1)
    files = files_of(tmp_path)
    audio = []
    for file in files:
        cutter = PageCutter()
        pages = [*cutter.feed(file.read_bytes()), *cutter.finish()]
        assert Page.read(pages[0]).header_type & 0x02
        assert b"OpusHead" in pages[0]
        audio += pages[2:]
    cutter = PageCutter()
    assert audio == [*cutter.feed(stream), *cutter.finish()][2:]


def pieces(first: int, after: int) -> list[Piece]:
    return [Piece(frames(n, n + 1), n % 4 == 0, b"", 1e9 + n, 100.0 + n, n == 0) for n in range(first, after)]


def test_a_new_file_after_so_many_seconds(tmp_path: Path) -> None:
    file = _File("/live", Rules(str(tmp_path / "%s.mp3"), 0, 10.0))
    file.write(pieces(0, 40))
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{1_000_000_000 + n}.mp3" for n in (0, 12, 24, 36)]
    assert (tmp_path / "1000000012.mp3").read_bytes() == frames(12, 24)


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    file = _File("/live", Rules(str(tmp_path / "a.mp3"), 0, 0.0))
    file.write(pieces(0, 4))
    assert file._file is not None
    opened: IO[bytes] = file._file

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(opened, name)

        def write(self, data: bytes) -> int:
            if len(data) > 300:
                return opened.write(data[:300])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file, "_file", Full())
    file.write(pieces(4, 8))
    data = (tmp_path / "a.mp3").read_bytes()
    assert data == frames(0, 4), "no piece of a frame"
    assert "/live: not recorded for 10 s: [Errno 28] No space left on device" in caplog.text
    assert caplog.text.count("not recorded") == 1
    file.write(pieces(8, 60))
    file.close()
    assert (tmp_path / "a.mp3").read_bytes() == frames(0, 4) + frames(16, 60)


async def test_a_disk_that_hangs_costs_frames_of_the_recording_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder, "WAITING_RUNS", 3)
    monkeypatch.setattr(_File, "write", lambda file, pieces: time.sleep(0.3))
    async with serving(config(tmp_path)) as castd, await castd.encoder("/live") as encoder:
        ear = None
        for _ in range(40):
            await encoder.push(5)
            await trio.sleep(0.02)
            ear = ear or await castd.ear("/live")
        assert ear is not None
        with trio.fail_after(20):
            assert await ear.exactly(150 * FRAME_BYTES)
    assert caplog.text.count("the disk is too slow for its recording") == 1


async def test_a_folder_that_cannot_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    async with serving(config(tmp_path / "file")) as castd, await castd.encoder("/live") as encoder:
        await encoder.push(30)
        await until(lambda: "not recorded for 10 s" in caplog.text)
        ear = await castd.ear("/live")
        assert await ear.exactly(FRAME_BYTES) == frames(0, 1)

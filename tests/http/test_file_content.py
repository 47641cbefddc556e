"""A file on its way to a client: pace, patience, and what becomes of the file meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from castd.http.file_content import PIECE_BYTES, SEND_BYTES, FileContent
from castd.http.ranges import Part

if TYPE_CHECKING:
    from pathlib import Path

BODY = bytes(range(256)) * 2048  # 512 KiB


class Sink(trio.abc.SendStream):
    """Takes everything; remembers when.

    Attributes:
        taken: (time, bytes) of each send.
        delay_seconds: that each send takes.
    """

    def __init__(self, delay_seconds: float = 0) -> None:
        self.taken: list[tuple[float, bytes]] = []
        self.delay_seconds = delay_seconds

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(self.delay_seconds)
        self.taken.append((trio.current_time(), bytes(data)))

    async def wait_send_all_might_not_block(self) -> None: ...

    async def aclose(self) -> None: ...

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.taken)


def content(path: Path, start: int = 0, size: int | None = None, rate_bytes: int = 0) -> FileContent:
    whole = path.stat().st_size
    size = whole - start if size is None else size
    return FileContent(os.open(path, os.O_RDONLY), Part(start, size, whole), rate_bytes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "song").write_bytes(BODY)
    return tmp_path / "song"


@pytest.mark.parametrize(
    ("start", "size"), [(0, len(BODY)), (1, 1), (PIECE_BYTES - 1, PIECE_BYTES + 2), (len(BODY) - 1, 1), (5, 0)]
)
async def test_a_part(path: Path, start: int, size: int) -> None:
    file, sink = content(path, start, size), Sink()
    await file.send(sink, 1)
    file.close()
    assert sink.body == BODY[start : start + size]
    assert all(len(data) <= SEND_BYTES for _, data in sink.taken)


def test_closing_twice(path: Path) -> None:
    file = content(path)
    file.close()
    file.close()


async def test_a_limited_download_is_even(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    file, sink, start = content(path, 0, 100_000, rate_bytes=10_000), Sink(), trio.current_time()
    await file.send(sink, 1)
    file.close()
    assert sink.body == BODY[:100_000]
    assert trio.current_time() - start == pytest.approx(10, abs=0.2)
    assert all(len(data) == 1000 for _, data in sink.taken)
    for earlier, later in zip(sink.taken[:-10], sink.taken[10:], strict=True):
        assert later[0] - earlier[0] >= 0.99, "more than a second's bytes in a second"


async def test_a_slow_client_is_not_let_catch_up(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    file, sink = content(path, 0, 20_000, rate_bytes=10_000), Sink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.send, sink, 60)
        await trio.sleep(0.5)
        sink.delay_seconds = 10
        await trio.sleep(10)
        sink.delay_seconds = 0
    file.close()
    resumed = [at for at, _ in sink.taken if at > 10]
    assert resumed[-1] - resumed[0] >= 0.09 * (len(resumed) - 2)


async def test_a_client_that_takes_nothing_is_left(path: Path, autojump_clock: trio.testing.MockClock) -> None:
    file, sink, start = content(path), Sink(delay_seconds=14), trio.current_time()
    with trio.move_on_after(70) as waiting:
        await file.send(sink, 15)  # slow, yet it moves
    assert waiting.cancelled_caught
    sink.delay_seconds = 16
    start = trio.current_time()
    with pytest.raises(trio.BrokenResourceError, match="took nothing for 15 s"):
        await file.send(sink, 15)
    assert trio.current_time() - start == pytest.approx(15)
    file.close()


async def test_a_file_cut_shorter_ends_early(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, sink = content(path), Sink()
    os.truncate(path, 200_000)
    with pytest.raises(trio.BrokenResourceError, match="shorter"):
        await file.send(sink, 1)
    file.close()
    assert sink.body == BODY[:200_000]
    assert "became shorter" in caplog.text


def put_in_place(path: Path, content: bytes | None) -> None:
    """Another file under the same name, or None."""
    if content is None:
        path.unlink()
        return
    path.with_name("new").write_bytes(content)
    path.with_name("new").rename(path)


@pytest.mark.parametrize("replace", [True, False])
async def test_a_file_replaced_or_deleted_is_sent_as_it_was(path: Path, replace: bool) -> None:
    file, sink = content(path), Sink()
    put_in_place(path, b"another" if replace else None)
    await file.send(sink, 1)
    file.close()
    assert sink.body == BODY


async def test_a_broken_disk_ends_the_reply(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> bytes:
        raise OSError(5, "Input/output error")

    file, sink = content(path), Sink()
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(trio.BrokenResourceError):
        await file.send(sink, 1)
    file.close()
    assert "Input/output error" in caplog.text


async def test_five_gigabytes_go_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 5 << 30)
    read: list[int] = []

    class Counting(Sink):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            read.append(len(data))
            if sum(read) > 1 << 20:
                raise trio.BrokenResourceError("enough")

    file = content(path)
    with pytest.raises(trio.BrokenResourceError, match="enough"):
        await file.send(Counting(), 1)
    file.close()
    assert max(read) <= SEND_BYTES
    file, sink = content(path, (5 << 30) - 10), Sink()
    await file.send(sink, 1)
    file.close()
    assert sink.body == bytes(10)

"""Log files on disks that are full, missing, or tidied by somebody else."""

from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path

import pytest
import trio
import trio.testing

from castd import batches, log
from castd.batches import Batches
from castd.log_files import LineWriter, LogFile


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def file(tmp_path: Path, told: list[str]) -> LogFile:
    return LogFile(tmp_path / "a.log", 100, 3, told.append)


def full(fd: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_lines_are_appended_for_the_owner_and_the_group(file: LogFile) -> None:
    file.path.write_text("before\n")
    file.path.unlink()
    umask = os.umask(0)
    try:
        assert file.write(b"one\n")
        assert file.write(b"two\n")
    finally:
        os.umask(umask)
    assert file.path.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o640


def test_rotation_by_size_keeps_so_many(file: LogFile, told: list[str]) -> None:
    for number in range(12):
        assert file.write(f"{number:02d}".ljust(39).encode() + b"\n")
    names = sorted(each.name for each in file.path.parent.iterdir())
    assert names == ["a.log", "a.log.1", "a.log.2", "a.log.3"]
    kept = "".join(file.path.with_name(name).read_text() for name in reversed(names))
    assert [int(line) for line in kept.splitlines()] == [4, 5, 6, 7, 8, 9, 10, 11], "two lines a file, in order"
    assert told == []


def test_a_batch_larger_than_a_file_is_one_file(file: LogFile) -> None:
    file.write(b"x" * 500 + b"\n")
    file.write(b"y\n")
    assert file.path.read_text() == "y\n"
    assert file.path.with_name("a.log.1").stat().st_size == 501


def test_size_is_that_of_the_file_found(file: LogFile) -> None:
    file.path.write_bytes(b"x" * 90)
    file.write(b"y" * 20)
    assert file.path.read_bytes() == b"y" * 20


def test_a_rotation_that_fails_writes_on(file: LogFile, told: list[str]) -> None:
    blocker = file.path.with_name("a.log.1")
    blocker.mkdir()
    (blocker / "x").touch()
    file._rotate_keep = 1
    assert file.write(b"x" * 90)
    assert file.write(b"y" * 20)
    assert file.path.stat().st_size == 110
    assert len(told) == 1
    assert told[0].startswith(f"cannot rotate {file.path}: ")


def test_reopening_follows_the_name(file: LogFile) -> None:
    file.write(b"old\n")
    moved = file.path.with_name("moved")
    file.path.rename(moved)
    file.write(b"still old\n")
    file.reopen()
    file.write(b"new\n")
    assert moved.read_text() == "old\nstill old\n"
    assert file.path.read_text() == "new\n"


def test_a_missing_directory_is_told_and_found_again(tmp_path: Path, told: list[str]) -> None:
    file = LogFile(tmp_path / "later" / "a.log", 0, 1, told.append)
    assert not file.write(b"lost\n")
    assert told == [f"cannot write {file.path}: No such file or directory"]
    file.path.parent.mkdir()
    assert file.write(b"kept\n")
    assert file.path.read_text() == "kept\n"


def test_half_a_line_on_a_full_disk_is_taken_back(file: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    assert file.write(b"first\n")
    write, room = os.write, [3]

    def nearly_full(fd: int, data: bytes) -> int:
        if not room:
            return full(fd, data)
        return write(fd, data[: room.pop()])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", nearly_full)
        assert not file.write(b"second\n")
    assert file.write(b"third\n")
    assert file.path.read_text() == "first\nthird\n"


def test_nobody_waits_for_the_reader_of_a_fifo(tmp_path: Path, told: list[str]) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert not LogFile(tmp_path / "fifo", 0, 1, told.append).write(b"x\n")


@pytest.fixture
def server_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LogFile, Path]:
    """The server's log in a file, and what stands for standard error."""
    monkeypatch.setattr(log, "_rare", log.Repeats(log.REPEAT_SECONDS))
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    terminal = tmp_path / "terminal"
    handler = log.Handler(os.open(terminal, os.O_WRONLY | os.O_CREAT))
    handler.setFormatter(log.Journal())
    root.addHandler(handler)
    file = LogFile(tmp_path / "server.log", 0, 1, log.warn_rarely)
    log.write_to(file)
    return file, terminal


def test_the_servers_log_in_a_file(server_log: tuple[LogFile, Path]) -> None:
    file, terminal = server_log
    logging.getLogger("castd.x").warning("one\ntwo")
    (line,) = file.path.read_text().splitlines()
    assert line.endswith(" WARNING castd.x one\\ntwo"), "a file is no journal"
    file.path.rename(file.path.with_name("old"))
    log.reopen()
    logging.getLogger("castd.x").warning("three")
    assert file.path.read_text().endswith("three\n")
    assert terminal.read_text() == ""


def test_a_server_log_without_a_disk_goes_back_with_one_warning(
    server_log: tuple[LogFile, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, terminal = server_log
    file.path.mkdir()
    for number in range(20):
        logging.getLogger("castd.x").warning("message %d", number)
    lines = terminal.read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines if "message" in line] == [str(number) for number in range(20)]
    assert sum("cannot write" in line for line in lines) == 1
    assert len(lines) == 21


async def test_what_is_put_is_written_at_the_latest_when_it_ends(file: LogFile) -> None:
    writer = LineWriter(file)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.batches.run)
        await trio.testing.wait_all_tasks_blocked()
        writer.put("one")
        writer.put("two \udce4")
        nursery.cancel_scope.cancel()
    assert file.path.read_bytes() == b"one\ntwo ?\n"
    assert writer.lost == 0


async def test_of_too_much_the_newest_is_lost_and_counted() -> None:
    written: list[int] = []
    batch: Batches[int] = Batches(written.extend, room=10)
    for number in range(25):
        batch.put(number)
    assert batch.lost == 15
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batch.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert written == list(range(10))


async def test_lines_that_no_disk_takes_are_counted(tmp_path: Path, told: list[str]) -> None:
    writer = LineWriter(LogFile(tmp_path / "no" / "a.log", 0, 1, told.append))
    writer.put("one")
    writer.put("two")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.batches.run)
        nursery.cancel_scope.cancel()
    assert writer.lost == 2
    assert len(told) == 1


async def test_a_bug_in_the_writer_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(batches, "GATHER_SECONDS", 0.0)
    written = list[str]()
    done = trio.Event()

    def write(items: list[str]) -> None:
        if "bad" in items:
            raise RuntimeError("a bug")
        written.extend(items)
        trio.from_thread.run_sync(done.set)

    batch = Batches(write, room=10)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(batch.run)
            batch.put("bad")
            while not batch.lost:  # noqa: ASYNC110 - a thread brings it about
                await trio.sleep(0.002)
            batch.put("good")
            await done.wait()
            nursery.cancel_scope.cancel()
    assert (written, batch.lost) == (["good"], 1)
    assert "1 records were lost" in caplog.text

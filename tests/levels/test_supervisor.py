"""A decoder that crashes, hangs or talks nonsense costs a line of the log, and others' levels go on."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from castd.config import Config, Current
from castd.levels import child as real
from castd.levels.child import Child, ChildFailed
from castd.levels.messages import Piece
from castd.levels.supervisor import ROOM_BYTES, STRIKES, Levels, Meter
from castd.mount.registry import Registry
from castd.mount.shape import Shape
from castd.wire.framer import Entry, Run
from castd.wire.ogg_pages import PageCutter
from tests.mount.fakes import HandClock
from tests.mount.fakes import source as fake_source
from tests.support import until

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.mount.party import Source

FIXTURES = Path(__file__).parents[1] / "fixtures"

IMPOSTOR = """
import os, sys, time
from castd.levels.messages import LENGTH, Heard, read_question, written
from castd.levels.pipes import exactly, write
while head := exactly(LENGTH.size):
    question = read_question(exactly(LENGTH.unpack(head)[0]))
    data = getattr(question, "data", b"")
    if b"crash" in data:
        os.abort()
    if b"hang" in data:
        time.sleep(600)
    if b"nonsense" in data:
        write(1, LENGTH.pack(3) + b"abc")
    if b"flood" in data:
        write(1, b"\\xff" * 100)
    write(1, written(Heard(1.0, -70.0, -60.0)))
"""
"""Does what it is told by what it should decode."""

COMMAND = (sys.executable, "-c", IMPOSTOR)


@dataclass
class Bench:
    """Mounts, and who listens to them."""

    registry: Registry
    levels: Levels

    def source(self, name: str, format: str = "mpeg") -> tuple[Mount, Source]:
        """A source that was recognised."""
        mount, source = self.registry.open(name), fake_source()
        mount.take_on(source)
        mount.recognised(source, Shape(format), "audio/mpeg")
        return mount, source


def say(mount: Mount, source: Source, data: bytes) -> None:
    mount.append(source, Run(data, 0.0, 1.0, (Entry(0, 0.0),)))


@asynccontextmanager
async def listening(command: tuple[str, ...] = COMMAND, answer_seconds: float = 20.0) -> AsyncIterator[Bench]:
    config = Config(mounts={"default": {"silence_seconds": 5.0}})
    registry = Registry(Current(config), HandClock().clock)
    levels = Levels(registry, command, 0.01, answer_seconds, 0.01)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(levels.run)
            yield Bench(registry, levels)
            nursery.cancel_scope.cancel()


async def keep_saying(mount: Mount, source: Source, data: bytes, until_true: Callable[[], bool]) -> None:
    while not until_true():
        say(mount, source, data)
        await trio.sleep(0.01)


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


@pytest.mark.parametrize(("poison", "words", "patience"), [
    (b"crash", "ended: killed by SIGABRT over what /bad sends", 20.0),
    (b"hang", "did not answer for 3 s over what /bad sends", 3.0),
    (b"nonsense", "gave an answer that is none over what /bad sends", 20.0),
    (b"flood", "gave an answer that is none over what /bad sends", 20.0),
])  # fmt: skip
async def test_a_fault_costs_a_line(
    poison: bytes, words: str, patience: float, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(answer_seconds=patience) as bench:
        good, bad = bench.source("/good"), bench.source("/bad")
        await keep_saying(*good, b"fine", lambda: good[1].sound.quiet_seconds > 0)
        await until(lambda: bad[1].ear is not None)
        say(*bad, poison)
        await until(lambda: bool(failures(caplog)))
        assert good[0].source is good[1], "nobody else noticed"
        heard = good[1].sound.quiet_seconds
        await keep_saying(*good, b"fine", lambda: good[1].sound.quiet_seconds > heard)
        (line,) = failures(caplog)
        assert words in line


async def test_who_does_it_again_and_again_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as bench:
        bad = bench.source("/bad")
        bad[1].sound.silent = True
        await until(lambda: bad[1].ear is not None)
        await keep_saying(*bad, b"crash", lambda: len(failures(caplog)) > STRIKES)
        assert bad[1].ear is None
        assert "nobody listens to this source any more" in failures(caplog)[-1]
        assert not bad[1].sound.silent, "since nobody can tell when it is back"
        good = bench.source("/good")
        await keep_saying(*good, b"fine", lambda: good[1].sound.quiet_seconds > 0)
        assert len(failures(caplog)) == STRIKES + 1


async def test_a_command_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(("/nonexistent/castd",)) as bench:
        bench.source("/live")
        await until(lambda: bool(failures(caplog)))
    assert "cannot be started: No such file or directory" in failures(caplog)[0]


async def test_nobody_to_listen_to_is_no_process(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with listening() as bench:
        mount, source = bench.source("/live")
        await keep_saying(mount, source, b"fine", lambda: source.sound.quiet_seconds > 0)
        mount.release(source)
        await until(lambda: bench.levels._child is None)
    assert source.ear is None
    assert not failures(caplog)


async def test_the_real_one_hears_what_is_in_the_files() -> None:
    async with listening(real.COMMAND) as bench:
        mounts = {name: bench.source(f"/{name}", "ogg") for name in ("opus.opus", "vorbis.ogg")}
        await until(lambda: all(source.ear for _, source in mounts.values()))
        for name, (mount, source) in mounts.items():
            for page in PageCutter().feed((FIXTURES / name).read_bytes()):
                say(mount, source, page)
        await until(lambda: all(source.sound.level_dbfs for _, source in mounts.values()))
        for _, source in mounts.values():
            assert source.sound.level_dbfs == pytest.approx(-14.0, abs=2)


async def test_the_real_one_survives_garbage() -> None:
    """Or is replaced; whatever comes, a stream after it is decoded."""
    async with trio.open_nursery() as nursery:
        child = await Child.start()
        data = bytearray((FIXTURES / "vorbis.ogg").read_bytes())
        for at in range(200, len(data), 97):
            data[at] ^= 0x55
        for number, (form, piece) in enumerate([
            ("ogg", bytes(data)), ("ogg", b"OggS" * 1000), ("mpeg", bytes(data)), ("aac", b"\xff\xf1" * 5000),
            ("mpeg", b"\xff\xfb\x90\x64" + bytes(413)), ("aac", b""), ("nothing", b"x"),
        ]):  # fmt: skip
            answer = await child.ask(Piece(number, form, True, piece))
            assert answer.seconds < 60
        heard = await child.ask(Piece(99, "ogg", True, (FIXTURES / "opus.opus").read_bytes()))
        assert heard.seconds == pytest.approx(6, abs=0.2)
        await child.aclose()
        with pytest.raises((ChildFailed, trio.ClosedResourceError)):
            await child.ask(Piece(99, "ogg", True, b""))
        nursery.cancel_scope.cancel()


async def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Even if that is killed without a word."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import trio\nfrom castd.levels.child import Child\nfrom castd.levels.messages import Piece\n"
        "async def main():\n"
        "    child = await Child.start()\n"
        "    await child.ask(Piece(1, 'mpeg', True, b''))\n"
        "    print(child.pid, flush=True)\n"
        "    await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    parent = await trio.lowlevel.open_process([sys.executable, str(script)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.receive_some())
    parent.kill()
    await parent.wait()
    await parent.stdout.aclose()
    with trio.fail_after(10):
        await until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


CONFINED = """
import os, socket, sys
from castd.levels.confine import confine
confine()
found = []
for name, what in {
    "file": lambda: os.open("/etc/hostname", os.O_RDONLY),
    "socket": socket.socket,
    "pipe": os.pipe,
    "trace": lambda: os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR),
    "root": lambda: os.setuid(0) if os.geteuid() else None,
}.items():
    try:
        what()
        found.append(name)
    except OSError:
        pass
print(found, os.geteuid() == 0)
"""


def test_it_gives_up_all_it_can() -> None:
    done = subprocess.run([sys.executable, "-c", CONFINED], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n", done.stdout + done.stderr


def test_what_waits_is_bounded() -> None:
    mount = Registry(Current(Config()), HandClock().clock).open("/live")
    source = fake_source()
    mount.take_on(source)
    mount.recognised(source, Shape("mpeg"), "audio/mpeg")
    meter = Meter(mount, source)
    for _ in range(3 * ROOM_BYTES // 16_384):
        say(mount, source, bytes(16_384))
    piece = meter.piece()
    assert piece is not None
    assert len(piece.data) <= ROOM_BYTES
    assert piece.begins
    say(mount, source, b"more")
    assert meter.piece() == Piece(source.id, "mpeg", False, b"more")
    assert meter.piece() is None

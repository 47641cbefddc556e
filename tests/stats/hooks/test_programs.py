"""What a program is told, and what it cannot do to castd."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from castd.config import Hook
from castd.stats.events import Event
from castd.stats.hooks.parcels import Parcel
from castd.stats.hooks.programs import OUTPUT_LINES, STALE_SECONDS, Program
from tests.support import configured, serving, until


def program(folder: Path, text: str, **hook: float) -> Hook:
    """A hook that runs a Python script."""
    script = folder / "hook.py"
    script.write_text(text)
    return Hook(events=("*",), program=sys.executable, args=("-I", str(script), str(folder)), **hook)  # type: ignore[arg-type]


def now(**fields: str | int | float | None) -> Parcel:
    return Parcel((Event("title", time.time(), "/live", fields),))


async def run(hook: Hook, parcel: Parcel) -> Program:
    made = Program(hook, trio.CapacityLimiter(1))
    with trio.fail_after(20):
        await made.tell(parcel)
    return made


REPORT = """
import json, os, sys
told = json.load(sys.stdin)
descriptors = sorted(int(name) for name in os.listdir("/proc/self/fd"))
json.dump({"told": told, "environment": dict(os.environ), "descriptors": descriptors, "directory": os.getcwd(),
           "leader": os.getsid(0) == os.getpid()}, open(sys.argv[1] + "/report", "w"))
"""


async def test_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "of castd's own")
    inheritable = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inheritable, True)
    try:
        parcel = now(text="$(touch x); ü\n\0'\"", artist=None, position=7)
        ended = await run(program(tmp_path, REPORT), parcel)
    finally:
        os.close(inheritable)
    report = json.loads((tmp_path / "report").read_text())
    assert report["told"] == parcel.events[0].as_json()
    environment = report["environment"]
    environment.pop("LC_CTYPE", None)  # Python's own doing
    assert environment == {
        "PATH": os.environ["PATH"],
        "CASTD_EVENT": "title",
        "CASTD_MOUNT": "/live",
        "CASTD_TIME": parcel.events[0].moment,
        "CASTD_FIELD_TEXT": "$(touch x); ü\n'\"",
        "CASTD_FIELD_ARTIST": "",
        "CASTD_FIELD_POSITION": "7",
    }
    assert len(report["descriptors"]) == 4, "standard ones, and the listing of them"
    assert (report["directory"], report["leader"]) == ("/", True)
    assert (ended.health.told, ended.health.failed) == (1, 0)


async def test_a_batch_has_no_fields_in_its_environment(tmp_path: Path) -> None:
    (single,) = now(text="x").events
    await run(program(tmp_path, REPORT), Parcel((single, single), batch=True))
    report = json.loads((tmp_path / "report").read_text())
    assert len(report["told"]) == 2
    assert not [name for name in report["environment"] if name.startswith("CASTD_FIELD_")]


async def test_its_time_is_limited_with_all_it_started(tmp_path: Path) -> None:
    text = """
import subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"])
open(sys.argv[1] + "/child", "w").write(str(child.pid))
time.sleep(1000)
"""
    ended = await run(program(tmp_path, text, timeout_seconds=1.0), now())
    assert ended.health.last_failure == "killed after 1 s"
    child = int((tmp_path / "child").read_text())
    await until(lambda: not alive(child))


async def test_what_it_leaves_behind_is_ended(tmp_path: Path) -> None:
    text = """
import subprocess, sys
child = subprocess.Popen(["sleep", "1000"])
open(sys.argv[1] + "/child", "w").write(str(child.pid))
"""
    ended = await run(program(tmp_path, text), now())
    assert ended.health.told == 1
    child = int((tmp_path / "child").read_text())
    await until(lambda: not alive(child))


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("text", "why"),
    [("import sys; sys.exit(3)", "exit code 3"), ("import os; os.kill(os.getpid(), 15)", "killed by SIGTERM")],
)
async def test_a_bad_end_is_told(tmp_path: Path, text: str, why: str, caplog: pytest.LogCaptureFixture) -> None:
    ended = await run(program(tmp_path, text), now())
    assert ended.health.last_failure == why
    assert f"{why} (title)" in caplog.text


async def test_one_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    ended = await run(Hook(events=("*",), program="/no/such/program"), now())
    assert ended.health.last_failure == "cannot be run: No such file or directory"


async def test_its_words_are_logged_up_to_a_bound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await run(program(tmp_path, "print('one'); print('x' * 10_000)"), now())
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("hook ")]
    assert said[0].endswith(": one")
    assert len(said[1]) < 1000
    caplog.clear()
    await run(program(tmp_path, "while True: print('again')"), now())
    assert sum("again" in record.getMessage() for record in caplog.records) <= OUTPUT_LINES
    assert "says too much" in caplog.text


async def test_of_the_past_it_is_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (single,) = now().events
    old = replace(single, at=single.at - STALE_SECONDS - 1)
    await run(program(tmp_path, REPORT), Parcel((old,)))
    assert not (tmp_path / "report").exists()


async def test_a_hanging_program_holds_up_no_audio(tmp_path: Path) -> None:
    hook = program(tmp_path, "import time; time.sleep(1000)", timeout_seconds=600.0)
    async with serving(replace(configured(), hooks=(hook,))) as castd:
        encoder = await castd.encoder("/live")
        for _ in range(10):
            await encoder.push(10)
        await until(lambda: castd.mount("/live").ring.head == 99 * 417)
        ear = await castd.ear("/live")
        assert len(await ear.exactly(90 * 417)) == 90 * 417

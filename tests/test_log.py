"""The log: nothing a client sends can forge a line, and nothing that happens to the file can hurt the server."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from castd.log import Format, Handler, Human, Json, Plain, Repeats, escape, set_up

log = logging.getLogger("castd.part.thing")

HOSTILE = "a\nb\r\x00\x1b[31m\x85\u2028\u202e\ud800\udcff\x7f ö 🎵 \\"
ESCAPED = r"a\nb\r\x00\x1b[31m\x85\u2028\u202e\ud800\udcff\x7f ö 🎵 " + "\\"


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    """The root logger as pytest has it, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # basicConfig(force=True) closes what it removes, and pytest's are needed again.
    root.handlers = []
    yield
    logging.captureWarnings(False)
    root.handlers, root.level = handlers, level


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Callable[[Format], Callable[[], list[str]]]]:
    """Sets the log up in a format; what that returns reads the lines written so far."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def start(style: Format) -> Callable[[], list[str]]:
        set_up(style, "info", descriptor)
        return lambda: path.read_text("utf-8").splitlines()

    yield start
    os.close(descriptor)


Lines = Callable[[Format], Callable[[], list[str]]]


def test_escape() -> None:
    assert escape(HOSTILE) == ESCAPED
    assert escape(ESCAPED) == ESCAPED


def test_plain(lines: Lines) -> None:
    read = lines("auto")  # a file is no terminal
    log.info("hello %s", HOSTILE)
    (line,) = read()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d INFO castd\.part\.thing hello .*", line)
    assert line.endswith(f"hello {ESCAPED}")


def test_human(lines: Lines) -> None:
    read = lines("human")
    log.warning("hello %s", HOSTILE)
    (line,) = read()
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING thing: hello .*", line)
    assert line.endswith(ESCAPED)  # no colour: a file is no terminal


@pytest.mark.parametrize(("level", "colour"), [(logging.INFO, ""), (logging.ERROR, "\x1b[31m")])
def test_colour(level: int, colour: str) -> None:
    record = logging.LogRecord("castd.x", level, "", 0, "m", (), None)
    assert (colour or "\x1b[2m") in Human(colour=True).format(record)
    assert "\x1b" not in Human(colour=False).format(record)


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_terminal(monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    main, terminal = os.openpty()
    try:
        set_up("auto", "info", terminal)
        log.error("hello")
        written = os.read(main, 1000).decode()
        assert "thing" in written
        assert "hello" in written
        assert ("\x1b[31m" in written) is coloured
    finally:
        os.close(terminal)
        os.close(main)


def test_json(lines: Lines) -> None:
    read = lines("json")
    fields = {
        "mount": HOSTILE,
        "bytes": 7,
        "rate": float("nan"),
        "path": Path("/x"),
        "list": [1, ("b\n", None)],
        "level": "no",
    }
    log.info("hello %s", HOSTILE, extra={"fields": fields})
    (line,) = read()
    record = json.loads(line)
    assert record.pop("time").count(":") >= 3
    assert record == {
        "level": "info",
        "logger": "castd.part.thing",
        "message": f"hello {ESCAPED}",
        "mount": ESCAPED,
        "bytes": 7,
        "rate": "nan",
        "path": "/x",
        "list": [1, ["b\\n", None]],
    }


@pytest.mark.parametrize("style", ["plain", "human"])
def test_tracebacks_stay_below_their_line(lines: Lines, style: Format) -> None:
    read = lines(style)
    try:
        raise ValueError("one\n2026-01-01 forged\x1b")
    except ValueError:
        log.exception("broken", stack_info=True)
    first, *below = read()
    assert first.endswith("broken")
    assert "    Traceback (most recent call last):" in below
    assert "    2026-01-01 forged\\x1b" in below
    assert "    Stack (most recent call last):" in below
    assert all(line.startswith("    ") for line in below)


def test_tracebacks_stay_inside_json(lines: Lines) -> None:
    read = lines("json")
    try:
        raise ValueError("one\ntwo\x1b")
    except ValueError:
        log.exception("broken")
    (line,) = read()
    assert json.loads(line)["traceback"].endswith("ValueError: one\ntwo\\x1b")


def test_level(lines: Lines) -> None:
    read = lines("plain")
    log.debug("not this")
    set_up("plain", "error")
    log.warning("nor this")
    assert read() == []


def test_setting_up_again_replaces(lines: Lines) -> None:
    lines("plain")
    read = lines("plain")
    log.info("once")
    assert len(read()) == 1


def test_warnings_are_logged(lines: Lines) -> None:
    read = lines("plain")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(True)  # again, since catch_warnings puts pytest's way of showing them back
        warnings.warn("odd", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert "UserWarning: odd" in read()[0]


@pytest.mark.parametrize("formatter", [Plain(), Human(colour=False), Json()])
def test_wrong_arguments_do_not_lose_the_message(formatter: logging.Formatter) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = object.__repr__

    few: Any = ("one",)
    line = formatter.format(logging.LogRecord("castd.x", logging.INFO, "", 0, "%s and %s", few, None))
    assert "%s and %s" in line
    line = formatter.format(logging.LogRecord("castd.x", logging.INFO, "", 0, "%s!", (Broken(),), None))
    assert "no text" in line


# Files that fail


def test_a_full_disk_loses_lines_only(capfd: pytest.CaptureFixture[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    handler = Handler(full)
    logging.basicConfig(level="INFO", handlers=[handler], force=True)
    for _ in range(3):
        log.info("lost")
    os.close(full)
    assert handler.lost == 3
    assert capfd.readouterr() == ("", "")


def test_the_loss_is_told_once_there_is_room(tmp_path: Path) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    handler = Handler(descriptor)
    handler.setFormatter(Plain())
    logging.basicConfig(level="INFO", handlers=[handler], force=True)
    log.info("lost")
    log.info("lost, too")
    room = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(room, descriptor)
    log.info("kept")
    log.info("kept, too")
    os.close(room)
    os.close(descriptor)
    told, kept, last = (tmp_path / "log").read_text().splitlines()
    assert told.endswith("WARNING castd.log 2 messages were lost")
    assert kept.endswith("kept")
    assert last.endswith("kept, too")
    assert handler.lost == 0


@pytest.mark.parametrize("closed", ["pipe", "descriptor"])
def test_nobody_reads(closed: str, capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    if closed == "descriptor":
        os.close(writing)
    handler = Handler(writing)
    logging.basicConfig(level="INFO", handlers=[handler], force=True)
    log.info("lost")
    assert handler.lost == 1
    if closed == "pipe":
        os.close(writing)
    assert capfd.readouterr() == ("", "")


def test_a_formatter_that_fails_is_no_recursion() -> None:
    class Broken(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            log.error("again")
            raise RuntimeError

    handler = Handler(2)
    handler.setFormatter(Broken())
    logging.basicConfig(level="INFO", handlers=[handler], force=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        log.info("lost")
    finally:
        sys.setrecursionlimit(limit)
    assert handler.lost > 0


# Repeats


def test_repeats() -> None:
    repeats = Repeats(10)
    assert repeats.admit("a", 100) == 0
    assert repeats.admit("a", 105) is None
    assert repeats.admit("b", 105) == 0
    assert repeats.admit("a", 109.9) is None
    assert repeats.admit("a", 110) == 2
    assert repeats.admit("a", 111) is None
    assert repeats.admit("a", 500) == 1
    assert repeats.admit("a", 510) == 0


def test_repeats_of_which_some_are_told() -> None:
    repeats = Repeats(10, most=3)
    assert [repeats.admit("a", now) for now in (0, 1, 2, 3, 9)] == [0, 0, 0, None, None]
    assert repeats.admit("b", 9) == 0
    assert [repeats.admit("a", now) for now in (10, 11, 12, 13)] == [2, 0, 0, None]


def test_repeats_at_time_zero() -> None:
    assert Repeats(10).admit("a", 0) == 0


def test_repeats_forget_the_one_told_longest_ago() -> None:
    repeats = Repeats(10, keys=2)
    for now, key in enumerate("aba"):
        repeats.admit(key, now * 6)  # a is told at 0 and 12, b at 6
    assert repeats.admit("c", 13) == 0
    assert repeats.admit("a", 14) is None
    assert repeats.admit("b", 14) == 0  # forgotten

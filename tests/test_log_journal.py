"""The log in systemd's journal: levels as prefixes, chosen when standard error is the journal's stream."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from castd.log import Journal, set_up

log = logging.getLogger("castd.part.thing")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Reading and writing end; the root logger is as pytest has it, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)
    logging.captureWarnings(False)
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize(
    ("level", "number"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (25, 5), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)],
)
def test_levels(level: int, number: int) -> None:
    record = logging.LogRecord("castd.part.thing", level, "", 0, "a\nb <1>", (), None)
    assert Journal().format(record) == f"<{number}>thing: a\\nb <1>"


def test_each_line_of_a_traceback_has_its_level() -> None:
    try:
        raise ValueError("one\ntwo")
    except ValueError as error:
        record = logging.LogRecord("castd.x", logging.ERROR, "", 0, "m", (), (ValueError, error, error.__traceback__))
    lines = Journal().format(record).split("\n")
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)


@pytest.mark.parametrize(("offset", "expected"), [(0, b"<4>thing: hello\n"), (1, b" WARNING castd.part.thing hello\n")])
def test_auto(pipe: tuple[int, int], offset: int, expected: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = pipe
    status = os.fstat(writing)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + offset}")
    set_up("auto", "info", writing)
    log.warning("hello")
    assert os.read(reading, 1000).endswith(expected)


def test_on_request(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    set_up("journal", "info", writing)
    log.info("hello")
    assert os.read(reading, 1000) == b"<6>thing: hello\n"

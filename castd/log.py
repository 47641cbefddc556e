"""The log: the standard library's loggers, written to standard error in one of three formats.

human: for a terminal; short time, level, part of castd, message. plain: for files; the same with a full time. journal:
for systemd's; the level as its prefix, no time. json: one object a line, with whatever the message's author added by
`extra={"fields": {...}}`.

Whatever clients can put into a message is escaped here and nowhere else, the same way for every format.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import select
import time
from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from castd.log_files import LogFile

log = logging.getLogger(__name__)

Format: TypeAlias = Literal["auto", "human", "plain", "journal", "json"]

UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What can forge lines, drive a terminal, turn text round (bidirectional controls), or cannot be encoded."""

COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[1;31m"}
DIM, RESET = "\x1b[2m", "\x1b[0m"

JOURNAL_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""sd-daemon(3): syslog's levels, as the journal reads them before each line."""

STDERR = 2

REPEAT_SECONDS = 300.0
"""Between two warnings of the same trouble with a log file."""


def set_up(style: Format = "auto", level: str = "info", descriptor: int = STDERR) -> None:
    """Send every logger's messages to a descriptor; replaces an earlier set-up.

    Args:
        style: "auto" is human on a terminal, journal where systemd reads the descriptor, else plain.
        level: the least level written: "debug", "info", "warning" or "error".
        descriptor: of the file, pipe or terminal; stays open.
    """
    terminal = os.isatty(descriptor)
    handler = Handler(descriptor)
    if style == "json":
        handler.setFormatter(Json())
    elif style == "human" or (style == "auto" and terminal):
        # https://no-color.org: any value but none at all
        handler.setFormatter(Human(colour=terminal and not os.environ.get("NO_COLOR")))
    elif style == "journal" or (style == "auto" and _is_journal(descriptor)):
        handler.setFormatter(Journal())
    else:
        handler.setFormatter(Plain())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)


def write_to(file: LogFile | None) -> None:
    """Send the log to a file from now on; while that cannot be written, or for None, to the descriptor as at first."""
    for handler in _handlers():
        if handler.file is not None:
            handler.file.reopen()  # the next has its name, or it is not written any more
        handler.file = file
        if file is not None and not isinstance(handler.formatter, Json):
            handler.setFormatter(Plain())


def reopen() -> None:
    """Open the log's file anew, since somebody has moved it away; without one nothing happens."""
    for handler in _handlers():
        if handler.file is not None:
            handler.file.reopen()


def warn_rarely(message: str) -> None:
    """A warning that is written once in REPEAT_SECONDS, however often it is given."""
    left_out = _rare.admit(message, time.monotonic())
    if left_out is not None:
        log.warning("%s (%d times more since the last such line)", message, left_out)


def escape(text: str) -> str:
    r"""Make text safe for one line of log: "a\nb" gets a backslash and an n, a lone surrogate its number."""
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


PIPE_BYTES = 4096
"""A pipe that polls as writable takes so much without waiting (pipe(7), PIPE_BUF)."""


class Handler(logging.Handler):
    """Writes records to a descriptor, one write each; a full disk or a closed pipe loses lines and nothing else.

    Not a StreamHandler, because a Python stream keeps what it could not write and raises again at exit.

    Attributes:
        lost: records not written since the last that was.
        file: where they go instead, as long as it can be written.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.lost = 0
        self.file: LogFile | None = None
        self._descriptor = descriptor
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lines = [self.format(record)]
            if self.lost:
                told = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "created": record.created}
                lines.insert(0, self.format(logging.makeLogRecord(told | {"msg": f"{self.lost} messages were lost"})))
            data = "".join(f"{line}\n" for line in lines).encode()
            if self.file is None or not self.file.write(data):
                self._put(data)
        except Exception:  # telling it would come back here
            self.lost += 1
        else:
            self.lost = 0

    def _put(self, data: bytes) -> None:
        """Write to the descriptor, never waiting for its reader: a stopped pager must not stop the audio.

        Raises:
            BlockingIOError: a pipe is full, and the rest of the data is lost.
        """
        for start in range(0, len(data), PIPE_BYTES):
            if not self._writable.poll(0):
                raise BlockingIOError
            os.write(self._descriptor, data[start : start + PIPE_BYTES])


class Plain(logging.Formatter):
    """`2026-01-31T15:04:05.678+01:00 WARNING castd.ingest.session message`, a traceback indented below."""

    def format(self, record: logging.LogRecord) -> str:
        return self._below(f"{_time(record)} {record.levelname} {escape(record.name)} {_message(record)}", record)

    def _below(self, line: str, record: logging.LogRecord) -> str:
        # Indented, since an exception's own text may hold line breaks and look like a record.
        return "\n".join([line, *(f"    {part}" for part in _traceback(self, record))])


class Human(Plain):
    """`15:04:05 WARNING session: message`, coloured on request."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        level, part = f"{record.levelname:<7}", escape(record.name.rpartition(".")[2])
        if self._colour:
            time, part = f"{DIM}{time}{RESET}", f"{DIM}{part}{RESET}"
            level = f"{COLOURS[record.levelno]}{level}{RESET}" if record.levelno in COLOURS else level
        return self._below(f"{time} {level} {part}: {_message(record)}", record)


class Journal(Plain):
    """`<4>session: message`, each line of a traceback with its level, too; the journal knows the time."""

    def format(self, record: logging.LogRecord) -> str:
        level = JOURNAL_LEVELS.get(record.levelno, 5)
        text = self._below(f"{escape(record.name.rpartition('.')[2])}: {_message(record)}", record)
        return "\n".join(f"<{level}>{line}" for line in text.split("\n"))


class Json(logging.Formatter):
    """One object a line: time, level, logger, message, traceback if there is one, the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": escape(record.name),
            "message": _message(record),
        }
        if below := _traceback(self, record):
            line["traceback"] = "\n".join(below)
        fields = getattr(record, "fields", None)
        if isinstance(fields, Mapping):
            line |= {key: value for key, value in _json_safe(fields).items() if key not in line}
        return json.dumps(line, ensure_ascii=False)


class Repeats:
    """Keeps repeated messages down: for each key one in so many seconds, which tells how many were left out.

        left_out = repeats.admit(mount, now)
        if left_out is not None:
            log.warning("%s: damaged frames (and %d times before)", mount, left_out)

    Args:
        seconds: between two messages of one key.
        keys: remembered at most; beyond that the one told longest ago is forgotten, with its count.
        most: messages of one key in that time, where it may be more than one.
    """

    def __init__(self, seconds: float, keys: int = 1000, most: int = 1) -> None:
        self._seconds = seconds
        self._keys = keys
        self._most = most
        self._told: dict[Hashable, tuple[float, int, int]] = {}

    def admit(self, key: Hashable, now: float) -> int | None:
        """Whether to write a message.

        Args:
            key: what makes messages the same.
            now: in seconds, of any clock that never goes back.

        Returns:
            How many of this key were left out since the last one written; None to leave this one out, too.
        """
        told, count, left_out = self._told.get(key, (-math.inf, 0, 0))
        if now - told < self._seconds:
            if count < self._most:
                self._told[key] = (told, count + 1, 0)
                return 0
            self._told[key] = (told, count, left_out + 1)
            return None
        self._told.pop(key, None)  # back in at the end: the dict's order is that of telling
        self._told[key] = (now, 1, 0)
        if len(self._told) > self._keys:
            del self._told[next(iter(self._told))]
        return left_out


_rare = Repeats(REPEAT_SECONDS)


def _handlers() -> list[Handler]:
    return [each for each in logging.getLogger().handlers if isinstance(each, Handler)]


def _is_journal(descriptor: int) -> bool:
    """Whether a descriptor is the stream systemd says it connected to its journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


def _message(record: logging.LogRecord) -> str:
    try:
        return escape(record.getMessage())
    except Exception as error:  # wrong arguments are a bug, but not one to lose the message for
        return escape(f"{record.msg!r} with arguments {record.args!r} ({error})")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """The lines of the record's traceback and stack, escaped each."""
    blocks = []
    if record.exc_info and record.exc_info[0] is not None:
        blocks.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        blocks.append(formatter.formatStack(record.stack_info))
    return [escape(line) for block in blocks for line in block.split("\n")]


def _json_safe(value: Any) -> Any:
    """The value with all text escaped, and text in place of what JSON does not know."""
    if isinstance(value, Mapping):
        return {escape(str(key)): _json_safe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(each) for each in value]
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return escape(str(value))

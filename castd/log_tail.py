"""The last lines of the log in memory, for operators who look at a page instead of a terminal."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

from castd.log import escape

KEPT = 1000

MESSAGE_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        id: counts from 1.
        time: seconds since 1970.
        level: "debug", "info", "warning", "error" or "critical".
        logger: the part of castd.
        message: safe for one line of text.
    """

    id: int
    time: float
    level: str
    logger: str
    message: str


class LogTail(logging.Handler):
    """Keeps what is logged.

    Attributes:
        lines: the newest last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[Line] = deque(maxlen=KEPT)
        self._last = 0

    def emit(self, record: logging.LogRecord) -> None:
        self._last += 1
        try:
            message = escape(record.getMessage())[:MESSAGE_CHARACTERS]
        except Exception:  # a message that fits not its arguments: the real log tells of it
            message = escape(str(record.msg))[:MESSAGE_CHARACTERS]
        if record.exc_info and record.exc_info[1] is not None:
            message += f": {escape(repr(record.exc_info[1]))[:MESSAGE_CHARACTERS]}"
        self.lines.append(Line(self._last, record.created, record.levelname.lower(), record.name, message))

    def __enter__(self) -> LogTail:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

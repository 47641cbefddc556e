"""Log files: appended to, rotated by size, opened anew when somebody else rotates them.

Nothing here raises: the log itself is written through this, and whatever the disk does is no reason to stop streaming.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from castd.batches import Batches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODE = 0o640
"""Addresses and user names are in there: for castd's user and its group."""

ROOM_LINES = 20_000
"""Lines that wait for the disk: a full house that leaves at once."""

# Nobody waits for a FIFO's reader.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


class LogFile:
    """One file. Threads may share it.

    Args:
        path: of the file; its directory must exist when it is written.
        rotate_bytes: a file that would grow beyond it is renamed to PATH.1, PATH.1 to PATH.2 and so on; 0 never.
        rotate_keep: renamed files kept.
        on_trouble: called with a sentence at each write that fails.
    """

    def __init__(self, path: Path, rotate_bytes: int, rotate_keep: int, on_trouble: Callable[[str], None]) -> None:
        self.path = path
        self._rotate_bytes = rotate_bytes
        self._rotate_keep = rotate_keep
        self._on_trouble = on_trouble
        self._fd = -1
        self._size = 0
        self._lock = threading.Lock()

    def write(self, data: bytes) -> bool:
        """Append whole lines.

        Returns:
            False if they could not be written; none of them is in the file then.
        """
        with self._lock:
            try:
                self._append(data)
            except OSError as error:
                self._close()
                trouble = f"cannot write {self.path}: {error.strerror or error}"
            else:
                return True
        self._on_trouble(trouble)
        return False

    def reopen(self) -> None:
        """Let go of the file; the next write opens the one that has its name then."""
        with self._lock:
            self._close()

    def _append(self, data: bytes) -> None:
        self._open()
        if self._rotate_bytes and self._size and self._size + len(data) > self._rotate_bytes:
            self._rotate()
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError:
            self._cut()
            raise
        self._size += written

    def _open(self) -> None:
        if self._fd < 0:
            self._fd = os.open(self.path, _FLAGS, MODE)
            self._size = os.fstat(self._fd).st_size

    def _cut(self) -> None:
        """Take back a line begun: it would run into the next that can be written."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            pass  # it is no file

    def _rotate(self) -> None:
        """Rename the files in a chain; the oldest falls off its end.

        Raises:
            OSError: a new file cannot be opened.
        """
        try:
            for number in range(self._rotate_keep - 1, 0, -1):
                if self._numbered(number).exists():
                    self._numbered(number).replace(self._numbered(number + 1))
            self.path.replace(self._numbered(1))
        except OSError as error:  # a longer file is better than none
            self._on_trouble(f"cannot rotate {self.path}: {error.strerror or error}")
            return
        self._close()
        self._open()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LineWriter:
    """Writes lines into a log file without making anybody wait.

    Attributes:
        file: may be another at any time; for None nothing is written.
        batches: to be run by the owner.
    """

    def __init__(self, file: LogFile | None) -> None:
        self.file = file
        self.batches: Batches[str] = Batches(self._write, room=ROOM_LINES)
        self._unwritten = 0

    @property
    def lost(self) -> int:
        """Lines that are not in the file, and will not be."""
        return self.batches.lost + self._unwritten

    def put(self, line: str) -> None:
        """Have a line written, which has no line break."""
        if self.file is not None:
            self.batches.put(line)

    def _write(self, lines: list[str]) -> None:
        if (
            lines
            and self.file is not None
            and not self.file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        ):
            self._unwritten += len(lines)

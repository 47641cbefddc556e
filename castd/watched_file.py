"""Files that operators replace while the server runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import trio

from castd.errors import lacks_resources
from castd.log import warn_rarely

RECHECK_SECONDS = 1.0
"""How often it is looked whether a file was replaced."""

State: TypeAlias = "tuple[int, int, int]"

Content = TypeVar("Content")


def file_state(path: str | Path) -> State | None:
    """What tells that a file changed; None if there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class WatchedFile(Generic[Content]):
    """What is in a file now, for any number of tasks that ask.

    Args:
        path: of the file.
        read: gives its content; called in a thread when it changed.
        nothing: its content while there is no file, or none that could be read.
        complain: told why it could not be read, each time it changed; in that thread, too.
    """

    def __init__(
        self, path: str, read: Callable[[str], Content], nothing: Content, complain: Callable[[str], None]
    ) -> None:
        self._path = path
        self._read = read
        self._nothing = self._content = nothing
        self._complain = complain
        self._state: State | None = (0, 0, 0)  # of no file
        self._due = float("-inf")
        self._lock = trio.Lock()  # who asks first has the file read, and the others wait for that

    async def content(self) -> Content:
        """As it was a second ago or later."""
        if trio.current_time() >= self._due:
            async with self._lock:
                if trio.current_time() >= self._due:
                    await trio.to_thread.run_sync(self._refresh)
                    self._due = trio.current_time() + RECHECK_SECONDS
        return self._content

    def _refresh(self) -> None:
        state = file_state(self._path)
        if state == self._state:
            return
        try:
            content = self._read(self._path)
        except (OSError, ValueError) as error:
            if lacks_resources(error):  # it says nothing of the file, which is read a second later
                warn_rarely(f"{self._path} changed and cannot be read now: {error}")
                return
            content = self._nothing
            self._complain(str(error))
        self._state, self._content = state, content

"""Past visits on their way to the disk: gathered in the event loop, written by a thread, forgotten after their days.

Whatever the disk does, streaming does not notice: visits wait for it up to a bound, beyond it they are counted as lost;
one warning in a while tells. A file that is broken is set aside and a new one begun.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import TYPE_CHECKING

from castd.batches import Batches
from castd.log import Repeats
from castd.stats.database import BROKEN, Database, move_aside
from castd.stats.visits import DAY_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from castd.stats.visits import Visit

log = logging.getLogger(__name__)

ROOM = 20_000
"""Visits that wait for the disk: a full house that leaves at once."""

REST_SECONDS = 10.0
"""A disk that failed is tried again after so long, if nobody leaves before."""

RETENTION_SECONDS = 3600.0
"""How often old visits are deleted."""

WARN_SECONDS = 300.0


class History:
    """Writes visits into the database.

    Args:
        keep_days: visits that ended longer ago are deleted.

    Attributes:
        path: of the database.
        batches: takes visits, and has them written.
    """

    def __init__(self, path: Path, keep_days: int) -> None:
        self.path = path
        self.batches: Batches[Visit] = Batches(self.write, room=ROOM, rest_seconds=REST_SECONDS)
        self._keep_seconds = keep_days * DAY_SECONDS
        self._database: Database | None = None
        self._unwritten: list[Visit] = []
        self._tidied = float("-inf")
        self._began = time.time() - time.monotonic()
        self._lost = 0
        self._repeats = Repeats(WARN_SECONDS)

    @property
    def lost(self) -> int:
        """Visits that will not be in the database."""
        return self._lost + self.batches.lost

    def last_id(self) -> int:
        """The greatest id in the database, 0 if it cannot be read. Blocks."""
        try:
            return self._open().last_id()
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return 0

    def write(self, visits: list[Visit]) -> None:
        """Write visits and those before them that could not be written yet; delete what is too old. Blocks.

        What fails is tried again the next time.
        """
        room = max(0, ROOM - len(self._unwritten))
        self._unwritten += visits[:room]
        self._lost += len(visits[room:])
        try:
            database = self._open()
            if self._unwritten:
                database.add(self._unwritten)
                self._unwritten = []
            self._tidy(database)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def close(self) -> None:
        """Let go of the file; SQLite then puts everything into the one file. Blocks."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> Database:
        if self._database is None:
            try:
                self._database = Database(self.path)
            except sqlite3.DatabaseError as error:
                if not _is_broken(error):
                    raise
                self._set_aside(error)
                self._database = Database(self.path)
        return self._database

    def _tidy(self, database: Database) -> None:
        if time.monotonic() - self._tidied >= RETENTION_SECONDS:
            database.forget(self._now - self._keep_seconds)
            self._tidied = time.monotonic()

    @property
    def _now(self) -> float:
        """Wall time, seconds since 1970; of a clock that was set far ahead no more than a day, lest all be too old."""
        return min(time.time(), self._began + time.monotonic() + DAY_SECONDS)

    def _give_up(self, error: sqlite3.Error | OSError) -> None:
        """Until the next try."""
        try:
            self.close()
            if _is_broken(error):
                self._set_aside(error)
        except (sqlite3.Error, OSError):
            self._database = None
        if self._repeats.admit("failed", time.monotonic()) is not None:
            log.warning("%s: visits cannot be recorded now: %s (%d wait, %d were lost)",
                        self.path, error, len(self._unwritten), self.lost)  # fmt: skip

    def _set_aside(self, error: Exception) -> None:
        move_aside(self.path)
        log.warning("%s: %s; it is now called %s.broken, and a new one is begun", self.path, error, self.path.name)


def _is_broken(error: Exception) -> bool:
    """Not the disk's fault but the file's."""
    return getattr(error, "sqlite_errorcode", None) in BROKEN

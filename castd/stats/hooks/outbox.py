"""What web hooks have not been told yet, kept over restarts: SQLite, in threads.

The file is small, so it needs no index; a row goes when it was delivered. Where no file can be had, the rows live in
memory, and a restart loses them.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from castd.stats.database import BROKEN, BUSY_SECONDS, move_aside

if TYPE_CHECKING:
    from castd.stats.hooks.parcels import Parcel

log = logging.getLogger(__name__)

FILE_NAME = "hooks.sqlite"
"""In the state directory."""

VERSION = 1
"""Of the table, in the file's user_version."""

ROOM = 1000
"""Letters that may wait for one URL; of more the oldest are dropped."""

SCHEMA = f"""
    CREATE TABLE letters (
        number INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT, id TEXT, names TEXT, body BLOB, tries INTEGER DEFAULT 0
    );
    PRAGMA user_version = {VERSION};
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A parcel on its way to a URL.

    Attributes:
        number: in the outbox.
        id, names, body: of the parcel.
        tries: how often it was sent in vain.
    """

    number: int
    id: str
    names: str
    body: bytes
    tries: int


class Outbox:
    """The file, open; use `open_outbox`. Threads may take turns.

    Raises:
        sqlite3.Error, OSError: from every method but close: the disk is full, or the file broken.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._connection = sqlite3.connect(path or ":memory:", BUSY_SECONDS, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._connection.executescript(SCHEMA)
        elif version != VERSION:
            raise sqlite3.NotSupportedError(f"the file is of version {version}, this castd writes {VERSION}")

    def add(self, url: str, parcel: Parcel) -> int:
        """Put a parcel at the end of a URL's queue.

        Returns:
            How many at its beginning were dropped to make room.
        """
        row = (url, parcel.id, parcel.names, parcel.body)
        with self._connection:
            self._connection.execute("INSERT INTO letters (url, id, names, body) VALUES (?, ?, ?, ?)", row)
            return self._connection.execute(
                "DELETE FROM letters WHERE number IN"
                " (SELECT number FROM letters WHERE url = ? ORDER BY number DESC LIMIT -1 OFFSET ?)",
                (url, ROOM),
            ).rowcount

    def first(self, url: str) -> Letter | None:
        """The next for a URL; it stays there until it is removed."""
        row = self._connection.execute(
            "SELECT number, id, names, body, tries FROM letters WHERE url = ? ORDER BY number LIMIT 1", (url,)
        ).fetchone()
        return Letter(*row) if row else None

    def count(self, url: str) -> int:
        """How many wait for a URL."""
        (found,) = self._connection.execute("SELECT count(*) FROM letters WHERE url = ?", (url,)).fetchone()
        return int(found)

    def tried(self, letter: Letter) -> None:
        """Count one more try in vain."""
        with self._connection:
            self._connection.execute("UPDATE letters SET tries = tries + 1 WHERE number = ?", (letter.number,))

    def remove(self, letter: Letter) -> None:
        """Forget a letter: delivered, or given up."""
        with self._connection:
            self._connection.execute("DELETE FROM letters WHERE number = ?", (letter.number,))

    def keep_only(self, urls: Collection[str]) -> int:
        """Forget what is for other URLs; how many there were."""
        with self._connection:
            marks = ", ".join("?" * len(urls))
            return self._connection.execute(f"DELETE FROM letters WHERE url NOT IN ({marks})", tuple(urls)).rowcount

    def forget(self, url: str) -> int:
        """Forget what is for one URL; how many there were."""
        with self._connection:
            return self._connection.execute("DELETE FROM letters WHERE url = ?", (url,)).rowcount

    def close(self) -> None:
        self._connection.close()


def open_outbox(state_dir: str) -> Outbox:
    """The outbox of a state directory; one in memory, with a warning, where there can be none."""
    if not state_dir:
        return Outbox(None)
    path = Path(state_dir) / FILE_NAME
    try:
        try:
            return Outbox(path)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) not in BROKEN:
                raise
            move_aside(path)
            log.error("%s was broken and is now %s.broken: what hooks had not been told yet is lost", path, path.name)
            return Outbox(path)
    except (sqlite3.Error, OSError) as error:
        log.warning("%s cannot be used: %s; what hooks were not told is lost with a restart", path, error)
        return Outbox(None)

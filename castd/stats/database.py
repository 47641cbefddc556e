"""The file of past visits: SQLite, read and written by threads. Nothing here waits for anything but the disk.

One table, one row for each visit, in the order in which they ended. Reading is possible at any time, by other processes
too: the file is in WAL mode (https://www.sqlite.org/wal.html).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from castd.stats.visits import Visit
from castd.tcp import TcpState

FILE_NAME = "sessions.sqlite"
"""In the state directory."""

VERSION = 1
"""Of the table, in the file's user_version."""

BUSY_SECONDS = 5.0
"""Another process may hold the file for so long, such as one that copies it."""

COLUMNS = {each.name: "TEXT" for each in fields(Visit)} | {
    **dict.fromkeys(("id", "bytes", "jumps", "titles"), "INTEGER"),
    **dict.fromkeys(("started", "ended", "seconds", "worst_lag_seconds"), "REAL"),
}
"""Of a visit, in order, with SQLite's types; last_titles and tcp are JSON."""

SCHEMA = f"""
    CREATE TABLE visits (number INTEGER PRIMARY KEY, {", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())});
    CREATE INDEX visits_by_id ON visits (id);
    CREATE INDEX visits_by_end ON visits (ended);
    PRAGMA user_version = {VERSION};
"""

INSERT = f"INSERT INTO visits ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
SELECT = f"SELECT {', '.join(COLUMNS)} FROM visits"

BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""Result codes of a file that no later try can use."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which visits somebody wants to see; "" means any.

    Attributes:
        limit: this many at most, those that ended last.
        before: only those that ended before the visit of this id; None: all.
    """

    mount: str = ""
    kind: str = ""
    reason: str = ""
    limit: int = 100
    before: int | None = None

    def includes(self, visit: Visit) -> bool:
        """Whether a visit is of the mount, kind and reason wanted."""
        return all(not word or word == getattr(visit, name) for name, word in self.words.items())

    @property
    def words(self) -> dict[str, str]:
        return {"mount": self.mount, "kind": self.kind, "reason": self.reason}


class Database:
    """The file, open for writing; made if there is none.

    Raises:
        sqlite3.Error, OSError: from every method: the disk is full, the file is broken or a newer castd's.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._connection = sqlite3.connect(path, BUSY_SECONDS, check_same_thread=False)
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

    def add(self, visits: Sequence[Visit]) -> None:
        """Append visits, all or none."""
        with self._connection:
            self._connection.executemany(INSERT, map(_row, visits))

    def forget(self, ended_before: float) -> int:
        """Delete the visits that ended before a wall time; how many there were."""
        with self._connection:
            return self._connection.execute("DELETE FROM visits WHERE ended < ?", (ended_before,)).rowcount

    def last_id(self) -> int:
        """The greatest id there is, 0 if there is none."""
        (last,) = self._connection.execute("SELECT max(id) FROM visits").fetchone()
        return int(last or 0)

    def close(self) -> None:
        self._connection.close()


def select(path: Path, wanted: Wanted, *, unknown_before: bool = False) -> list[Visit]:
    """The visits in a file that somebody wants to see, the last first.

    Args:
        unknown_before: a visit `before` that the file does not know is taken for one that ended after all in it.

    Raises:
        sqlite3.Error: there is no file, or none that can be read.
    """
    given = {name: word for name, word in wanted.words.items() if word}
    conditions = [f"{name} = :{name}" for name in given]
    if wanted.before is not None:
        otherwise = (1 << 62) if unknown_before else 0
        conditions.append(f"number < coalesce((SELECT max(number) FROM visits WHERE id = :before), {otherwise})")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    values = {**given, "before": wanted.before, "limit": wanted.limit}
    with closing(_read_only(path)) as connection:
        rows = connection.execute(f"{SELECT}{where} ORDER BY number DESC LIMIT :limit", values)
        return [_visit(row) for row in rows]


def find(path: Path, id: int) -> Visit | None:
    """The visit of an id.

    Raises:
        sqlite3.Error: there is no file, or none that can be read.
    """
    with closing(_read_only(path)) as connection:
        row = connection.execute(f"{SELECT} WHERE id = ? ORDER BY number DESC", (id,)).fetchone()
        return _visit(row) if row else None


def move_aside(path: Path) -> None:
    """Rename a broken file to NAME.broken, so that a new one can take its place.

    Raises:
        OSError: it cannot be renamed.
    """
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    path.replace(path.with_name(f"{path.name}.broken"))


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", BUSY_SECONDS, uri=True)


def _row(visit: Visit) -> list[Any]:
    values = {name: getattr(visit, name) for name in COLUMNS}
    values["last_titles"] = json.dumps(visit.last_titles)
    values["tcp"] = json.dumps(asdict(visit.tcp)) if visit.tcp else None
    # SQLite takes no lone surrogates, and one bad row must not keep out all that come with it.
    return [each.encode("utf-8", "replace").decode() if isinstance(each, str) else each for each in values.values()]


def _visit(row: tuple[Any, ...]) -> Visit:
    values = dict(zip(COLUMNS, row, strict=True))
    values["last_titles"] = tuple(json.loads(values["last_titles"]))
    values["tcp"] = TcpState(**json.loads(values["tcp"])) if values["tcp"] else None
    return Visit(**values)

"""The database of visits, and everything a disk can do to it."""

from __future__ import annotations

import sqlite3
import stat
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from castd.stats import database, history
from castd.stats.database import Database, Wanted, find, select
from castd.stats.history import History
from tests.stats.visits import visit

if TYPE_CHECKING:
    from pathlib import Path

    from castd.stats.visits import Visit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sessions.sqlite"


def recent(id: int, **fields: Any) -> Visit:
    return visit(id, ended=time.time(), **fields)


def fill(path: Path, *visits: Visit) -> None:
    with closing(Database(path)) as opened:
        opened.add(visits)


def test_a_visit_comes_back_as_it_was(path: Path) -> None:
    visits = [visit(1), visit(2, tcp=None, last_titles=(), mount="/ünï|'\""), visit(3, kind="source")]
    fill(path, *visits)
    assert [find(path, each.id) for each in visits] == visits
    assert find(path, 4) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_lone_surrogate_keeps_nothing_out(path: Path) -> None:
    fill(path, visit(1, agent="\udce4"), visit(2))
    found = find(path, 1)
    assert found is not None
    assert found.agent == "?"
    assert find(path, 2) == visit(2)


def test_choosing_and_turning_pages(path: Path) -> None:
    fill(path, *(visit(id, mount=f"/{id % 2}", reason="left" if id % 3 else "reset") for id in (5, 3, 9, 1, 7, 2)))

    def ids(**wanted: Any) -> list[int]:
        return [each.id for each in select(path, Wanted(**wanted))]

    assert ids() == [2, 7, 1, 9, 3, 5]
    assert ids(limit=2) == [2, 7]
    assert ids(limit=2, before=7) == [1, 9]
    assert ids(before=5) == []
    assert ids(mount="/1", reason="reset") == [9, 3]
    assert ids(kind="source") == []
    assert ids(before=12345) == [], "an id nobody knows"
    unwritten = select(path, Wanted(before=12345, limit=1), unknown_before=True)
    assert [each.id for each in unwritten] == [2]


def test_of_an_id_given_twice_the_newer_is_meant(path: Path) -> None:
    fill(path, visit(1, agent="old"), visit(2), visit(1, agent="new"))
    assert getattr(find(path, 1), "agent", "") == "new"


def test_it_is_read_while_it_is_written_and_after(path: Path) -> None:
    with closing(Database(path)) as opened:
        opened.add([visit(1)])
        assert find(path, 1) == visit(1)
        opened.add([visit(2)])
        assert find(path, 2) == visit(2)
    assert [each.name for each in path.parent.iterdir()] == [path.name], "closed, it is one file"
    assert find(path, 2) == visit(2)


def test_ids_go_on_and_days_pass(path: Path) -> None:
    old, new = visit(50, ended=time.time() - 31 * 86_400), recent(40)
    fill(path, old, new)
    kept = History(path, keep_days=30)
    assert kept.last_id() == 50
    kept.write([])
    assert find(path, 50) is None
    assert find(path, 40) == new
    kept.close()


def test_a_file_that_is_none_is_set_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, however long one looks at it" * 100)
    kept = History(path, 30)
    kept.write([recent(1)])
    kept.close()
    assert find(path, 1) is not None
    assert path.with_name("sessions.sqlite.broken").read_bytes().startswith(b"this is no database")
    assert "it is now called sessions.sqlite.broken, and a new one is begun" in caplog.text


def test_a_file_that_breaks_while_in_use_is_set_aside(path: Path) -> None:
    kept = History(path, 30)
    kept.write([recent(id) for id in range(500)])
    kept.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    for _ in range(2):
        kept.write([recent(1000)])
    kept.close()
    assert find(path, 1000) is not None
    assert kept.lost == 0


def test_a_full_disk_delays_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = History(path, 30)
    add = Database.add

    def full(self: Database, visits: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "add", full)
        for id in range(20):
            kept.write([recent(id)])
    assert Database.add is add
    assert [record.message for record in caplog.records] == [
        f"{path}: visits cannot be recorded now: database or disk is full (1 wait, 0 were lost)"
    ]
    kept.write([recent(20)])
    kept.close()
    assert [each.id for each in select(path, Wanted())] == list(range(20, -1, -1))


def test_a_disk_really_full(path: Path) -> None:
    """SQLite's own limit of pages stands for the end of the disk."""
    kept = History(path, 30)
    kept.write([])
    opened = kept._open()
    opened._connection.execute("PRAGMA max_page_count = 6")
    kept.write([recent(id) for id in range(1000)])
    assert find(path, 0) is None, "all or none"
    kept.write([recent(1000)])
    kept.close()
    assert len(select(path, Wanted(limit=2000))) == 1001


def test_what_waits_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "ROOM", 10)
    path.parent.write_text("a file where the directory should be")
    kept = History(path, 30)
    for id in range(25):
        kept.write([recent(id)])
    assert kept.lost == 15
    assert kept.last_id() == 0
    path.parent.unlink()
    kept.write([])
    kept.close()
    assert [each.id for each in select(path, Wanted())] == list(range(9, -1, -1))


def test_a_file_of_a_newer_castd_is_left_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(path, recent(1))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {database.VERSION + 1}")
    kept = History(path, 30)
    kept.write([recent(2)])
    assert find(path, 2) is None
    assert "the file is of version 2, this castd writes 1" in caplog.text


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    kept = History(path, 30)
    kept.write([recent(1)])
    assert not (tmp_path / "elsewhere").exists()

"""The queue on disk."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from castd.stats.hooks import outbox as outbox_module
from castd.stats.hooks.outbox import FILE_NAME, Outbox, open_outbox
from castd.stats.hooks.parcels import Parcel
from tests.stats.hooks.fakes import event

URL, OTHER = "https://a.test/", "https://b.test/"


def parcel(number: int) -> Parcel:
    return Parcel((event(text=str(number)),))


def test_first_in_first_out_for_each_url() -> None:
    outbox = Outbox(None)
    parcels = [parcel(number) for number in range(3)]
    for each, url in zip(parcels, (URL, OTHER, URL), strict=True):
        assert outbox.add(url, each) == 0
    found = []
    while letter := outbox.first(URL):
        found.append((letter.id, letter.names, letter.body))
        outbox.remove(letter)
    assert found == [(each.id, "title", each.body) for each in (parcels[0], parcels[2])]
    assert outbox.first(OTHER) is not None
    outbox.close()


def test_it_is_kept_over_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    outbox = open_outbox(str(state))
    outbox.add(URL, parcel(1))
    letter = outbox.first(URL)
    assert letter is not None
    outbox.tried(letter)
    outbox.close()
    assert stat.S_IMODE((state / FILE_NAME).stat().st_mode) == 0o600
    again = open_outbox(str(state))
    kept = again.first(URL)
    assert kept is not None
    assert (kept.id, kept.tries) == (letter.id, 1)
    again.close()


def test_of_too_many_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "ROOM", 3)
    outbox = Outbox(None)
    outbox.add(OTHER, parcel(0))
    dropped = [outbox.add(URL, parcel(number)) for number in range(5)]
    assert dropped == [0, 0, 0, 1, 1]
    first = outbox.first(URL)
    assert first is not None
    assert b'"text": "2"' in first.body
    assert outbox.first(OTHER) is not None
    outbox.close()


def test_what_is_for_nobody_goes() -> None:
    outbox = Outbox(None)
    for url in (URL, URL, OTHER):
        outbox.add(url, parcel(0))
    assert outbox.keep_only([URL]) == 1
    assert outbox.forget(URL) == 2
    assert outbox.keep_only([]) == 0
    outbox.close()


def test_a_broken_file_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    outbox = open_outbox(str(tmp_path))
    outbox.add(URL, parcel(0))
    outbox.close()
    assert (tmp_path / f"{FILE_NAME}.broken").read_bytes().startswith(b"no database")
    assert "was broken" in caplog.text


@pytest.mark.parametrize("trouble", ["a newer castd's", "no directory", "a link"])
def test_without_a_file_it_works_in_memory(tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / FILE_NAME
    state = str(tmp_path)
    if trouble == "a newer castd's":
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    elif trouble == "no directory":
        path.touch()
        state = str(path)
    else:
        path.symlink_to("elsewhere")
    outbox = open_outbox(state)
    outbox.add(URL, parcel(0))
    assert outbox.first(URL) is not None
    outbox.close()
    assert "cannot be used" in caplog.text


def test_without_a_state_directory() -> None:
    open_outbox("").close()

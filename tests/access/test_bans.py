"""Who is refused, by which list, until when; and what a restart keeps."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from castd.access import bans as bans_module
from castd.access.bans import FORGET_SECONDS, Ban, Bans, refuse_unlisted
from castd.config import Bans as Lists
from castd.config import Config, Server
from castd.errors import ClientError, ConfigError


class Wall:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def made(folder: Path | None = None, **lists: object) -> Bans:
    server = Server(state_dir=str(folder) if folder else "")
    return Bans(Config(server=server, bans=Lists(**lists)), Wall())  # type: ignore[arg-type]


def ban(address: str = "", agent: str = "", **fields: object) -> Ban:
    return replace(Ban(0, address, agent, "all"), **fields)  # type: ignore[arg-type]


def test_by_configuration() -> None:
    bans = made(
        addresses=("192.0.2.7", "198.51.100.0/24", "2001:db8::/32"),
        agents=("*bot*", "Evil/1.0"),
        listener_addresses=("203.0.113.1",),
        source_agents=("*Icecast*",),
    )
    for address in ("192.0.2.7", "198.51.100.200", "2001:db8:5::1"):
        assert bans.refusal(address, "", "all") == "this address is banned"
    assert bans.refusal("192.0.2.8", "nice/1", "all") == ""
    assert bans.refusal("192.0.2.8", "SomeBOT/2", "all") == "this program is banned"
    assert bans.refusal("192.0.2.8", "evil/1.0", "listeners") == "this program is banned"
    assert bans.refusal("203.0.113.1", "", "all") == ""
    assert bans.refusal("203.0.113.1", "", "listeners")
    assert bans.refusal("203.0.113.1", "", "sources") == ""
    assert bans.refusal("203.0.113.9", "libshout Icecast 2", "sources")
    assert bans.refusal("203.0.113.9", "libshout Icecast 2", "listeners") == ""
    assert bans.refusal("no address at all", "", "all") == ""


def test_who_alone_is_allowed() -> None:
    bans = made(allow=("192.0.2.0/24",), addresses=("192.0.2.7",))
    assert bans.refusal("192.0.2.8", "", "all") == ""
    assert "not among those" in bans.refusal("198.51.100.1", "", "all")
    assert bans.refusal("192.0.2.7", "", "all") == "this address is banned", "banned goes before allowed"


def test_files_as_icecast_has_them(tmp_path: Path) -> None:
    (tmp_path / "deny").write_text("# spammers\n192.0.2.7\n\n 198.51.100.* # a whole net\n2001:db8::1\r\n")
    (tmp_path / "agents").write_text("*bot*\n")
    (tmp_path / "allow").write_bytes(b"\xef\xbb\xbf192.0.2.0/24\n198.51.100.0/24\n2001:db8::/32\n")
    bans = made(
        deny_ip_file=str(tmp_path / "deny"),
        deny_agents_file=str(tmp_path / "agents"),
        allow_ip_file=str(tmp_path / "allow"),
    )
    for address in ("192.0.2.7", "198.51.100.9", "2001:db8::1"):
        assert bans.refusal(address, "", "all") == "this address is banned"
    assert bans.refusal("192.0.2.8", "a bot", "all")
    assert bans.refusal("192.0.2.8", "a player", "all") == ""
    assert bans.refusal("203.0.113.1", "", "all")


def test_a_file_that_changes_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "deny"
    path.write_text("192.0.2.7\n")
    bans = made(deny_ip_file=str(path))
    assert not bans.refresh()
    path.write_text("192.0.2.8\n192.0.2.9\n")
    assert bans.refresh()
    assert bans.refusal("192.0.2.7", "", "all") == ""
    assert bans.refusal("192.0.2.9", "", "all")
    path.write_text("192.0.2.8\nnonsense here\n")
    assert not bans.refresh()
    assert bans.refusal("192.0.2.9", "", "all"), "the old list stays"
    assert "deny:2: 'nonsense here'" in caplog.text
    path.unlink()
    assert not bans.refresh()
    assert bans.refusal("192.0.2.9", "", "all")


@pytest.mark.parametrize("text", ["nonsense", "192.0.2.1/24", "300.1.1.1"])
def test_a_bad_file_is_told_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deny"
    path.write_text(f"192.0.2.7\n{text}\n")
    with pytest.raises(ConfigError, match=f"deny:2: '{text}'"):
        made(deny_ip_file=str(path))
    with pytest.raises(ConfigError, match="No such file"):
        made(deny_ip_file=str(tmp_path / "none"))


def test_bans_end_by_wall_time() -> None:
    wall, now = Wall(), [0.0]
    bans = Bans(Config(), wall, lambda: now[0])
    bans.add(ban("192.0.2.7", expires=wall.now + 60, reason="rude"))
    assert bans.refusal("192.0.2.7", "", "all") == "this address is banned: rude"
    wall.now += 59
    assert bans.refusal("192.0.2.7", "", "all")
    wall.now += 2
    assert bans.refusal("192.0.2.7", "", "all") == ""
    assert bans.all == []
    bans.forget_expired()
    wall.now -= 2
    assert bans.refusal("192.0.2.7", "", "all"), "the clock was wrong"
    bans.forget_expired()
    wall.now += 315_360_000
    for seconds in (0.0, FORGET_SECONDS - 1, 1.0):
        now[0] += seconds
        assert bans.refusal("192.0.2.7", "", "all") == ""
        bans.forget_expired()
    with pytest.raises(ClientError):
        bans.remove(1)


def test_a_restart_keeps_them(tmp_path: Path) -> None:
    bans = made(tmp_path)
    first = bans.add(ban("192.0.2.0/24", reason="a net", by="admin"))
    second = bans.add(ban(agent="*bot*", scope="listeners", expires=Wall.now + 60))
    third = bans.add(ban("2001:DB8::1"))
    bans.remove(third.id)
    bans.snapshot()()
    path = tmp_path / "bans.json"
    assert path.stat().st_mode & 0o777 == 0o600
    again = made(tmp_path)
    assert again.all == [first, second]
    assert again.refusal("192.0.2.200", "", "all") == "this address is banned: a net"
    assert again.refusal("203.0.113.1", "a bot", "listeners")
    assert again.add(ban("192.0.2.1")).id > second.id


def test_what_cannot_be_kept_changes_nothing_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bans = made(tmp_path)
    bans.add(ban("192.0.2.7"))
    bans.snapshot()()
    before = (tmp_path / "bans.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    bans.add(ban("192.0.2.8"))
    with pytest.raises(OSError, match="No space"):
        bans.snapshot()()
    assert (tmp_path / "bans.json").read_bytes() == before


NO_ADDRESS = json.dumps({"bans": [asdict(Ban(1, "x", "", "all"))]})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"bans": [{"id": 1}]}', NO_ADDRESS])
def test_a_broken_file_is_set_aside(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "bans.json").write_text(text)
    assert made(tmp_path).all == []
    assert (tmp_path / "bans.broken").read_text() == text
    assert "its bans are not in force" in caplog.text


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bans_module, "MOST_BANS", 3)
    bans = made()
    for number in range(3):
        bans.add(ban(f"192.0.2.{number}"))
    with pytest.raises(ClientError, match="3 bans already"):
        bans.add(ban("192.0.2.9"))
    bans.remove(1)
    bans.add(ban("192.0.2.9"))


def test_a_reload_takes_other_lists_and_keeps_what_was_made(tmp_path: Path) -> None:
    bans = made(addresses=("192.0.2.7",))
    bans.add(ban("192.0.2.9"))
    bans.prepare(Config(bans=Lists(addresses=("192.0.2.8",))))()
    assert [bool(bans.refusal(f"192.0.2.{n}", "", "all")) for n in (7, 8, 9)] == [False, True, True]
    with pytest.raises(ConfigError):
        bans.prepare(Config(bans=Lists(deny_ip_file=str(tmp_path / "none"))))


def test_lists_of_a_mount() -> None:
    refuse_unlisted("192.0.2.7", (), "listen")
    refuse_unlisted("192.0.2.7", ("192.0.2.0/24",), "listen")
    with pytest.raises(ClientError, match="may listen"):
        refuse_unlisted("198.51.100.7", ("192.0.2.0/24",), "listen")

"""A disk smaller than what is written to it: logs, recordings, visits, hooks, bans. The server plays on meanwhile."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.disk import small_disk
from tests.e2e.program import until
from tests.e2e.remote import Remote
from tests.e2e.server import ADMIN_PASSWORD, Castd, set_title
from tests.support import FRAME_BYTES, head

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("mount", "umount"),
]

SETTINGS = """\
[logs]
server = "{disk}/server.log"
access = "{disk}/access.log"
playlist = "{disk}/playlist.log"

[mounts."/canary"]
dump_file = "{disk}/dump.mp3"

[[hooks]]
url = "http://127.0.0.1:1/"
events = ["listener.*", "title"]
"""

ADMIN = ("admin", ADMIN_PASSWORD)


def fill(disk: Path) -> None:
    """Leave not a byte."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (65_536, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    assert not os.statvfs(disk).f_bavail


async def ban(remote: Remote, address: str) -> int:
    body = json.dumps({"address": address}).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return (await remote.ask(head("POST", "/api/v1/admin/bans", fields, user=ADMIN) + body)).status


async def visit(remote: Remote, agent: str) -> None:
    async with await remote.connect() as client:
        await client.send(head("GET", "/canary", {"User-Agent": f"{agent} {'.' * 200}"}))
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.0 200 ")


def visits(disk: Path) -> set[str]:
    """The programs of those whose visits are in the database, which is whole."""
    with closing(sqlite3.connect(f"file:{disk}/sessions.sqlite?mode=ro", uri=True)) as kept:
        assert kept.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {agent.partition(" ")[0] for (agent,) in kept.execute("SELECT agent FROM visits")}


async def test_a_full_disk_costs_what_is_written_and_nothing_else(tmp_path: Path) -> None:
    with small_disk(tmp_path, 1) as disk:
        settings = SETTINGS.format(disk=disk)
        async with Castd(tmp_path, settings) as castd, Remote(castd) as remote, remote.canary():

            def size(name: str) -> int:
                return (disk / name).stat().st_size if (disk / name).exists() else 0

            async def wait_for(true: Callable[[], object], what: str) -> None:
                async def probe() -> bool:
                    return bool(true())

                await until(probe, seconds=20, what=what)

            await visit(remote, "before/1")
            assert await ban(remote, "192.0.2.1") == 201
            await wait_for(lambda: size("dump.mp3") and size("access.log") and "before/1" in visits(disk), "all files")

            fill(disk)
            assert await ban(remote, "192.0.2.2") == 503, "in force, but not kept yet"
            for number in range(5):
                await set_title(castd, "/canary", f"title {number}")
                for _ in range(5):  # more than there may be room for at the end of a file
                    await visit(remote, f"meanwhile/{number}")
                await trio.sleep(0.6)
            on_disk = {name: size(name) for name in ("dump.mp3", "access.log", "playlist.log", "server.log")}
            assert json.loads((disk / "bans.json").read_text())["bans"], "the old file is whole"

            (disk / "filler").unlink()
            await visit(remote, "after/1")
            await set_title(castd, "/canary", "there is room again")
            await wait_for(
                lambda: all(size(name) > before for name, before in on_disk.items()), "files that grow again"
            )
            await wait_for(lambda: {f"meanwhile/{n}" for n in range(5)} | {"after/1"} <= visits(disk), "all visits")
            await wait_for(lambda: "192.0.2.2" in (disk / "bans.json").read_text(), "the ban")
            assert "192.0.2.1" in (disk / "bans.json").read_text()

        told = castd.log() + (disk / "server.log").read_text()
        for words in ("/canary: not recorded for", "access.log: No space", "visits cannot be recorded now"):
            assert told.count(words) == 1, f"{words}:\n{told}"
        assert "/canary: recorded again" in told
        assert "Traceback" not in told
        access = (disk / "access.log").read_text()
        assert access.endswith("\n")
        assert all(re.match(r'127\.0\.0\.1 - .* ".+" \d{3} \d+ ', line) for line in access.splitlines())
        dump = (disk / "dump.mp3").read_bytes()
        numbers = [int(dump[at + 5 : at + 13]) for at in range(0, len(dump), FRAME_BYTES)]
        assert len(dump) % FRAME_BYTES == 0
        assert numbers == sorted(set(numbers)), "whole frames, in order, each once"

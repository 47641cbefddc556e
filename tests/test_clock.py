"""A wall clock that is set, by ten years, while everything goes on: durations are measured by another."""

from __future__ import annotations

import ast
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import castd as package
from castd.access.links import signed
from castd.config import Server, Shoutcast
from castd.stats.database import Wanted, select
from castd.stats.history import History
from castd.stats.visits import DAY_SECONDS, Visit
from tests.support import ADMIN, canary, configured, head, serving, until

if TYPE_CHECKING:
    from collections.abc import Callable

TEN_YEARS = 3652 * DAY_SECONDS

DISPLAYED = {
    "access/authorise.py": "tokens and links end by the wall clock",
    "access/bans.py": "bans do, too",
    "access/sign_ins.py": "what a browser signed in with may end by it",
    "admin/files.py": "HTTP's dates",
    "api/bans.py": "when a ban is to end",
    "app.py": "gives the clock to everybody",
    "cli.py": "when a link or token is to end",
    "adaptive/dash.py": "DASH's dates, and the time its clients set their clocks by",
    "delivery/pace.py": "who goes back to a moment names it by the wall clock",
    "segments/cutter.py": "segments of one programme's mounts are cut at the same moments",
    "segments/media_clock.py": "their media time is wall time",
    "segments/segmenter.py": "their periods begin at wall times",
    "segments/segment.py": "dates of segments",
    "segments/unison.py": "several mounts count their discontinuities by it",
    "http/heads.py": "HTTP's dates",
    "ingest/recorder.py": "names of files",
    "mount/mount.py": "when marks were set, for people",
    "mount/registry.py": "when the server began, for people",
    "stats/events.py": "when something happened, for people",
    "stats/history.py": "which visits are too old",
    "stats/hooks/health.py": "when a hook failed, for people",
    "stats/hooks/webhooks.py": "X-Castd-Timestamp",
    "stats/records.py": "access.log",
    "stats/visits.py": "when somebody came, for people",
    "transcode/rendition.py": "a rendition's marks have the moments of the original's",
}
"""All that ask what time it is, and why they may."""


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets every wall clock here to so many seconds from now."""
    true, offset = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: true() + offset[0])

    def set_to(seconds: float) -> None:
        offset[0] = seconds

    return set_to


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS])
async def test_nobody_is_let_go_when_the_clock_is_set(
    jump: float, set_clock: Callable[[float], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = configured(
        shoutcast=Shoutcast(mounts=("/live",)),
        mounts={"/live": {"link_key": "the key", "dump_file": str(tmp_path / "dump.mp3")}},
    )
    async with serving(replace(config, server=Server(state_dir=str(tmp_path))), seconds=60) as castd, canary(castd):
        encoder = await castd.encoder("/live")
        await encoder.push(30)
        link = signed("the key", "/live", int(time.time()) + 3600)
        ear = await castd.ear(link)
        signed_in = await castd.ask(head("POST", "/api/v1/admin/session", {"X-CSRF-Token": "none"}, user=ADMIN))
        cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
        body = json.dumps({"address": "192.0.2.9", "seconds": 3600}).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        assert (await castd.ask(head("POST", "/api/v1/admin/bans", fields, user=ADMIN) + body)).status == 201
        recorded = tmp_path / "dump.mp3"
        await until(lambda: recorded.exists() and recorded.stat().st_size > 0)
        before = recorded.stat().st_size

        set_clock(jump)
        await encoder.push(30)
        assert await ear.exactly(50 * 417)
        await until(lambda: recorded.stat().st_size > before)
        assert (await castd.ask(head("GET", "/api/v1/admin/stats", cookie))).status == 200
        status = json.loads((await castd.ask(head("GET", "/api/v1/status"))).body)
        assert status
        shoutcast = json.loads((await castd.ask(head("GET", "/statistics?json=1"))).body)
        (stream,) = shoutcast["streams"]
        assert 0 <= stream["streamuptime"] < 60
        # what ends at a certain time has ended, or has not, by the clock; put right, it is as before
        refused = castd.server.bans.refusal("192.0.2.9", "", "all")
        assert bool(refused) is (jump < 0)
        assert (await castd.ask(head("GET", link))).status == 403 if jump > 0 else await castd.ear(link)
        await trio.sleep(1.2)  # the janitor has come by
        assert len(castd.mount("/live").listeners) == (1 if jump > 0 else 2)
        set_clock(0)
        assert castd.server.bans.refusal("192.0.2.9", "", "all")
        assert await castd.ear(link)
        assert "Traceback" not in caplog.text


def test_a_clock_set_ahead_makes_no_visit_too_old(tmp_path: Path, set_clock: Callable[[float], None]) -> None:
    kept = History(tmp_path / "sessions.sqlite", 30)
    now = time.time()
    visit = Visit(1, "listener", "/live", "", "", "", "http", now - 10, now, 10.0, 1, 0.0, 0, 0, (), "left", "", None)
    kept.write([visit])
    set_clock(TEN_YEARS)
    kept._tidied = float("-inf")
    kept.write([replace(visit, id=2, ended=time.time())])
    assert kept.last_id() == 2
    assert kept._open().forget(0) == 0
    kept.close()
    set_clock(0)
    again = History(tmp_path / "sessions.sqlite", 30)
    again.write([])
    assert [each.id for each in select(again.path, Wanted())] == [2, 1]
    again.close()


def test_who_asks_what_time_it_is() -> None:
    """CLK-05: everybody else measures by the monotonic clock."""
    root = Path(package.__file__).parent
    asking = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            named = isinstance(node, ast.Attribute) and node.attr == "time" and getattr(node.value, "id", "") == "time"
            if named or called in ("wall", "_wall", "now", "utcnow", "localtime"):
                asking.add(str(path.relative_to(root)))
    assert asking == set(DISPLAYED)

"""GET /api/v1/admin/sessions, from memory and from the disk, and `castd explain` beside a running server."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from castd import cli
from castd.config import Config, Logs, Server, Sessions
from castd.stats.database import FILE_NAME, Wanted, find, select
from tests.support import ADMIN, SOURCE, Bench, Serving, bench, configured, head, serving, until

EXAMPLE = "/api/v1/admin/sessions"


def keeping(folder: Path, **sessions: Any) -> Config:
    """A configuration with a state directory."""
    return replace(configured(), server=Server(state_dir=str(folder / "state")), sessions=Sessions(**sessions))


async def asked(castd: Bench | Serving, query: str = "") -> dict[str, Any]:
    reply = await castd.ask(head("GET", f"{EXAMPLE}{query}", user=ADMIN))
    assert reply.status == 200, reply.text
    value = json.loads(reply.body)
    assert isinstance(value, dict)
    return value


async def visit(castd: Serving, mount: str) -> int:
    """A source comes and goes; its id."""
    recent = castd.server.records.recent
    before = recent[-1] if recent else None
    encoder = await castd.encoder(mount)
    await encoder.close()
    await until(lambda: bool(recent) and recent[-1] is not before)
    return recent[-1].id


async def visits(castd: Serving, *mounts: str) -> list[int]:
    return [await visit(castd, mount) for mount in mounts]


async def test_a_visit_in_the_api() -> None:
    async with serving() as castd:
        (id,) = await visits(castd, "/live")
        answer = await asked(castd)
    (session,) = answer["sessions"]
    assert answer["next_before"] is None
    assert (session["id"], session["kind"], session["mount"], session["reason"]) == (id, "source", "/live", "finished")
    assert session["started"].endswith("Z")
    assert session["ended"].endswith("Z")
    assert session["address"] not in ("127.0.0.1", "")
    assert session["tcp"]["state"] == "close_wait"
    assert session["explained"].startswith(f"Source {id} (probe/1) from ")
    assert session["last_titles"] == []


async def test_choosing_and_turning_pages_in_memory() -> None:
    async with serving() as castd:
        ids = await visits(castd, "/a", "/b", "/a", "/b", "/a")
        newest = ids[::-1]

        async def found(query: str) -> list[int]:
            return [session["id"] for session in (await asked(castd, query))["sessions"]]

        assert await found("") == newest
        assert await found("?limit=2") == newest[:2]
        assert await found(f"?limit=2&before={newest[1]}") == newest[2:4]
        assert await found("?mount=/a") == newest[::2]
        assert await found("?kind=listener") == []
        assert await found("?reason=finished&kind=source&mount=b") == newest[1::2]
        assert (await asked(castd, "?limit=2"))["next_before"] == newest[1]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?kind=cat", "`$.kind`"),
        ("?reason=bored", "'bored' - at `$.reason`"),
        ("?limit=0", "`int` >= 1 - at `$.limit`"),
        ("?limit=-1", "`$.limit`"),
        ("?before=%D9%A1", "`$.before`"),
        (f"?before={'9' * 5000}", "`$.before`"),
    ],
)
async def test_what_can_find_nothing_is_refused(query: str, words: str) -> None:
    async with bench() as castd:
        reply = await castd.ask(head("GET", EXAMPLE + query, user=ADMIN))
        assert reply.status == 400
        assert words in json.loads(reply.body)["detail"]


@pytest.mark.parametrize("user", [None, SOURCE])
async def test_visits_are_for_the_admin(user: tuple[str, str] | None) -> None:
    async with bench() as castd:
        assert (await castd.ask(head("GET", EXAMPLE, user=user))).status == 401


async def test_memory_is_bounded_and_goes_on_on_the_disk(tmp_path: Path) -> None:
    config = keeping(tmp_path, recent=2)
    async with serving(config) as castd:
        await visits(castd, "/a", "/b")
    older = [visit.id for visit in select(tmp_path / "state" / FILE_NAME, Wanted())]
    async with serving(config) as castd:
        assert [session["id"] for session in (await asked(castd))["sessions"]] == older, "memory is empty"
        newer = await visits(castd, "/c", "/d", "/e")
        answer = await asked(castd, "?limit=10")
        found = [session["id"] for session in answer["sessions"]]
        assert found[:2] == newer[:0:-1]
        assert min(newer) > max(older), "ids go on where they were"
        assert found[2:] in (older, [newer[0], *older]), "the third may be on its way to the disk"
        page = await asked(castd, f"?limit=1&before={older[0]}")
        assert [session["id"] for session in page["sessions"]] == [older[1]]


async def test_a_disk_that_cannot_be_read_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(keeping(tmp_path)) as castd:
        path = tmp_path / "state" / FILE_NAME
        for file in path.parent.iterdir():
            file.unlink()
        reply = await castd.ask(head("GET", EXAMPLE, user=ADMIN))
        assert reply.status == 503
        assert "past visits cannot be read now" in reply.text


@pytest.mark.parametrize("sessions", [Sessions(keep_days=0), Sessions(recent=0, keep_days=0)])
async def test_nothing_is_kept_on_disk_where_none_is_wanted(tmp_path: Path, sessions: Sessions) -> None:
    config = replace(configured(), server=Server(state_dir=str(tmp_path)), sessions=sessions)
    async with serving(config) as castd:
        encoder = await castd.encoder("/live")
        await encoder.close()
        await until(lambda: not castd.mount("/live").sources)
        assert len((await asked(castd))["sessions"]) == min(1, sessions.recent)
    assert os.listdir(tmp_path) == []


async def test_addresses_are_kept_as_configured(tmp_path: Path) -> None:
    for style, kept in (("plain", {"127.0.0.1"}), ("none", {""})):
        async with serving(keeping(tmp_path / style, addresses=style)) as castd:
            await visits(castd, "/live")
        assert {visit.address for visit in select(tmp_path / style / "state" / FILE_NAME, Wanted())} == kept


async def test_a_disk_that_fails_harms_no_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = keeping(tmp_path)
    (tmp_path / "state").write_text("no directory")
    config = replace(config, logs=Logs(access=str(tmp_path / "no" / "a"), playlist=str(tmp_path / "no" / "p")))
    async with serving(config) as castd, await castd.encoder("/live") as encoder:
        await encoder.push(50)
        ear = await castd.ear("/live")
        assert len(await ear.exactly(417 * 49)) == 417 * 49
        castd.mount("/live").set_title("x")
        await ear.close()
    assert len(castd.server.records.recent) == 2
    assert sum("visits cannot be recorded now" in message for message in caplog.messages) == 1


async def test_access_and_playlist_logs(tmp_path: Path) -> None:
    logs = Logs(access=str(tmp_path / "access.log"), playlist=str(tmp_path / "playlist.log"))
    async with serving(replace(configured(), logs=logs)) as castd:
        encoder = await castd.encoder("/live")
        await encoder.push(50)
        await until(lambda: castd.mount("/live").ring.head > 0)
        ear = await castd.ear("/live", {"Referer": "https://r.test/?token=hunter2"})
        await ear.exactly(1)
        for _ in range(2):
            await castd.ask(head("GET", "/admin/metadata?mount=/live&mode=updinfo&song=A%20-%20B", user=SOURCE))
        await castd.ask(head("GET", "/nowhere?pass=hunter2"))
        await castd.ask(head("HEAD", "/live"))
        await castd.ask(head("GET", "/admin/stats", user=("admin", "hunter2")))
        await ear.close()
        await until(lambda: len(castd.server.records.recent) == 1)
        await encoder.close()
        await until(lambda: len(castd.server.records.recent) == 2)
        await until(lambda: not castd.server.admission.open)
    text = (tmp_path / "access.log").read_text()
    assert "hunter2" not in text
    lines = [line.split('"') for line in text.splitlines()]
    assert [(line[1], line[2].split()[0]) for line in lines] == [
        ("GET /admin/metadata?mount=/live&mode=updinfo&song=A%20-%20B HTTP/1.1", "200"),
        ("GET /admin/metadata?mount=/live&mode=updinfo&song=A%20-%20B HTTP/1.1", "200"),
        ("GET /nowhere?pass=*** HTTP/1.1", "404"),
        ("HEAD /live HTTP/1.1", "200"),
        ("GET /admin/stats HTTP/1.1", "401"),
        ("GET /live HTTP/1.1", "200"),
        ("PUT /live HTTP/1.1", "200"),
    ]
    assert lines[5][3] == "https://r.test/?token=***"
    assert int(lines[5][2].split()[1]) > 417
    assert lines[6][2].split()[1] == "19", "what a source is sent, as Icecast counts it"
    users = [line[0].split()[2] for line in lines]
    assert users == ["source", "source", "-", "-", "-", "-", "source"]
    (title,) = (tmp_path / "playlist.log").read_text().splitlines()
    assert title.endswith("|/live|1|A - B"), "once, however often it is sent"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
async def test_a_signal_opens_log_files_anew(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with serving(replace(configured(), logs=Logs(access=str(path)))) as castd:
        await castd.ask(head("GET", "/healthz"))
        await until(path.exists)
        path.rename(tmp_path / "moved")
        os.kill(os.getpid(), number)
        await trio.sleep(0.05)
        await castd.ask(head("GET", "/status-json.xsl"))
    assert "/healthz" in (tmp_path / "moved").read_text()
    assert "/status-json.xsl" in path.read_text()
    assert "/healthz" not in path.read_text()


async def test_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "set_up_log", lambda *_: None)
    config = tmp_path / "castd.toml"
    config.write_text('[server]\nstate_dir = "state"\n')

    def explain(id: int) -> int:
        return cli.main(["explain", str(id), "-c", str(config)])

    assert explain(1) == 2
    assert "sessions.sqlite: unable to open database file" in capsys.readouterr().err
    path = tmp_path / "state" / FILE_NAME
    async with serving(keeping(tmp_path)) as castd:
        (id,) = await visits(castd, "/live")
        await until(lambda: find(path, id) is not None)
        assert explain(id) == 0
        running = capsys.readouterr().out
    assert running.startswith(f"Source {id} (probe/1) from ")
    assert running.endswith("and ended its stream.\n")
    assert explain(id) == 0
    assert capsys.readouterr().out == running
    assert explain(id + 1000) == 1
    assert f"knows no visit {id + 1000}" in capsys.readouterr().err

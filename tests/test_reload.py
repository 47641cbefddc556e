"""A changed castd.toml in a running server: whole or not at all, and nobody is disturbed."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from castd import cli
from castd.app import Server
from castd.config import Config, Limits, load
from castd.config.differences import applicable, differences
from castd.control import FILE_NAME, ControlSocket, ask
from castd.errors import ConfigError
from tests.support import ADMIN, SECRETS, SOURCE, Serving, frames, head, until

FILE = """\
[[listen]]
host = "127.0.0.1"
port = 0

[auth]
source_password = "{source}"
admin_password = "{admin}"
admin_token = "a-token-that-nobody-guesses"

[server]
state_dir = "state"

"""


@asynccontextmanager
async def running(folder: Path, settings: str = "") -> AsyncIterator[tuple[Serving, Path]]:
    """A server with a castd.toml, and that file."""
    path = folder / "castd.toml"
    write(path, settings)
    read = partial(load, path, {})
    server, urls = Server(read(), SECRETS, read), list[str]()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run, urls.extend)
            await until(lambda: bool(urls))
            castd = Serving(server, int(urls[0].rpartition(":")[2]))
            try:
                yield castd, path
            finally:
                nursery.cancel_scope.cancel()
                for stream in castd.streams:
                    stream.socket.close()


def write(path: Path, settings: str, *, source: str = SOURCE[1]) -> None:
    text = FILE.format(source=source, admin=ADMIN[1]) + settings
    path.write_text(text)
    path.chmod(0o600)


def mistakes(path: Path) -> str:
    """What `castd check` says."""
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return str(caught.value)


# What is different


def test_differences_are_told_key_by_key() -> None:
    old = Config(mounts={"/live": {"name": "Old", "genre": "jazz"}})
    new = replace(
        old,
        limits=Limits(max_listeners=7),
        auth=replace(old.auth, source_password="a secret nobody may see"),
        listen=(replace(old.listen[0], port=80), old.listen[0]),
        mounts={"/live": {"name": "New"}, "/ü": {"hidden": True}},
    )
    told = {change.key: str(change) for change in differences(old, new)}
    assert told["limits.max_listeners"] == "limits.max_listeners 20000 -> 7"
    assert told["auth.source_password"] == "auth.source_password not set -> (secret)"
    assert told['mounts."/live".name'] == 'mounts."/live".name "Old" -> "New"'
    assert told['mounts."/live".genre'] == 'mounts."/live".genre "jazz" -> not set'
    assert told['mounts."/\\u00fc".hidden'].endswith("not set -> true")
    waiting = {change.key for change in differences(old, new) if change.needs_restart}
    assert waiting == {key for key in told if key.startswith("listen")}
    assert "listen[1].port" in waiting
    assert "a secret" not in "".join(told.values())
    assert not differences(old, Config(mounts={"/live": {"genre": "jazz", "name": "Old"}}))


def test_only_a_start_changes_some_keys() -> None:
    old, new = Config(), Config(limits=Limits(max_sources=3))
    new = replace(
        new,
        server=replace(new.server, state_dir="/elsewhere", user="radio", hostname="radio.test"),
        sessions=replace(new.sessions, keep_days=1, recent=5),
        listen=(replace(new.listen[0], port=1),),
    )
    kept = applicable(old, new)
    assert kept.listen == old.listen
    assert (kept.server.state_dir, kept.server.user, kept.server.hostname) == ("", "", "radio.test")
    assert (kept.sessions.keep_days, kept.sessions.recent) == (old.sessions.keep_days, 5)
    assert {change.key for change in differences(kept, new)} == {
        "listen.port", "server.state_dir", "server.user", "sessions.keep_days",
    }  # fmt: skip
    assert all(change.needs_restart for change in differences(kept, new))


# In a running server


async def test_every_part_goes_on_with_the_new_one(tmp_path: Path) -> None:
    async with running(tmp_path) as (castd, path):
        encoder = await castd.encoder("/live")
        await encoder.push(30)
        await until(lambda: castd.mount("/live").ring.head > 0)
        ear = await castd.ear("/live")
        write(
            path,
            f"""
hostname = "radio.test"
[limits]
max_listeners = 1
max_sources = 1
[proxies]
trusted = ["127.0.0.1"]
[logs]
access = "{tmp_path}/access.log"
[sessions]
addresses = "plain"
[mounts."/live"]
name = "New name"
""",
            source="another word",
        )
        outcome = await castd.server.reloader.reload("a test")
        assert not outcome.waiting
        assert {change.key for change in outcome.changed} == {
            "server.hostname", "limits.max_listeners", "limits.max_sources", "proxies.trusted", "logs.access",
            "sessions.addresses", 'mounts."/live".name', "auth.source_password",
        }  # fmt: skip
        status = json.loads((await castd.ask(head("GET", "/api/v1/status", {"X-Forwarded-For": "192.0.2.77"}))).text)
        assert status["mounts"][0]["name"] == "New name"
        assert (await castd.ask(head("GET", "/live"))).status in (403, 503), "one listener is all"
        assert (await castd.ask(head("PUT", "/b", user=SOURCE))).status == 401
        refused = await castd.ask(head("PUT", "/b", user=("source", "another word")))
        assert "too many sources" in refused.text
        access = tmp_path / "access.log"
        await until(lambda: access.exists() and "192.0.2.77" in access.read_text())
        await encoder.push(30)
        assert frames(0, 60).startswith(heard := await ear.exactly(40 * 417))
        assert heard
        write(path, "", source="another word")
        await castd.server.reloader.reload("a test")
        (tmp_path / "access.log").unlink()
        await castd.ask(head("GET", "/healthz"))
        async with await castd.ear("/live") as second:
            assert await second.exactly(417)
        await castd.encoder("/b", user=("source", "another word"))
    assert not (tmp_path / "access.log").exists()


async def test_a_bad_file_is_refused_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path, "[limits]\nmax_listeners = 5\n") as (castd, path):
        before = castd.server.config
        write(path, '[limits]\nmax_listeners = 6\nmax_sources = "many"\nmax_unread = 3\n')
        with pytest.raises(ConfigError) as refused:
            await castd.server.reloader.reload("a test")
        assert str(refused.value) == mistakes(path)
        assert len(str(refused.value).splitlines()) == 2
        assert castd.server.config is before
        reply = await castd.ask(head("POST", "/api/v1/admin/reload", {"Content-Length": "0"}, user=ADMIN))
        assert reply.status == 409
        assert json.loads(reply.text)["detail"] == mistakes(path)
        path.unlink()
        reply = await castd.ask(head("POST", "/api/v1/admin/reload", {"Content-Length": "0"}, user=ADMIN))
        assert reply.status == 409
        assert castd.server.config is before
    assert sum("refused, the configuration in force stays" in message for message in caplog.messages) == 3


async def test_a_part_that_is_not_ready_stops_all(tmp_path: Path) -> None:
    """A certificate is found to be none when all the rest could be used."""
    async with running(tmp_path) as (castd, path):
        (tmp_path / "none.pem").write_text("no certificate")
        write(path, '[limits]\nmax_sources = 1\n[[certificates]]\ncertificate = "none.pem"\n')
        with pytest.raises(ConfigError, match=r"none\.pem"):
            await castd.server.reloader.reload("a test")
        assert castd.server.config.limits.max_sources == 100


async def test_what_waits_for_a_restart_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path) as (castd, path):
        path.write_text(path.read_text().replace("port = 0", "port = 8010") + 'user = "nobody"\n')
        for _ in range(2):
            outcome = await castd.server.reloader.reload("a test")
            assert [change.key for change in outcome.waiting] == ["server.user", "listen.port"]
            assert not outcome.changed
        assert castd.server.config.listen[0].port == 0
    assert any("wait for a restart: server.user" in message for message in caplog.messages)


async def test_what_only_goes_with_a_restart_is_refused(tmp_path: Path) -> None:
    """Without TLS on its port a server needs no certificate; this one has TLS there until it is restarted."""
    async with running(tmp_path) as (castd, _):
        castd.server.current.config = replace(
            castd.server.config, listen=(replace(castd.server.config.listen[0], tls="auto"),)
        )
        with pytest.raises(ConfigError, match="only a restart changes"):
            await castd.server.reloader.reload("a test")


async def test_a_trial_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as (castd, path):
        write(path, "[limits]\nmax_sources = 1\n")
        request = head("POST", "/api/v1/admin/reload?trial=1", {"Content-Length": "0"}, user=ADMIN)
        reply = await castd.ask(request)
        assert json.loads(reply.text) == {
            "changed": [{"key": "limits.max_sources", "before": "100", "after": "1", "needs_restart": False}],
            "waiting": [],
        }
        assert castd.server.config.limits.max_sources == 100
        reply = await castd.ask(request.replace(b"?trial=1", b""))
        assert reply.status == 200
        assert castd.server.config.limits.max_sources == 1
        again = json.loads((await castd.ask(request)).text)
        assert again == {"changed": [], "waiting": []}


async def test_only_operators_reload(tmp_path: Path) -> None:
    async with running(tmp_path) as (castd, _):
        for fields, user in (({}, None), ({}, SOURCE), ({"Origin": "https://evil.test"}, ADMIN)):
            reply = await castd.ask(head("POST", "/api/v1/admin/reload", {"Content-Length": "0", **fields}, user=user))
            assert reply.status in (401, 403)


async def test_sighup(tmp_path: Path) -> None:
    async with running(tmp_path) as (castd, path):
        write(path, "[limits]\nmax_sources = 1\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: castd.server.config.limits.max_sources == 1)
        write(path, "[limits]\nmax_sources = none\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await trio.sleep(0.05)
        assert castd.server.config.limits.max_sources == 1
        assert (await castd.ask(head("GET", "/healthz"))).status == 200


def resources() -> tuple[int, int]:
    """Descriptors and tasks."""
    return len(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living


async def test_200_reloads_under_load(tmp_path: Path) -> None:
    """Descriptors and tasks are as many afterwards, and every listener has every byte."""
    settings = [
        f'[limits]\nmax_sources = {number}\n[logs]\naccess = "{tmp_path}/{number % 2}.log"\n'
        f'[mounts."/live"]\nname = "{number}"\nring_seconds = {30 + number}\n[sessions]\nrecent = {number}\n'
        for number in range(5, 15)
    ]
    async with running(tmp_path, settings[0]) as (castd, path):
        encoder = await castd.encoder("/live")
        await encoder.push(100)
        await until(lambda: castd.mount("/live").ring.head > 0)
        ears = [await castd.ear("/live", {"Icy-MetaData": str(number % 2)}) for number in range(20)]
        plain = ears[::2]
        await castd.server.reloader.reload("the first, which opens what stays open")
        gc.collect()
        before = resources()
        for number in range(200):
            write(path, settings[number % len(settings)] + ("nonsense" if number % 7 == 3 else ""))
            try:
                await castd.server.reloader.reload(f"number {number}")
            except ConfigError:
                assert number % 7 == 3
            await encoder.push(1)
        gc.collect()
        assert resources() == before
        assert len(castd.mount("/live").listeners) == len(ears)
        await until(lambda: castd.mount("/live").ring.head >= 299 * 417)
        for ear in plain:
            heard = await ear.exactly(150 * 417)
            first = int(heard[5:13])
            assert heard == frames(first, first + 150)
        newcomer = await castd.ear("/live")
        assert newcomer.headers["icy-name"] == str(5 + 198 % len(settings)), "the 200th is refused"


# The control socket and its command


async def test_castd_reload(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "set_up_log", lambda *_: None)

    async def command(*more: str) -> tuple[int, str, str]:
        code = await trio.to_thread.run_sync(cli.main, ["reload", "-c", str(tmp_path / "castd.toml"), *more])
        return code, *capsys.readouterr()

    async with running(tmp_path) as (castd, path):
        assert (tmp_path / "state" / FILE_NAME).stat().st_mode & 0o777 == 0o600
        assert await command() == (0, "changed: nothing\n", "")
        write(path, '[limits]\nmax_sources = 1\n[mounts."/live"]\nname = "a\\nb"\n')
        assert (await command())[0] == 2, "no line break in a name"
        write(path, '[limits]\nmax_sources = 1\n[mounts."/live"]\nname = "New"\n')
        changes = '  limits.max_sources   100 -> 1\n  mounts."/live".name  not set -> "New"\n'
        assert await command("--trial") == (0, f"would change:\n{changes}", "")
        assert castd.server.config.limits.max_sources == 100
        assert (await command())[0] == 0
        assert castd.server.config.limits.max_sources == 1
        path.write_text(path.read_text().replace("port = 0", "port = 80"))
        assert (await command())[1] == "changed: nothing\nwaits for a restart:\n  listen.port  0 -> 80\n"
        write(path, "[limits]\nmax_source = 2\n")
        code, out, errors = await command()
        assert (code, out) == (2, "")
        assert errors == f"castd: {mistakes(path)}\n"
    write(path, "")
    code, out, errors = await command()
    assert (code, out) == (1, "")
    assert "no server answers" in errors


async def test_the_control_socket_takes_nonsense(tmp_path: Path) -> None:
    async def answer(question: dict[str, object]) -> dict[str, object]:
        if question.get("bug"):
            raise RuntimeError("a bug")
        return {"ok": True}

    async with trio.open_nursery() as nursery:
        await nursery.start(ControlSocket(tmp_path, {"it": answer}).run)
        for line in (
            b"\n",
            b"[]\n",
            b"{}\n",
            b'{"do": ["it"]}\n',
            b'{"do": "that"}\n',
            b"x" * 70_000,
            b"[" * 5000 + b"\n",
        ):
            async with await trio.open_unix_socket(str(tmp_path / FILE_NAME)) as stream:
                await stream.send_all(line)
                assert b"not understood; known are it" in await stream.receive_some(1000)
        async with await trio.open_unix_socket(str(tmp_path / FILE_NAME)) as stream:
            await stream.send_all(b'{"do": "it", "bug": true}\n')
            assert await stream.receive_some(1000) == b""
        async with await trio.open_unix_socket(str(tmp_path / FILE_NAME)):
            pass  # asks nothing and leaves
        assert await trio.to_thread.run_sync(ask, tmp_path, {"do": "it"}) == {"ok": True}
        nursery.cancel_scope.cancel()
    assert not (tmp_path / FILE_NAME).exists()


async def test_one_server_has_the_socket(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A second one lets it be and runs without; a dead one's is replaced. A deep directory is no obstacle."""
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)

    async def name(number: int, question: dict[str, object]) -> dict[str, object]:
        return {"server": number}

    async with trio.open_nursery() as nursery:
        await nursery.start(ControlSocket(folder, {"name": partial(name, 1)}).run)
        await nursery.start(ControlSocket(folder, {"name": partial(name, 2)}).run)
        assert f"process {os.getpid()} has this state directory" in caplog.text
        assert await trio.to_thread.run_sync(ask, folder, {"do": "name"}) == {"server": 1}
        nursery.cancel_scope.cancel()
    (folder / FILE_NAME).touch()
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlSocket(folder, {"name": partial(name, 3)}).run)
        assert await trio.to_thread.run_sync(ask, folder, {"do": "name"}) == {"server": 3}
        nursery.cancel_scope.cancel()


async def test_a_stranger_is_not_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("castd.control").setLevel(logging.INFO)
    async with trio.open_nursery() as nursery:
        monkeypatch.setattr("castd.control.peer", lambda sock: (1, 12345))
        await nursery.start(ControlSocket(tmp_path, {}).run)
        with pytest.raises(OSError, match=r"hung up|reset"):
            await trio.to_thread.run_sync(ask, tmp_path, {"do": "it"})
        nursery.cancel_scope.cancel()

"""Bearer tokens: what each may do, where and until when; and `castd token`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from castd import cli
from castd.access.tokens import FILE_NAME, create, read_tokens, revoke
from castd.config import Config, Server
from tests.support import bench, head

READS = ("stats", "sources", "listeners", "sessions")
SERVER = ("limits", "hooks", "log")


def make(
    folder: Path, *scopes: str, mounts: tuple[str, ...] = (), expires: float | None = None, name: str = "a token"
) -> dict[str, str]:
    """A token's header field."""
    text, _ = create(folder, name, scopes, mounts, time.time(), expires)
    return {"Authorization": f"Bearer {text}"}


def config(folder: Path) -> Config:
    return Config(server=Server(state_dir=str(folder)))


async def test_each_scope_opens_its_routes_and_no_others(tmp_path: Path) -> None:
    asked = {
        "read": [("GET", each) for each in READS],
        "server": [("GET", each) for each in SERVER] + [("POST", "reload")],
        "ban": [("GET", "bans"), ("POST", "bans"), ("DELETE", "bans/1")],
        "kick": [("DELETE", "sources/1"), ("DELETE", "listeners/1")],
        "move": [("POST", "mounts/live/move"), ("POST", "mounts/live/fallback")],
        "title": [("POST", "mounts/live/title")],
    }
    async with bench(config(tmp_path)) as castd, await castd.encoder("/live"):
        tokens = {scope: make(tmp_path, scope) for scope in asked}
        for scope, requests in asked.items():
            for method, path in requests:
                for other, field in tokens.items():
                    reply = await castd.ask(head(method, f"/api/v1/admin/{path}", field))
                    if other == scope:
                        assert reply.status not in (401, 403), (scope, path, reply.text)
                    else:
                        assert reply.status == 403, (other, path)
                        assert json.loads(reply.body)["detail"].endswith(f"it lacks the scope {scope}")
        assert (await castd.ask(head("GET", "/admin/stats", tokens["read"]))).status == 403, "Icecast's are the admin's"
        assert (await castd.ask(head("PUT", "/live", tokens["title"]))).status == 401


async def test_a_token_of_one_mount(tmp_path: Path) -> None:
    async with bench(config(tmp_path)) as castd, await castd.encoder("/a"), await castd.encoder("/b"):
        field = make(tmp_path, "read", "title", "kick", "move", mounts=("/a",))

        async def ask(method: str, path: str, body: bytes = b"") -> int:
            fields = field | {"Content-Length": str(len(body))}
            return (await castd.ask(head(method, f"/api/v1/admin/{path}", fields) + body)).status

        found = await castd.ask(head("GET", "/api/v1/admin/sources", field))
        (source,) = json.loads(found.body)["sources"]
        assert source["mount"] == "/a"
        assert [
            each["mount"]
            for each in json.loads((await castd.ask(head("GET", "/api/v1/admin/stats", field))).body)["mounts"]
        ] == ["/a"]
        assert await ask("GET", "sources?mount=/b") == 403
        assert await ask("GET", "sessions") == 403
        assert await ask("POST", "mounts/b/title", b"{}") == 403
        assert await ask("POST", "mounts/a/title", b'{"text": "x"}') == 200
        assert await ask("POST", "mounts/a/move", b'{"to": "/b"}') == 403
        assert await ask("POST", "mounts/a/fallback", b'{"fallback": "/b"}') == 403, "which only some may hear, maybe"
        assert await ask("POST", "mounts/a/fallback", b'{"fallback": ""}') == 200
        other = castd.mount("/b").sources[0].id
        assert await ask("DELETE", f"sources/{other}") == 404, "of another's there is nothing to know"
        assert await ask("DELETE", f"sources/{source['id']}") == 200


async def test_expired_withdrawn_and_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("castd.watched_file.RECHECK_SECONDS", 0)
    async with bench(config(tmp_path)) as castd:

        async def ask(field: dict[str, str]) -> tuple[int, str]:
            reply = await castd.ask(head("GET", "/api/v1/admin/stats", field))
            return reply.status, "" if reply.status == 200 else json.loads(reply.body)["detail"]

        good = make(tmp_path, "admin")
        assert (await ask(good))[0] == 200
        assert await ask(make(tmp_path, "read", expires=time.time() - 1)) == (401, "this token has expired")
        assert (await ask(make(tmp_path, "read", expires=time.time() + 60)))[0] == 200
        for guess in ("", "castd_", "x" * 500, "\xff"):
            assert (await ask({"Authorization": f"Bearer {guess}"}))[0] == 401
        for token in read_tokens(str(tmp_path / FILE_NAME)):
            assert token.digest not in good["Authorization"]
            assert revoke(tmp_path, token.id) == token
        assert revoke(tmp_path, "nope") is None
        assert (await ask(good))[0] == 401
        (tmp_path / FILE_NAME).write_text("{}}")
        assert (await ask(good))[0] == 401


async def test_guessing_is_slowed_down_whatever_one_guesses(tmp_path: Path) -> None:
    async with bench() as castd:
        statuses = []
        for number in range(35):
            field = {"Authorization": f"Bearer guess{number}"} if number % 2 else {"Authorization": "Basic eDp5"}
            reply = await castd.ask(head("GET", "/api/v1/admin/stats", field))
            statuses.append(reply.status)
        assert statuses == [401] * 30 + [429] * 5
        assert 0 < int(reply.headers["retry-after"]) <= 3
        assert json.loads(reply.body)["detail"].startswith("too many wrong passwords; wait")
        assert (await castd.ask(head("GET", "/api/v1/status"))).status == 200, "what needs no password goes on"
        async with castd.connect("198.51.100.7") as other:
            reply = await other.ask(head("GET", "/api/v1/admin/stats", user=("admin", "wrong")))
            assert reply.status == 401, "nobody else is slowed down"


async def test_every_door_at_which_one_may_guess_is_one_door() -> None:
    doors = (
        head("GET", "/admin/stats", user=("admin", "guess")),
        head("GET", "/api/v1/admin/stats", {"Authorization": "Bearer guess"}),
        head("POST", "/api/v1/admin/session", {"Authorization": "Basic YTpi"}),
        head("PUT", "/live", user=("source", "guess")),
        head("PUT", "/live?key=guess"),
        head("SOURCE", "/live", user=("source", "guess")),
        head("GET", "/admin.cgi?pass=guess&mode=updinfo&song=x"),
        head("GET", "/admin/metadata?mount=/live&mode=updinfo&song=x", user=("source", "guess")),
        b"guess\r\n",
    )
    for door in doors:
        async with bench() as castd:
            for host in range(30):  # a customer of IPv6 has a /64 and is one of many
                async with castd.connect(f"2001:db8::{host + 1:x}") as client:
                    await client.send(door)
                    assert not (await client.rest()).startswith((b"HTTP/1.1 429", b"HTTP/1.0 429")), door
            async with castd.connect("2001:db8::ffff") as client:
                await client.send(door)
                answer = await client.rest()
                assert b"429" in answer or b"too many" in answer, (door, answer)
            async with castd.connect("2001:db8:0:1::1") as client:
                await client.send(door)
                assert b"too many" not in await client.rest(), door


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    make(tmp_path, "read")
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == [FILE_NAME]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASTD_SERVER__STATE_DIR", str(tmp_path))
    code, text, told = run(
        capsys,
        "token",
        "create",
        "--scope",
        "title",
        "--scope",
        "read",
        "--mount",
        "live",
        "--days",
        "2",
        "--name",
        "bot",
    )
    assert (code, text.startswith("castd_"), "shown this once" in told) == (0, True, True)
    (token,) = read_tokens(str(tmp_path / FILE_NAME))
    assert (token.name, token.scopes, token.mounts) == ("bot", ("title", "read"), ("/live",))
    assert token.expires == pytest.approx(time.time() + 2 * 86_400, abs=60)
    code, text, _ = run(capsys, "token", "list")
    assert (code, text.split()[:4]) == (0, [token.id, "bot", "title,read", "/live"])
    assert token.digest not in text
    code, text, _ = run(capsys, "token", "revoke", token.id)
    assert (code, text) == (0, f"{token.id} (bot) is withdrawn\n")
    assert run(capsys, "token", "revoke", token.id)[0] == 1
    assert run(capsys, "token", "list")[1] == ""


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--scope", "ban", "--mount", "/live"], "ban is about the whole server"),
        (["--scope", "read", "--mount", "/admin/x"], "is one of castd's own pages"),
        (["--scope", "read", "--days", "0"], "--days must be more than 0"),
        (["--scope", "read", "--days", "nan"], "--days must be"),
        (["--scope", "read", "--name", "a\nb"], "--name must be"),
    ],
)
def test_what_makes_no_token(
    arguments: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASTD_SERVER__STATE_DIR", str(tmp_path))
    code, _, told = run(capsys, "token", "create", *arguments)
    assert (code, why in told) == (2, True), told
    assert not (tmp_path / FILE_NAME).exists()


def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    async def both() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(trio.to_thread.run_sync, lambda: make(tmp_path, "read"))

    trio.run(both)
    assert len(read_tokens(str(tmp_path / FILE_NAME))) == 10

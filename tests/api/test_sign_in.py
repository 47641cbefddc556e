"""Signing in from a browser: cookie, token against forgery, and what neither opens."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from castd.access import sign_ins
from castd.access.tokens import create, revoke
from castd.config import Config, Server
from tests.support import ADMIN, SOURCE, Bench, Reply, bench, head

if TYPE_CHECKING:
    import pytest
    from trio.testing import MockClock

SESSION = "/api/v1/admin/session"


async def sign_in(castd: Bench, user: tuple[str, str] = ADMIN, fields: dict[str, str] | None = None) -> Reply:
    return await castd.ask(head("POST", SESSION, {"X-CSRF-Token": "none", **(fields or {})}, user=user))


def cookie(reply: Reply) -> dict[str, str]:
    return {"Cookie": reply.headers["set-cookie"].partition(";")[0]}


async def test_in_and_out() -> None:
    async with bench() as castd, await castd.encoder("/live"):
        reply = await sign_in(castd)
        assert reply.status == 201
        _, *attributes = reply.headers["set-cookie"].split("; ")
        assert attributes == ["Path=/api/", "HttpOnly", "SameSite=Strict"]
        session = json.loads(reply.body)
        assert (session["user"], session["scopes"], session["mounts"]) == ("admin", ["admin"], [])
        field, secret = cookie(reply), {"X-CSRF-Token": session["csrf_token"]}
        assert secret["X-CSRF-Token"] not in field["Cookie"]
        shown = json.loads((await castd.ask(head("GET", "/api/v1/session", field))).body)["session"]
        assert shown == session
        assert (await castd.ask(head("GET", "/api/v1/admin/stats", field))).status == 200

        body = b'{"text": "x"}'
        length = {"Content-Length": str(len(body))}
        title = "/api/v1/admin/mounts/live/title"
        for wrong in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "none"}):
            reply = await castd.ask(head("POST", title, field | length | wrong) + body)
            assert (reply.status, "X-CSRF-Token" in reply.text) == (403, True)
        assert castd.title("/live") is None
        assert (await castd.ask(head("POST", title, field | length | secret) + body)).status == 200
        foreign = secret | {"Origin": "http://evil.test"}
        assert (await castd.ask(head("POST", title, field | length | foreign) + body)).status == 403

        # Icecast's commands change things by GET: no cookie opens them
        for path in ("/admin/stats", "/admin/killsource?mount=/live"):
            assert (await castd.ask(head("GET", path, field))).status == 401
        assert castd.mount("/live").source is not None

        out = await castd.ask(head("DELETE", SESSION, field | secret))
        assert (out.status, "Max-Age=0" in out.headers["set-cookie"]) == (200, True)
        assert (await castd.ask(head("GET", "/api/v1/admin/stats", field))).status == 401
        assert json.loads((await castd.ask(head("GET", "/api/v1/session", field))).body) == {"session": None}


async def test_who_may_not() -> None:
    async with bench() as castd:
        for user in (("admin", "wrong"), SOURCE, ("", "")):
            reply = await sign_in(castd, user)
            assert (reply.status, "set-cookie" in reply.headers) == (401, False)
            assert "www-authenticate" not in reply.headers, "the page has a form; the browser's window would cover it"
        for value in ("", "castd_session=", "castd_session=guess", "x" * 3000, "=;;=\x01", 'castd_session="\\'):
            reply = await castd.ask(head("GET", "/api/v1/admin/stats", {"Cookie": value}))
            assert reply.status == 401
        only_cookie = cookie(await sign_in(castd))
        assert (await castd.ask(head("POST", SESSION, only_cookie))).status == 403, "a cookie makes no other cookie"


async def test_with_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    text, made = create(tmp_path, "desk", ("title",), ("/live",), time.time(), time.time() + 3600)
    async with bench(Config(server=Server(state_dir=str(tmp_path)))) as castd, await castd.encoder("/live"):
        reply = await castd.ask(head("POST", SESSION, {"Authorization": f"Bearer {text}"}))
        session = json.loads(reply.body)
        assert (session["user"], session["scopes"], session["mounts"]) == ("desk", ["title"], ["/live"])
        field = cookie(reply)
        assert (await castd.ask(head("GET", "/api/v1/admin/stats", field))).status == 403
        secret = {"X-CSRF-Token": session["csrf_token"], "Content-Length": "2"}
        title = head("POST", "/api/v1/admin/mounts/live/title", field | secret) + b"{}"
        assert (await castd.ask(title)).status == 200
        monkeypatch.setattr("castd.watched_file.RECHECK_SECONDS", 0)
        await trio.sleep(1)
        revoke(tmp_path, made.id)
        assert (await castd.ask(title)).status == 401, "what it signed in with was withdrawn"


async def test_it_ends(tmp_path: Path) -> None:
    async with bench() as castd:
        now = 1000.0
        ins = sign_ins.SignIns(lambda: now, lambda: now)
        castd.server.gate.sign_ins = ins
        desk = next(r.handler for r in castd.server.router.routes if r.path == "/api/v1/session")
        desk.__self__._sign_ins = ins  # type: ignore[attr-defined]
        for route in castd.server.router.routes:
            if route.path == SESSION:
                route.handler.__self__._sign_ins = ins  # type: ignore[attr-defined]
        field = cookie(await sign_in(castd))

        async def still() -> bool:
            return (await castd.ask(head("GET", "/api/v1/admin/stats", field))).status == 200

        assert await still()
        for _ in range(3):
            now += sign_ins.SECONDS - 1
            assert await still(), "each request lets it go on"
        now += sign_ins.SECONDS
        assert not await still()
        field = cookie(await sign_in(castd))
        began = now
        while now - began < sign_ins.LONGEST_SECONDS - 3600:
            now += 3600
            assert await still()
        now += 3600
        assert not await still(), "but not for ever"
        first = cookie(await sign_in(castd))
        for _ in range(sign_ins.MOST):
            await sign_in(castd)
        field = first
        assert not await still(), "of too many the one that asked nothing for longest goes"

"""May this client do this? Every row of the real route table, every credential, every trick with a path."""

from __future__ import annotations

import ast
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import castd
from castd.access import authorise, secrets
from castd.app import Server
from castd.config import Config
from castd.http.connection import SHOUTCAST
from castd.http.routes import Need, Route
from castd.wire.shoutcast import BAD_PASSWORD
from tests.support import ADMIN, SECRETS, SOURCE, TOKEN, Bench, basic, bench, configured, head

if TYPE_CHECKING:
    from trio.testing import MockClock

PUBLIC = {
    ("GET", "/"),
    ("GET", "{name*}/hls/index.m3u8"),
    ("GET", "{name*}/hls/audio.m3u8"),
    ("GET", "{name*}/hls/{file}"),
    ("GET", "{name*}/dash/manifest.mpd"),
    ("GET", "{name*}/dash/{file}"),
    ("GET", "/static/{file}"),
    ("GET", "/listen.pls"),
    ("GET", "/listen.m3u"),
    ("GET", "/7.html"),
    ("GET", "/stats"),
    ("GET", "/statistics"),
    ("GET", "/currentsong"),
    ("GET", "/played"),
    ("GET", "/played.html"),
    ("GET", "/favicon.ico"),
    ("GET", "/healthz"),
    ("GET", "/status-json.xsl"),
    ("GET", "/admin/buildm3u"),
    ("GET", "/api/v1/status"),
    ("GET", "/api/v1/groups"),
    ("GET", "/api/v1/groups/{name}"),
    ("GET", "/api/v1/mounts"),
    ("GET", "/api/v1/mounts/{name}"),
    ("GET", "/api/v1/mounts/{name}/titles"),
    ("GET", "/api/v1/mounts/{name}/events"),
    ("GET", "/api/v1/mounts/{name}/hearing"),
    ("GET", "/api/v1/mounts/{name}/window"),
    ("GET", "/api/v1/mounts/{name}/art"),
    ("GET", "/api/v1/mounts/{name}/qr"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/api/v1/server"),
    ("GET", "/api/v1/oembed"),
    ("GET", "/api/v1/session"),  # tells a browser what it knows by its own cookie
    ("GET", "/api/v1/events"),
    ("GET", "/api/"),
    ("GET", "/admin"),
    ("GET", "/admin/"),  # the desk's page, which knows nothing before one signs in
    ("GET", "/p/{name}"),
    ("GET", "*"),
    ("OPTIONS", "{any*}"),
}
"""Who adds a route anybody may use adds it here, too, and says why in the commit."""

OWN = ("dj", "the word of one mount")
MOUNTS = {"/own": {"source_user": OWN[0], "source_password": OWN[1]}}


async def table() -> list[Route]:
    """The routes of a whole server."""
    server = Server(Config(), SECRETS)
    server.close()
    return server.router.routes


TABLE = [(method, route) for route in trio.run(table) for method in route.methods]


def path_of(route: Route) -> str:
    """A path that leads to a route."""
    path = "/live" if route.path == "*" else route.path
    for placeholder, value in (("{any*}", "x"), ("{name}", "live"), ("{file}", "app.js"), ("{id}", "1")):
        path = path.replace(placeholder, value)
    return path if path.startswith("/") else "/" + path


async def status(castd: Bench, method: str, target: str, fields: dict[str, str] | None = None) -> int:
    return (await castd.ask(head(method, target, fields))).status


async def live(castd: Bench, mount: str = "/live", user: tuple[str, str] = SOURCE) -> None:
    """A source that stays."""
    encoder = await castd.encoder(mount, user=user)
    await encoder.push(5)
    await trio.testing.wait_all_tasks_blocked()


def test_the_public_routes_are_these() -> None:
    found = {(method, route.path) for method, route in TABLE if route.need in (Need.NOTHING, Need.LISTEN)}
    assert found == PUBLIC | {("HEAD", path) for method, path in PUBLIC if method == "GET"}


def test_what_changes_something_says_so() -> None:
    for method, route in TABLE:
        if method in ("POST", "DELETE") and not route.path.endswith("{any*}"):
            assert route.changes, route.path
        if route.changes:
            assert route.need not in (Need.NOTHING, Need.LISTEN), route.path


# event streams need a socket: tests/api/test_events.py
WITHOUT_SOCKETS = [(method, route) for method, route in TABLE if not route.path.endswith("/events")]


@pytest.mark.parametrize(("method", "route"), WITHOUT_SOCKETS, ids=lambda each: getattr(each, "path", each))
async def test_every_route_asks_who_is_there(method: str, route: Route, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        if not (method == "GET" and route.path == "*"):  # listeners need a socket
            await live(castd)
        if method == SHOUTCAST:  # which no client can name: it is made of a line with a password
            async with castd.connect() as client:
                await client.send(b"a guess\r\n")
                assert await client.rest() == BAD_PASSWORD
        reply = await castd.ask(head(method, path_of(route) + "?mount=/live&mode=updinfo&song=x&id=1"))
        if method == SHOUTCAST:
            assert reply.status == 400
            return
        if route.need in (Need.NOTHING, Need.LISTEN):
            assert reply.status != 401
            return
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == 'Basic realm="Icecast2 Server", charset="UTF-8"'
        assert b"127.0.0.1" not in reply.body
        assert castd.title("/live") is None
        assert castd.mount("/live").source is not None


WRONG = {
    "wrong password": basic("admin", "guess"),
    "source's": basic(*SOURCE),
    "another user": basic("root", ADMIN[1]),
    "empty": basic("", ""),
    "no password": basic("admin", ""),
    "hackme": basic("admin", "hackme"),
    "hackme of a source": basic("source", "hackme"),
    "changeme": basic("admin", "changeme"),
    "cut": basic(*ADMIN)[:-3],
    "not base64": "Basic *:*",
    "beyond ASCII": "Basic \N{SNOWMAN}",
    "plain": f"Basic {ADMIN[0]}:{ADMIN[1]}",
    "no scheme": basic(*ADMIN).partition(" ")[2],
    "digest": 'Digest username="admin"',
    "empty token": "Bearer ",
    "wrong token": "Bearer castd_guess",
    "password for a token": f"Bearer {ADMIN[1]}",
    "token for a password": basic("admin", TOKEN),
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
async def test_no_admin(value: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        for target in ("/admin/stats", "/admin/listclients?mount=/live", "/api/v1/admin/stats"):
            assert await status(castd, "GET", target, {"Authorization": value}) == 401


@pytest.mark.parametrize("user", [ADMIN, ("source", "hackme"), ("source", ""), ("", ""), ("SOURCE", SOURCE[1]), OWN])
async def test_no_source(user: tuple[str, str], autojump_clock: MockClock) -> None:
    async with bench() as castd:
        assert await status(castd, "PUT", "/live", {"Authorization": basic(*user)}) == 401
        assert await status(castd, "SOURCE", "/live", {"Authorization": basic(*user)}) == 401
        assert await status(castd, "PUT", "/live", {"Authorization": f"Bearer {TOKEN}"}) == 401
        assert not castd.server.registry.mounts


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
async def test_the_scheme_is_spelt_as_one_likes(scheme: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        value = scheme + basic(*ADMIN).removeprefix("Basic")
        assert await status(castd, "GET", "/admin/stats", {"Authorization": value}) == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_a_token_does_what_the_admin_may(scheme: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        await live(castd)
        token = {"Authorization": f"{scheme} {TOKEN}"}
        assert await status(castd, "GET", "/api/v1/admin/listeners", token) == 200
        assert await status(castd, "GET", "/admin/metadata?mount=/live&mode=updinfo&song=by+token", token) == 200
        assert castd.title("/live") == "by token"


async def test_a_source_steers_its_mount_and_no_more(autojump_clock: MockClock) -> None:
    async with bench(configured(mounts=MOUNTS)) as castd:
        await live(castd)
        await live(castd, "/own", OWN)
        title = "/admin/metadata?mode=updinfo&song=x&mount="
        source, own = {"Authorization": basic(*SOURCE)}, {"Authorization": basic(*OWN)}
        assert await status(castd, "GET", title + "/live", source) == 200
        assert await status(castd, "GET", title + "/own", own) == 200
        assert await status(castd, "GET", title + "/own", source) == 401
        assert await status(castd, "GET", title + "/live", own) == 401
        assert await status(castd, "GET", "/admin/killsource?mount=/own", source) == 401
        assert await status(castd, "GET", "/admin/metadata?mode=updinfo&song=x", source) == 401
        for target in ("/admin/listclients?mount=/live", "/admin/killclient?mount=/live&id=1", "/admin/stats"):
            assert await status(castd, "GET", target, source) == 401
        assert await status(castd, "DELETE", "/api/v1/admin/sources/1", source) == 401
        assert await status(castd, "GET", "/admin/killsource?mount=/own", own) == 200


async def test_a_mounts_own_password_goes_before_the_servers(autojump_clock: MockClock) -> None:
    async with bench(configured(mounts=MOUNTS)) as castd:
        assert await status(castd, "PUT", "/own", {"Authorization": basic(*SOURCE)}) == 401
        assert await status(castd, "PUT", "/%6Fwn", {"Authorization": basic(*SOURCE)}) == 401
        assert await status(castd, "PUT", "/own", {"Authorization": basic(OWN[0], SOURCE[1])}) == 401
        await live(castd, "/%6Fwn", OWN)
        assert list(castd.server.registry.mounts) == ["/own"]


async def test_a_mounts_user_alone_takes_the_servers_password(autojump_clock: MockClock) -> None:
    async with bench(configured(mounts={"/own": {"source_user": "dj"}})) as castd:
        assert await status(castd, "PUT", "/own", {"Authorization": basic(*SOURCE)}) == 401
        await live(castd, "/own", ("dj", SOURCE[1]))


CROSS_SITE = [
    {"Origin": "https://evil.test"},
    {"Origin": "http://radio.test.evil.test"},
    {"Origin": "http://radio.test:8001"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "Cross-Site"},
    {"Origin": "http://radio.test", "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("fields", CROSS_SITE, ids=str)
async def test_another_sites_page_changes_nothing(fields: dict[str, str], autojump_clock: MockClock) -> None:
    async with bench() as castd:
        await live(castd)
        for method, route in TABLE:
            if route.changes:
                target = path_of(route) + "?mount=/live&mode=updinfo&song=x&id=1"
                sent = fields | {"Authorization": basic(*ADMIN)}
                assert await status(castd, method, target, sent) == 403
        assert castd.mount("/live").source is not None
        assert castd.title("/live") is None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Origin": "http://radio.test"},
        {"Origin": "https://RADIO.test"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
async def test_our_own_page_and_programs_may(fields: dict[str, str], autojump_clock: MockClock) -> None:
    async with bench() as castd:
        await live(castd)
        sent = fields | {"Authorization": basic(*ADMIN)}
        assert await status(castd, "GET", "/admin/metadata?mount=/live&mode=updinfo&song=x", sent) == 200


TRICKS = [
    "//admin/stats",
    "/%61dmin/stats",
    "/admin%2Fstats",
    "/%2Fadmin/stats",
    "/x/../admin/stats",
    "/x/%2e%2e/admin/stats",
    "/x/..%2fadmin/stats",
    "/./admin/stats",
    "/admin;x/stats",
    "/admin/stats;x",
    "/admin/stats/",
    "/admin//stats",
    "/admin/./stats",
    "/ADMIN/stats",
    "/Admin/Stats",
    "/admin/stats%00",
    "/admin/stats%20",
    "/admin/stats#",
    "/admin\\stats",
    "/%5cadmin/stats",
    "/admin%252Fstats",
    "http://x//admin/stats",
    "http://x/admin/stats",
    "/;/admin/stats",
    "/admin/listclients?mount=/live",
    "/admin/killsource%3Fmount=/live",
    "/%61dmin/killsource?mount=/live",
    "/%61pi/v1/admin/stats",
    "/api/v1/%61dmin/stats",
    "/api//v1/admin/stats",
    "/api/v1/mounts/../admin/stats",
    "/api/v1/mounts/..%2Fadmin%2Fstats",
    "/static/..%2F..%2Fetc%2Fcastd.toml",
    "/static/../../../etc/passwd",
    "/static/%2e%2e/%2e%2e/etc/passwd",
    "/..%c0%af..%c0%afetc/passwd",
    "/%c0%ae%c0%ae/etc/passwd",
]


@pytest.mark.parametrize("target", TRICKS)
async def test_tricks_with_paths_reveal_nothing(target: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        await live(castd)
        for method in ("GET", "POST", "HEAD", "DELETE"):
            reply = await castd.ask(head(method, target))
            assert reply.status in (400, 401, 404, 405)
            for word in (b"source_ip", b"192.0.2.1", b"root:", b"[[listen]]", b"icestats"):
                assert word not in reply.body
        assert castd.mount("/live").source is not None


@pytest.mark.parametrize("target", ["/admin/stats", "/%61dmin/stats", "/x/../admin/stats", "/ADMIN%2Fstats/"])
async def test_no_source_gets_a_mount_over_the_admins_pages(target: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        assert await status(castd, "PUT", target, {"Authorization": basic(*SOURCE)}) in (400, 403)
        assert not castd.server.registry.mounts


async def test_a_wrong_password_is_told_in_the_log_without_it(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bench() as castd:
        assert await status(castd, "PUT", "/live", {"Authorization": basic("source", "typed-in-vain")}) == 401
        assert await status(castd, "PUT", "/live") == 401
    assert caplog.messages == [
        "PUT /live from 192.0.2.1 (probe/1) refused: 401 wrong user or password",
        "PUT /live from 192.0.2.1 (probe/1) refused: 401 You need to authenticate",
    ]


def test_secrets_are_compared_by_verify_alone() -> None:
    """No == on a secret anywhere; verify itself is tested in test_secrets."""
    secret_names = {"source_password", "admin_password", "admin_token", "password", "token", "credentials"}
    for path in Path(castd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare):
                names = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
                names |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                assert not names & secret_names, f"{path}:{node.lineno}"


@pytest.mark.parametrize("user", [SOURCE, ADMIN, ("nobody", "guess"), ("source", "guess")])
async def test_every_comparison_is_made_whoever_asks(
    user: tuple[str, str], monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    compared: list[str] = []

    def verify(given: str | bytes, expected: str) -> bool:
        compared.append(expected)
        return secrets.verify(given, expected)

    monkeypatch.setattr(authorise, "verify", verify)
    async with bench() as castd:
        await status(castd, "GET", "/admin/metadata?mount=/live", {"Authorization": basic(*user)})
    assert compared == [*SOURCE, *ADMIN, "relay", ""]

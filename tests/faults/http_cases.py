"""Hostile HTTP: heads that are none, smuggled requests, ways out of the web root, injected header fields."""

from __future__ import annotations

import os
import random

import trio

from tests.faults.case import case
from tests.faults.site import ADMIN, SOURCE, Said, Site
from tests.support import FRAME_BYTES, head

END = b"\r\n\r\n"

HIDDEN = b"GET /status-json.xsl?hidden HTTP/1.1\r\nHost: x\r\n\r\n"

REFUSED = (400, 403, 404, 405, 411, 413, 414, 417, 431, 501, 505)


def refused(said: Said, *, also: tuple[int, ...] = ()) -> None:
    """An answer that refuses, or a close; nothing else."""
    assert said.statuses or said.closed, "neither answered nor closed"
    for status in said.statuses:
        assert status in (*REFUSED, *also), f"answered {status}"


@case("HTTP-01")
async def noise(site: Site) -> None:
    dice = random.Random(1)

    async def one(data: bytes) -> None:
        refused(await site.send(data, seconds=20))  # Icecast waits for more

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(one, dice.randbytes(1024) + END)


BROKEN_LINES = (
    b"",
    b"GET",
    b"GET ",
    b" GET / HTTP/1.1",
    b"GET HTTP/1.1",
    b"GET / HTTP/1.x",
    b"GET / FOO/1.0",
    b"GET / HTTP/11111111111.1",
    b"GET / HTTP/9.9",
    b"G\x00T / HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    b"PRI * HTTP/2.0\r\n\r\nSM",
    b"HTTP/1.1 200 OK",
    b"GET /\rX: y HTTP/1.1",
)


@case("HTTP-03")
async def broken_request_lines(site: Site) -> None:
    async def one(line: bytes) -> None:
        said = await site.send(line + b"\r\nHost: x" + END)
        if site.is_castd or said.status >= 500 or not said.closed:
            refused(said)

    async with trio.open_nursery() as nursery:
        for line in BROKEN_LINES:
            nursery.start_soon(one, line)


@case("HTTP-05")
async def hosts(site: Site) -> None:
    for fields in (
        b"",
        b"Host: a\r\nHost: b\r\n",
        b"Host: a/b?c\r\n",
        b"Host: a\x01b\r\n",
        b"Host: " + b"a" * 300 + b"\r\n",
    ):
        said = await site.send(b"GET /status-json.xsl HTTP/1.1\r\n" + fields + b"Connection: close\r\n\r\n")
        assert said.statuses or said.closed
        assert said.status < 500, f"{fields[:20]!r} answered {said.status}"
        if site.is_castd and fields.count(b"Host") != 1:
            assert said.status == 400, f"{fields[:20]!r} answered {said.status}"


@case("HTTP-07")
async def giant_heads(site: Site) -> None:
    for fields in (b"X: " + b"a" * 65_536 + b"\r\n", b"".join(b"X-%d: y\r\n" % each for each in range(1000))):
        said = await site.send(b"GET /status-json.xsl HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n")
        refused(said, also=() if site.is_castd else (200,))
        assert not site.is_castd or said.status == 431, f"answered {said.status}"


@case("HTTP-09")
async def odd_bytes(site: Site) -> None:
    for target in (b"/a\x00b", b"/a\x01b", b"/a\xffb", b"/%00", b"/%c0%ae", b"/%", b"/%zz", b"/%u0041"):
        said = await site.send(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", seconds=4)
        refused(said)
    refused(await site.send(b"GET /nope HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\nConnection: close\r\n\r\n", seconds=4))


SMUGGLED = (
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"Content-Length: 0\r\nContent-Length: 100\r\n\r\n",
    b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: gzip\r\n\r\n",
    b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"Content-Length: 0, 100\r\n\r\n",
    b"Content-Length: +100\r\n\r\n",
    b"Content-Length: 0x64\r\n\r\n",
    b"Content-Length: 1_0\r\n\r\n",
    b"Content-Length : 100\r\n\r\n",
    b"X: y\rContent-Length: 100\r\n\r\n",
    b" Content-Length: 100\r\n\r\n",
    b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\nabcd",
)


@case("HTTP-11")
async def smuggling(site: Site) -> None:
    for method in (b"GET", b"POST"):
        for fields in SMUGGLED:
            said = await site.send(method + b" /status-json.xsl HTTP/1.1\r\nHost: x\r\n" + fields + HIDDEN, seconds=3)
            answers = [each for each in said.statuses if each != 100]
            assert len(answers) <= 1, f"{method.decode()} {fields!r} got {answers}"


@case("HTTP-13")
async def pipelining(site: Site) -> None:
    first = head("GET", "/status-json.xsl")
    said = await site.send(first + head("GET", "/nope", {"Connection": "close"}))
    assert said.statuses in ([200, 404], [200]), f"answered {said.statuses}"
    assert len(said.statuses) == 2 or said.closed, "the second request is neither answered nor refused"
    said = await site.send(head("GET", "/nope") + first)
    assert said.statuses in ([404], [404, 200]), f"answered {said.statuses}"


@case("HTTP-15")
async def methods(site: Site) -> None:
    asked = {
        "OPTIONS *": b"OPTIONS * HTTP/1.1\r\n",
        "TRACE": b"TRACE / HTTP/1.1\r\nX-Secret: reflected\r\n",
        "TRACK": b"TRACK /status-json.xsl HTTP/1.1\r\nX-Secret: reflected\r\n",
        "BREW": b"BREW / HTTP/1.1\r\n",
        "get": b"get / HTTP/1.1\r\n",
        "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n",
        "5,000 bytes": b"A" * 5000 + b" / HTTP/1.1\r\n",
    }
    for name, lines in asked.items():
        said = await site.send(lines + b"Host: x\r\nConnection: close\r\n\r\n")
        refused(said, also=(200, 204) if name == "OPTIONS *" else ())
        assert b"reflected" not in said.received, f"{name} reflects"


TRAVERSALS = (
    "../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..\\", "....//", "..;/", "%252e%252e%252f", "%c0%ae%c0%ae/",
    "%e0%80%ae%e0%80%ae/", "..%00/", ".%00./", "..%0d/", "%uff0e%uff0e/", "..//", "./../", "..%ef%bc%8f",
)  # fmt: skip


@case("HTTP-17")
async def traversal(site: Site) -> None:
    for dots in TRAVERSALS:
        for base in ("/", "//", "/static/", "/admin/", "/files/"):
            for wanted in ("etc/passwd", "castd.toml"):
                target = f"{base}{dots * 8}{wanted}".encode()
                said = await site.send(b"GET " + target + b" HTTP/1.0\r\nHost: x\r\n\r\n", seconds=4)
                for secret in (b"root:", b"admin_password", b"state_dir"):
                    assert secret not in said.received, f"{target!r} leaves the root"
                assert said.status < 500, f"{target!r} answered {said.status}"


@case("HTTP-19")
async def injection(site: Site) -> None:
    nasty = "<script>alert(1)</script>"
    for target in (
        f"/{nasty}", "/%3Cscript%3Ealert(1)%3C/script%3E", "/x%0d%0aX-Injected:%201", "/x?y=%0d%0aX-Injected:%201",
        "/x%0d%0aX-Injected:%201.m3u", "/canary.m3u?%0d%0aX-Injected:1", "/canary.xspf?%0d%0aX-Injected:1",
        "/admin/buildm3u?mount=/canary&username=%0d%0aX-Injected:1&password=p",
        "/api/v1/mounts/x%0d%0aX-Injected:1", "/p/x%0d%0aX-Injected:1",
    ):  # fmt: skip
        said = await site.ask(target, {"Referer": nasty, "User-Agent": nasty})
        assert b"\nx-injected" not in said.head.lower(), f"{target} injects a header field"
        assert b"<script>alert" not in said.received, f"{target} comes back as it is"


@case("HTTP-21")
async def bytes_one_by_one(site: Site) -> None:
    request = head("GET", "/status-json.xsl", {"Connection": "close"})
    said = await site.drip((request[at : at + 1] for at in range(len(request))), 1.3 / len(request))
    assert said.statuses == [200], f"answered {said.statuses}"


@case("HTTP-23")
async def ranges(site: Site) -> None:
    async with site.listen("/canary", {"Range": "bytes=0-"}) as ear:
        await ear.bytes(4 * FRAME_BYTES)
    many = ",".join(f"{each}-{each}" for each in range(500))
    for value in ("bytes=99999999999999999999-", "bytes=-1", "bytes=5-2", f"bytes={many}", "bytes=", "pages=1-2"):
        said = await site.send(head("GET", "/canary", {"Range": value}))
        assert said.status in (200, 206, 400, 416, 431), f"{value[:20]} answered {said.status}"


@case("HTTP-25")
async def metadata_wishes(site: Site) -> None:
    for value in ("-1", "9" * 20, "yes", "1, 1", "0x1", " "):
        said = await site.send(head("GET", "/canary", {"Icy-MetaData": value}))
        assert said.status in (200, 400), f"{value} answered {said.status}"


@case("AUT-02")
async def known_passwords(site: Site) -> None:
    for password in ("hackme", "changeme", "", "admin", "password"):
        for user in ("source", "admin", "relay"):
            said = await site.ask("/known", method="SOURCE", user=(user, password))
            assert said.status in (401, 403), f"{user} with {password!r} may send: {said.status}"
            for target in ("/admin/stats", "/admin/streamlist.txt"):
                said = await site.ask(target, user=(user, password))
                assert said.status in (401, 403), f"{user} with {password!r} got {target}: {said.status}"


PATHS = (
    "/admin/stats", "/admin/stats.xml", "/admin/stats.xsl", "/admin/listmounts", "/admin/listmounts.xsl",
    "/admin/listclients?mount=/canary", "/admin/listclients.xsl?mount=/canary", "/admin/killsource?mount=/canary",
    "/admin/killsource.xsl?mount=/canary", "/admin/killclient?mount=/canary&id=1", "/admin/streamlist.txt",
    "/admin/moveclients?mount=/canary&destination=/x", "/admin/fallbacks?mount=/canary&fallback=/x",
    "/admin/manageauth?mount=/canary", "/admin/reloadconfig", "//admin/stats", "/%61dmin/stats", "/admin%2fstats",
    "/x/../admin/stats", "/./admin/stats", "/admin/./stats", "/admin/;x/stats", "/admin;x/stats", "/ADMIN/stats",
    "/admin//stats", "/admin/stats/", "/admin/stats%00", "/admin/stats%20", "/admin.cgi?mode=viewxml", "/admin\\stats",
    "http://x/admin/stats", "http:///admin/stats", "/static/../admin/stats", "/static/..%2fadmin/stats",
)  # fmt: skip


@case("AUT-04")
async def no_credentials(site: Site) -> None:
    for target in PATHS:
        for method in (b"GET", b"POST", b"HEAD"):
            data = method + b" " + target.encode() + b" HTTP/1.0\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            said = await site.send(data, seconds=4)
            for secret in (b"<source mount=", b"<Listeners>", b"<iceresponse>", b"<sources>", b"/canary\n"):
                assert secret not in said.received, f"{method.decode()} {target} shows {secret.decode()}"
    await site.canary.goes_on(60)


@case("AUT-06")
async def metadata_with_a_wrong_password(site: Site) -> None:
    for user in (("source", "a guess"), ("admin", "a guess"), ("", "")):
        said = await site.ask("/admin/metadata?mount=/canary&mode=updinfo&song=stolen", user=user)
        assert said.status == 401, f"answered {said.status}"
    assert "stolen" not in str(await site.facts("/canary"))


@case("AUT-08")
async def shoutcast_with_a_wrong_password(site: Site) -> None:
    for port in (site.shoutcast_port, site.shoutcast_port + 1):
        for password in (b"a guess", b"", b"admin:a guess", b"x" * 2000):
            try:
                said = await site.send(password + b"\r\nicy-name: x\r\n\r\n", port=port)
            except OSError:
                continue  # nobody there is a refusal
            assert b"OK2" not in said.received, f"{password[:20]!r} is let in"


@case("ADM-09")
async def bad_parameters(site: Site) -> None:
    huge = "x" * 6000
    commands = ("metadata", "listclients", "killsource", "killclient", "moveclients", "fallbacks", "manageauth")
    for command in commands:
        for query in ("", "?", f"?mount={huge}", "?mount=%00", "?mount=/nope", "?mount=/canary&id=99999999999999999999",
                      "?mount=/canary&id=-1&destination=%0a&fallback=%ff", "?mount[]=/canary", "?=&=&&&"):  # fmt: skip
            if command == "killsource" and query.startswith("?mount=/canary"):
                continue  # that one is not bad
            said = await site.ask(f"/admin/{command}{query}", user=ADMIN)
            assert said.status or said.closed, f"{command}{query[:20]} is not answered"
            assert said.status < 500, f"{command}{query[:20]} answered {said.status}"


@case("ADM-15")
async def hostile_hosts(site: Site) -> None:
    elsewhere = ("elsewhere.test/x?", "user@elsewhere.test")
    for host in ('a"><script>alert(15)</script>', "a'onload='x", "a\tb", "[::1]]", *elsewhere):
        for target in ("/canary.m3u", "/canary.xspf", "/canary.pls", "/", "/status-json.xsl", "/p/canary"):
            said = await site.ask(target, {"Host": host})
            assert b"<script>alert(15)" not in said.received, f"{target} says the host as it is"
            assert said.status < 500, f"{target} answered {said.status}"
            if site.is_castd:
                assert b"elsewhere.test" not in said.received, f"{target} links to {host}"


@case("TLS-02")
async def no_tls_on_the_tls_port(site: Site) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(40)
    for data in (head("GET", "/status-json.xsl"), os.urandom(1024) + END, hello[:20]):
        async with await site.connect(site.tls_port) as client:
            await client.send(data)
            if data == hello[:20]:
                await client.stream.send_eof()
            received = await client.rest()
            assert b"icestats" not in received, "plain HTTP is served on a port for TLS"
            assert SOURCE[1].encode() not in received

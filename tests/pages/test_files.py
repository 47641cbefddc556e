"""The page and its files."""

from __future__ import annotations

import gzip
import hashlib
import re
from typing import TYPE_CHECKING

import pytest

from castd.config import share
from tests.support import bench, head

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_the_page_brings_its_rules(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        reply = await castd.ask(head("GET", "/"))
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
        policy = reply.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-content-type-options"] == "nosniff"
        forbidden = rb'<script(?![^>]*(\bsrc=|type="application/json"))|\bon\w+=|<style|\bstyle='
        assert not re.search(forbidden, reply.body), "the policy forbids it"


@pytest.mark.parametrize("name", sorted(path.name for path in share("web").iterdir() if path.is_file()))
async def test_every_file_is_served_from_memory(name: str, autojump_clock: MockClock) -> None:
    async with bench() as castd, castd.connect() as client:
        reply = await client.ask(head("GET", f"/static/{name}"))
        assert reply.status == 200
        assert reply.body == (share("web") / name).read_bytes()
        again = await client.ask(head("GET", f"/static/{name}", {"If-None-Match": reply.headers["etag"]}))
        assert (again.status, again.body) == (304, b"")
        only_head = await client.ask(head("HEAD", f"/static/{name}"))
        assert only_head.headers["content-length"] == reply.headers["content-length"]


async def test_vendored_files_are_kept_and_have_their_licence(autojump_clock: MockClock) -> None:
    library = (share("web") / "vendor" / "hls.min.js").read_bytes()
    version = hashlib.sha256(library).hexdigest()[:12]
    async with bench() as castd:
        for query, cached in (("", "no-cache"), ("?v=0123456789ab", "no-cache"), (f"?v={version}", "max-age=31536000")):
            reply = await castd.ask(head("GET", f"/static/hls.min.js{query}", {"Accept-Encoding": "gzip"}))
            assert (reply.status, gzip.decompress(reply.body)) == (200, library)
            assert cached in reply.headers["cache-control"], query
        licence = await castd.ask(head("GET", "/static/LICENSE-hls.js.txt"))
        assert licence.headers["content-type"] == "text/plain; charset=utf-8"
        assert "Apache License" in licence.text


@pytest.mark.parametrize("name", ["nix", "..", "%2e%2e%2fcastd.toml", "..%5ccastd.toml", "index.html%00", ".", "a/b"])
async def test_nothing_else_is(name: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        assert (await castd.ask(head("GET", f"/static/{name}"))).status in (400, 404)


async def test_small_answers(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        health = await castd.ask(head("GET", "/healthz"))
        assert (health.status, health.body, health.headers["cache-control"]) == (200, b"ok\n", "no-store")
        icon = await castd.ask(head("GET", "/favicon.ico"))
        assert (icon.status, icon.headers["content-type"]) == (200, "image/svg+xml")
        for target in ("*", "/live", "/"):
            options = await castd.ask(head("OPTIONS", target))
            assert options.status == 204
            assert "Icy-MetaData" in options.headers["access-control-allow-headers"]
            assert "PUT" not in options.headers["access-control-allow-methods"]
        trace = await castd.ask(head("TRACE", "/", {"X-Secret": "reflected"}))
        assert trace.status == 405
        assert b"reflected" not in trace.body

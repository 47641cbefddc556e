"""Rows of the catalogue that are looked at from within, and belong to no part of castd alone."""

from __future__ import annotations

import re
from importlib.metadata import requires, version

from castd.config import Proxies
from tests.support import bench, configured, head


def test_h11_is_one_that_checks_the_ends_of_chunks() -> None:
    """GHSA-vqfr-h8mv-ghfj: before 0.16 anything passed for the line end behind a chunk, which hides a request."""
    assert "h11>=0.16" in (requires("castd") or [])
    assert tuple(map(int, version("h11").split(".")[:2])) >= (0, 16)


async def test_no_redirect_leads_where_a_client_says() -> None:
    hostile = ("//evil.test", "/\\evil.test", "//evil.test/admin", "/%2f%2fevil.test", "/admin?next=//evil.test",
               "/admin", "/admin/..//evil.test", "http://evil.test/admin")  # fmt: skip
    config = configured(proxies=Proxies(trusted=("192.0.2.1/32",)))
    redirects = 0
    async with bench(config) as castd:
        for target in hostile:
            for prefix in ("", "//evil.test", "/\\evil.test", "http://evil.test"):
                fields = {"Host": "evil.test", "X-Forwarded-Host": "evil.test", "X-Forwarded-Prefix": prefix}
                reply = await castd.ask(head("GET", target, fields))
                redirects += reply.status in range(300, 400)
                location = reply.headers.get("location", "/")
                assert re.match(r"/(?![/\\])", location), f"{target} with {prefix} leads to {location}"
    assert redirects, "there are some to look at"

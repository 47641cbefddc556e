"""The document has every route; schemathesis tries each against a real server in tests/e2e/test_schemathesis.py."""

from __future__ import annotations

import json

import trio

from castd.api.operation import operation_of
from castd.app import Server
from castd.config import Config
from tests.support import SECRETS, bench, head


async def _routes() -> list[tuple[str, str, bool]]:
    server = Server(Config(), SECRETS)
    server.close()
    return [
        (method.lower(), route.path, operation_of(route.handler) is not None)
        for route in server.router.routes
        for method in route.methods
        if route.path.startswith("/api/v1/") and not route.path.endswith("{any*}") and method != "HEAD"
    ]


def test_every_route_says_what_it_does() -> None:
    assert [path for _, path, described in trio.run(_routes) if not described] == []


async def test_the_document() -> None:
    async with bench() as castd:
        reply = await castd.ask(head("GET", "/api/v1/openapi.json"))
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "*")
        document = json.loads(reply.body)
        again = await castd.ask(head("GET", "/api/v1/openapi.json", {"If-None-Match": reply.headers["etag"]}))
        assert again.status == 304
    assert document["openapi"] == "3.1.0"
    found = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert found == {(method, path) for method, path, _ in await _routes()}
    ids = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(ids) == len(set(ids))
    for path, methods in document["paths"].items():
        for method, each in methods.items():
            assert ("security" in each) == ("/admin/" in path), (method, path)
            assert each["summary"]
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"], name

"""The OpenAPI 3.1 document of the API, made of the route table and of what each handler says it takes and gives.

https://spec.openapis.org/oas/v3.1.0. The schemas are JSON Schema 2020-12 as msgspec makes them of castd.api.shapes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from castd import __version__
from castd.access.scopes import SCOPES
from castd.api import shapes
from castd.api.operation import JSON, Operation, describes, operation_of, public_answer
from castd.http.messages import phrase
from castd.http.routes import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Response
    from castd.http.routes import Call, Route

PREFIX = "/api/v1/"

PROBLEM = "application/problem+json"

REFERENCE = "#/components/schemas/{name}"

PLACEHOLDERS = {
    "name": ("live", "the mount's name without its first slash, others as %2F: `jazz%2Fhigh`"),
    "id": ("1", "a number from a list of these"),
}

FOR_ALL = (429, 500, 503)
"""Statuses any request may have: too many from one address, a fault of castd's own, or it is stopping."""

DESCRIPTION = """\
Everything castd's own pages use. Public facts need no credentials and may be read from any site. Operations of
operators take HTTP Basic with the admin's user and password, a bearer token (castd token create), or the session of
a browser that signed in, which sends X-CSRF-Token with each request that changes something. Errors are RFC 9457
problems.
"""


class Document:
    """Its handler.

    Args:
        routes: gives the table, once there is one.
    """

    def __init__(self, routes: Callable[[], Iterable[Route]], current: Current) -> None:
        self._routes = routes
        self._current = current
        self._made: dict[str, Any] | None = None

    @describes("This document", media_type=JSON.partition(";")[0])
    async def show(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/openapi.json."""
        if self._made is None:
            self._made = document(self._routes())
        return public_answer(exchange.request, self._made)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole document; of each route below PREFIX that says what it does."""
    described = [
        (route, operation)
        for route in routes
        if route.path.startswith(PREFIX) and (operation := operation_of(route.handler)) is not None
    ]
    kinds = [kind for _, each in described for kind in (each.answer, each.body, each.query) if kind is not None]
    schemas, components = msgspec.json.schema_components([*kinds, shapes.Problem], ref_template=REFERENCE)
    by_kind = dict(zip(map(id, kinds), schemas, strict=False))
    paths: dict[str, Any] = {}
    for route, operation in described:
        for method in route.methods:
            if method != "HEAD":
                described_so = _operation(route, operation, by_kind, components)
                paths.setdefault(route.path, {})[method.lower()] = described_so
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "castd",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "GPL-2.0-or-later", "identifier": "GPL-2.0-or-later"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer", "description": _scopes()},
                "session": {"type": "apiKey", "in": "cookie", "name": "castd_session"},
            },
        },
    }


def _scopes() -> str:
    return "; ".join(f"{name}: {what}" for name, what in SCOPES.items()) + "; admin: everything"


def _operation(
    route: Route, operation: Operation, by_kind: dict[int, Any], components: dict[str, Any]
) -> dict[str, Any]:
    """What OpenAPI calls an operation (§4.8.10)."""
    open_to_all = route.need in (Need.NOTHING, Need.LISTEN)
    words = re.findall(r"\w+", route.path.removeprefix(PREFIX))
    made: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": "_".join([*words, route.handler.__name__]),
        "tags": ["public" if open_to_all else "operators"],
        "parameters": _parameters(route, operation, by_kind, components),
        "responses": _responses(route, operation, by_kind, open_to_all=open_to_all),
    }
    if not made["parameters"]:
        del made["parameters"]
    if operation.body is not None:
        content = {"application/json": {"schema": by_kind[id(operation.body)]}}
        made["requestBody"] = {"required": True, "content": content}
    if not open_to_all:
        made["security"] = [{"basic": []}, {"token": []}, {"session": []}]
        if route.right:
            made["description"] = f"A token needs the scope `{route.right}`."
    return made


def _parameters(
    route: Route, operation: Operation, by_kind: dict[int, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in re.findall(r"{(\w+)}", route.path):
        example, words = PLACEHOLDERS[name]
        given = {"name": name, "in": "path", "required": True, "description": words, "example": example}
        found.append(given | {"schema": {"type": "string"}})
    if operation.query is not None:
        name = by_kind[id(operation.query)]["$ref"].rpartition("/")[2]
        schema = components[name]
        for name, each in schema["properties"].items():
            made = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": each}
            found.append(made)
    return found


def _responses(route: Route, operation: Operation, by_kind: dict[int, Any], *, open_to_all: bool) -> dict[str, Any]:
    media_type = operation.media_type or "application/json"
    schema = by_kind[id(operation.answer)] if operation.answer is not None else {}
    responses: dict[str, Any] = {
        str(operation.status): {
            "description": phrase(operation.status),
            "content": {media_type: {"schema": schema} if schema else {}},
        }
    }
    if open_to_all and operation.media_type != "text/event-stream":
        responses["304"] = {"description": "it is as the client has it (If-None-Match)"}
    errors = {*operation.errors, *FOR_ALL, 400, *(() if open_to_all else (401, 403))}
    for status in sorted(errors):
        responses[str(status)] = {
            "description": phrase(status),
            "content": {PROBLEM: {"schema": {"$ref": REFERENCE.format(name="Problem")}}},
        }
    return responses

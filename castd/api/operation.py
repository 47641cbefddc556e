"""What a handler of the API takes and gives, said once: requests are read by it, and castd.api.openapi describes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from castd.errors import ClientError
from castd.http.conditions import OK, Validators, outcome
from castd.http.messages import ANY_ORIGIN, NO_CACHE, Response
from castd.wire.text import one_line

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.messages import Request

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])
T = TypeVar("T")

JSON = "application/json; charset=utf-8"

POLLED = (("Cache-Control", "no-cache"), ANY_ORIGIN, ("Access-Control-Expose-Headers", "ETag"))
"""Of public answers: kept by whoever likes, and asked for again with If-None-Match, which costs next to nothing."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the API.

    Attributes:
        summary: one line for people.
        answer: the type of the answer's JSON; None where it is no JSON.
        body: the type of the request's JSON; None where there is none.
        query: the type of the arguments; None where there are none.
        status: of the answer.
        errors: further statuses it may have, each with a problem (RFC 9457).
        media_type: of the answer where it is no JSON.
    """

    summary: str
    answer: Any = None
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    status: int = 200
    errors: tuple[int, ...] = field(default=())
    media_type: str = ""


OPERATIONS: dict[str, Operation] = {}
"""By the qualified name of the handler."""


def describes(summary: str, **parts: Any) -> Callable[[HandlerT], HandlerT]:
    """Say of a handler what it does; the arguments are those of Operation."""

    def note(handler: HandlerT) -> HandlerT:
        OPERATIONS[f"{handler.__module__}.{handler.__qualname__}"] = Operation(summary, **parts)
        return handler

    return note


def operation_of(handler: Callable[..., Any]) -> Operation | None:
    """What was said of a handler, None if nothing was."""
    return OPERATIONS.get(f"{handler.__module__}.{getattr(handler, '__qualname__', '')}")


async def read_body(exchange: Exchange, kind: type[T]) -> T:
    """The JSON that came with a request.

    Raises:
        ClientError: 400: it is none, or not as `kind` has it; 413, 408.
    """
    try:
        return msgspec.json.decode(await exchange.read_small_body(), type=kind)
    except msgspec.ValidationError as error:
        raise ClientError(400, one_line(f"the body: {error}", 300)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ClientError(400, "the body is not JSON") from None


def read_query(request: Request, kind: type[T]) -> T:
    """The arguments of a request; those it does not know are left alone, empty ones are as if they were absent.

    Raises:
        ClientError: 400.
    """
    given = {name: text for name in request.query if (text := request.argument(name))}
    try:
        return msgspec.convert(given, type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise ClientError(400, one_line(f"the query: {error}", 300)) from None


def answer(value: Any, status: int = 200) -> Response:
    """An answer for operators, which nobody keeps."""
    return Response(status, encode(value), JSON, (NO_CACHE,))


def public_answer(request: Request, value: Any) -> Response:
    """An answer for everybody, in the state the client has it in already if that is so (304)."""
    body = encode(value)
    etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = (("ETag", etag), *POLLED)
    if outcome(request, Validators(etag, 0)) != OK and request.header("if-none-match"):
        return Response(304, b"", JSON, headers)
    return Response(200, body, JSON, headers)


def encode(value: Any) -> bytes:
    """JSON; text that UTF-8 cannot carry was cleaned when it came in."""
    return msgspec.json.encode(value)

"""Requests and small replies as values."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote_to_bytes

from castd.config.rules import TEXT_CHARSET
from castd.errors import ClientError
from castd.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    import trio

MOUNT_CHARACTERS_REFUSED = frozenset(map(chr, [*range(0x20), 0x7F]))

AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
"""Host and port as links may hold them (RFC 3986 §3.2, without user and percent-encoding). No name is longer (RFC 1035
§2.3.4), and no QR code could hold it."""


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from, as castd.access.address derives it.

    Attributes:
        address: without port, normalised.
        scheme: "http" or "https".
        host: what the client called us, with its port, where a trusted proxy says so; else "".
        prefix: the part of the path that a trusted proxy took off, such as "/radio"; else "".
        fault: what a trusted proxy said that makes no sense, for the log; else "".
    """

    address: str
    scheme: str = "http"
    host: str = ""
    prefix: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A request head.

    Attributes:
        method: as sent; methods are case-sensitive (RFC 9110 §9.1).
        path: of the target, still percent-encoded, without the query.
        query: of the target, percent-decoded to bytes; of a repeated name the last wins (as in Icecast).
        headers: by lower-case name; repeated fields are joined by ", ".
        raw_query: the query as sent.
        version: "1.0" or "1.1".
        address: of the client, without port.
        local: address and port the client reached us at, for links where it sent no Host.
        expects_continue: it waits for 100 Continue before it sends a body.
        has_body: it announced a body by length or chunks; an encoder's endless body announces nothing.
        scheme, forwarded_host, prefix: of the URL the client used, as Client has them.
        password: the line a SHOUTcast encoder sent in place of a request.
    """

    method: str
    path: str
    query: Mapping[str, bytes]
    headers: Mapping[str, str]
    version: str
    address: str
    local: str
    expects_continue: bool = False
    has_body: bool = False
    scheme: str = "http"
    forwarded_host: str = ""
    prefix: str = ""
    password: str = field(default="", repr=False)
    raw_query: str = field(default="", repr=False)

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """The same request with other header fields."""
        return replace(self, headers=headers)

    def with_arguments(self, arguments: Mapping[str, bytes]) -> Request:
        """The same request with more arguments, which win over those it has."""
        return replace(self, query={**self.query, **arguments})

    @property
    def decoded_path(self) -> str:
        """The path, percent-decoded once.

        Raises:
            ClientError: 400: control characters, dot segments or empty segments, which no mount or page has.
        """
        return decode_path(self.path)

    def header(self, name: str) -> str:
        """A header field, "" if absent."""
        return self.headers.get(name, "")

    def argument(self, name: str) -> str | None:
        """A query argument as text (UTF-8, else Latin-1), None if absent."""
        value = self.query.get(name)
        return None if value is None else decode_text(value)

    @property
    def agent(self) -> str:
        """User-Agent without control characters, 256 characters at most."""
        return one_line(self.header("user-agent"), 256)

    @property
    def base_url(self) -> str:
        """The URL the client reached us by, no slash at its end: by a proxy's word, its Host, or our own address."""
        host = self.forwarded_host or self.header("host")
        return f"{self.scheme}://{host if AUTHORITY.fullmatch(host) else self.local}{self.prefix}"


class Content(Protocol):
    """What is too large to be held whole: the content of a reply, sent in pieces by castd.http.connection.

    Attributes:
        size: in bytes, known before the first of them is sent.
    """

    size: int

    async def send(self, stream: trio.abc.SendStream, stall_seconds: float) -> None:
        """Send it all.

        Args:
            stall_seconds: the client may take nothing for so long.

        Raises:
            trio.BrokenResourceError: the client is gone or stalled, or there is less than was announced.
        """
        ...

    def close(self) -> None:
        """Let go of what is behind it. Called once and always, sent or not."""
        ...


@dataclass(frozen=True, slots=True)
class Response:
    """A reply of known length: small and whole, or a Content.

    Attributes:
        headers: besides Content-Type, Content-Length, Date, Server and Connection, which are added.
        content: in place of `body`.
    """

    status: int = 200
    body: bytes | memoryview = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = field(default=())
    content: Content | None = None


def phrase(status: int) -> str:
    """The reason phrase of a status code."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


TRAIL = "x-castd-trail"
"""Field by which castd's tell each other what a stream came through, so that no relay goes round in a circle."""

NO_CACHE = ("Cache-Control", "no-cache, no-store")
ANY_ORIGIN = ("Access-Control-Allow-Origin", "*")


def json_response(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """A JSON reply; text is UTF-8, and what UTF-8 cannot carry was cleaned when it came in."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(status, body, "application/json; charset=utf-8", (NO_CACHE, *headers))


def decode_text(value: bytes, charset: str | None = None) -> str:
    """Text from a client: UTF-8, else the charset it named, else Latin-1, which takes any byte (quirk 50)."""
    for encoding in ("utf-8", charset):
        if encoding and TEXT_CHARSET.fullmatch(encoding):
            try:
                return value.decode(encoding)
            except (UnicodeDecodeError, LookupError, ValueError):
                continue
    return value.decode("latin-1")


def decode_path(path: str) -> str:
    """See Request.decoded_path."""
    decoded = decode_text(unquote_to_bytes(path))
    segments = decoded[1:].split("/")
    if not decoded.startswith("/") or any(segment in (".", "..") for segment in segments) or "" in segments[:-1]:
        raise ClientError(400, "a path with empty or dot segments")
    if not MOUNT_CHARACTERS_REFUSED.isdisjoint(decoded) or "\\" in decoded:
        raise ClientError(400, "a path with control characters or backslashes")
    return decoded


def parse_query(query: str) -> dict[str, bytes]:
    """A query string's arguments: "+" is a space, of a repeated name the last wins (captures B71, D42)."""
    arguments: dict[str, bytes] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name:
            arguments[decode_text(unquote_to_bytes(name.replace("+", " ")))] = unquote_to_bytes(value.replace("+", " "))
    return arguments


def quote_mount(name: str) -> str:
    """A mount's name as the path of a URL."""
    return quote(name, safe="/;,:@!$&'()*+=~-._")

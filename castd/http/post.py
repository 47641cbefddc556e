"""One HTTP POST over trio (RFC 9112, by h11), for web hooks and URL authentication.

castd has h11 and trio anyhow, and with them the one deadline that a hook needs, over everything from the name's lookup
to the answer; http.client in a thread has none, and httpx would bring four packages for one request without redirects,
cookies or pools.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlsplit

import h11
import trio

from castd.http.connection import FORM
from castd.http.heads import SERVER

HEAD_BYTES = 16_384
"""Of an answer's head, at most."""

BODY_BYTES = 16_384
"""Of an answer's body that are read; nobody needs more of it than a line for the log."""

BODY_SECONDS = 1.0
"""For that body: the status has told what matters."""


class NoAnswer(Exception):
    """The service could not be reached, or did not speak HTTP; the message says which."""


@cache
def default_context() -> ssl.SSLContext:
    """The certificates this machine trusts; made when first needed, since it takes megabytes."""
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered.

    Attributes:
        status: of HTTP.
        text: how its body begins.
        headers: by lower-case name.
    """

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart.

    Attributes:
        authority: host and port as Host has them (RFC 9110 §7.2).
        path: with the query.
    """

    scheme: str
    host: str
    port: int
    authority: str
    path: str

    @classmethod
    def of(cls, url: str) -> Target:
        """The parts of a URL that castd.config.rules.WEB_URL allows."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname or "", port, parts.netloc, path)

    def __str__(self) -> str:
        """For logs: without the path, in which some services have a secret."""
        return f"{self.scheme}://{self.authority}"


async def post(target: Target, headers: Mapping[str, str], body: bytes, context: ssl.SSLContext) -> Answer:
    """Send a body and read the answer's beginning; redirects are answers like others. The caller sets a deadline.

    Args:
        headers: besides Host, Content-Length and Connection.
        context: decides which certificates are trusted.

    Raises:
        NoAnswer: there was none.
    """
    try:
        stream = await _connect(target, context)
    except (OSError, MemoryError) as error:
        raise NoAnswer(describe_error(error)) from None
    try:
        return await _exchange(stream, target, headers, body)
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        raise NoAnswer(describe_error(error)) from None
    finally:
        await trio.aclose_forcefully(stream)


async def post_form(url: str, form: str, seconds: float, headers: Mapping[str, str] | None = None) -> Answer:
    """Send a form, as Icecast does; this machine decides which certificates are trusted.

    Args:
        seconds: for all of it.
        headers: more of them.

    Raises:
        NoAnswer: there was none, or not in time.
    """
    fields = {
        **(headers or {}),
        "User-Agent": SERVER,
        "Accept": "*/*",
        "Content-Type": FORM,
    }
    with trio.move_on_after(seconds):
        return await post(Target.of(url), fields, form.encode(), default_context())
    raise NoAnswer(f"it did not answer within {seconds:g} s")


async def _connect(target: Target, context: ssl.SSLContext) -> trio.abc.Stream:
    if target.scheme == "https":
        return await trio.open_ssl_over_tcp_stream(target.host, target.port, https_compatible=True, ssl_context=context)
    return await trio.open_tcp_stream(target.host, target.port)


async def _exchange(stream: trio.abc.Stream, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
    fields = {"Host": target.authority, "Content-Length": str(len(body)), "Connection": "close", **headers}
    request = h11.Request(method="POST", target=target.path, headers=list(fields.items()))
    parts = [connection.send(event) or b"" for event in (request, h11.Data(data=body), h11.EndOfMessage())]
    await stream.send_all(b"".join(parts))
    while not isinstance(received := await next_event(stream, connection), h11.Response):
        pass  # 1xx
    fields_ = {name.decode("ascii"): value.decode("utf-8", "replace") for name, value in received.headers}
    return Answer(received.status_code, await _beginning(stream, connection), fields_)


async def _beginning(stream: trio.abc.Stream, connection: h11.Connection) -> str:
    """Of the body, as text; cut off wherever it becomes too much or too slow."""
    found = b""
    with trio.move_on_after(BODY_SECONDS):
        try:
            while len(found) < BODY_BYTES and isinstance(data := await next_event(stream, connection), h11.Data):
                found += bytes(data.data)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass
    return found.decode("utf-8", "replace")


async def next_event(stream: trio.abc.Stream, connection: h11.Connection) -> h11.Event:
    """The next part of an answer."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        data = await stream.receive_some(HEAD_BYTES)
        if not data and connection.their_state is h11.SEND_RESPONSE:
            begun, _ = connection.trailing_data
            raise NoAnswer("it does not speak HTTP" if begun else "it closed the connection without an answer")
        connection.receive_data(bytes(data))
    if isinstance(event, type):
        raise NoAnswer("it changed the protocol")
    return event


def describe_error(error: BaseException) -> str:
    """What to say of an error: trio's are about the one below, such as a certificate's or each address's."""
    if isinstance(error.__cause__, BaseException):
        return describe_error(error.__cause__)
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(dict.fromkeys(describe_error(each) for each in error.exceptions))
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {error.verify_message}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, h11.RemoteProtocolError):
        return f"it does not speak HTTP: {error}"
    return str(error) or "it closed the connection"

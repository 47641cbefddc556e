"""A stream pulled from another server: Icecast, icecast-kh, SHOUTcast or castd.

The request is an Icecast slave's (capture F05): HTTP/1.0, so that nobody answers with chunks. The answer may be
SHOUTcast's `ICY 200 OK`, which no HTTP library reads.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import trio

from castd.http.connection import READ_BYTES
from castd.http.fetch import connect, is_public_address, redirected
from castd.http.heads import SERVER
from castd.http.post import NoAnswer, Target, describe_error
from castd.wire.reply_head import NotAReply, ReplyHead, find_reply_head

REDIRECTS = 5
"""Followed one after the other, at most."""


class Unavailable(Exception):
    """There is no stream to be had now; the message completes "it ..."."""


@dataclass(slots=True)
class Upstream:
    """An answer with a stream behind it.

    Attributes:
        url: where it came from in the end.
        head: of the answer.
        stream: the connection.
        rest: of the body, what came with the head.
        address: of the other server.
    """

    url: str
    head: ReplyHead
    stream: trio.abc.Stream
    rest: bytes
    address: str

    async def receive(self) -> bytes:
        """The next bytes of the body; see castd.ingest.session.Session."""
        if self.rest:
            data, self.rest = self.rest, b""
            return data
        return bytes(await self.stream.receive_some(READ_BYTES))

    async def close(self) -> None:
        """Hang up, without a farewell."""
        await trio.aclose_forcefully(self.stream)


async def pull(url: str, login: tuple[str, str], fields: Mapping[str, str], context: ssl.SSLContext) -> Upstream:
    """Ask for a stream; the caller sets a deadline.

    The first address is the operator's choice, wherever it leads. A server of the public internet cannot send us on to
    one within: strangers would hear what only neighbours should.

    Args:
        login: user and password; both "" for none. Another host than the first one does not learn them.
        fields: of the request's head, besides Host, User-Agent and Authorization.
        context: decides which certificates are trusted.

    Raises:
        Unavailable: what the other server says instead, or why there is no connection.
    """
    first, private = Target.of(url), True
    for _ in range(REDIRECTS + 1):
        target = Target.of(url)
        known = login if (target.host, target.scheme) == (first.host, first.scheme) else ("", "")
        upstream = await _ask(url, target, known, fields, context, private=private)
        private = private and not is_public_address(upstream.address)
        head = upstream.head
        if head.status == 200:
            if head.headers.get("transfer-encoding"):
                await upstream.close()
                raise Unavailable("answered in chunks, which HTTP/1.0 does not have")
            return upstream
        await upstream.close()
        location = head.headers.get("location", "")
        if head.status not in (301, 302, 303, 307, 308) or not location:
            raise Unavailable(f"answered {head.status} {head.phrase}".rstrip())
        try:
            url = redirected(url, location)
        except NoAnswer as error:
            raise Unavailable(str(error).removeprefix("it ")) from None
    raise Unavailable(f"redirects more than {REDIRECTS} times")


async def _ask(
    url: str,
    target: Target,
    login: tuple[str, str],
    fields: Mapping[str, str],
    context: ssl.SSLContext,
    *,
    private: bool,
) -> Upstream:
    try:
        stream, address = await connect(target, context, private=private)
    except NoAnswer as error:
        raise Unavailable(f"redirects to within: {error}") from None
    except (OSError, trio.BrokenResourceError) as error:
        raise Unavailable(f"cannot be reached: {describe_error(error)}") from None
    try:
        await stream.send_all(_request(target, login, fields))
        received = b""
        while (found := find_reply_head(received)) is None:
            data = await stream.receive_some(READ_BYTES)
            if not data:
                raise Unavailable("closed the connection without an answer")
            received += data
        return Upstream(url, found[0], stream, found[1], address)
    except (OSError, trio.BrokenResourceError) as error:
        await trio.aclose_forcefully(stream)
        raise Unavailable(f"broke the connection off: {error.__cause__ or error}") from None
    except NotAReply as error:
        await trio.aclose_forcefully(stream)
        raise Unavailable(str(error)) from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


def _request(target: Target, login: tuple[str, str], fields: Mapping[str, str]) -> bytes:
    lines = [f"GET {target.path} HTTP/1.0", f"Host: {target.authority}", f"User-Agent: {SERVER}"]
    if login[0]:
        lines.append("Authorization: Basic " + base64.b64encode(":".join(login).encode()).decode())
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode()

"""One HTTP/1.x connection: reads heads with h11, hands each to the dispatcher, writes small replies.

h11 sees one message at a time, after castd.wire.icecast_head made the head fit for it. What h11 cannot carry goes past
it: an encoder's body of no announced length is taken raw from the stream, and replies to listeners and encoders, which
have no length either, are written by their handlers (h11 would add chunked coding).
"""

from __future__ import annotations

import json
import logging
import pickle
import re
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import h11
import trio

from castd.errors import RETRY_AFTER, ClientError, IncompleteBody, lacks_resources
from castd.hold import Hold
from castd.http.heads import reply_head
from castd.http.messages import NO_CACHE, Client, Request, Response, decode_text, parse_query, phrase
from castd.http.state import BodyState
from castd.log import Repeats, warn_rarely
from castd.wire import shoutcast
from castd.wire.icecast_head import HeadLimits, split_head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from castd.config import Limits

log = logging.getLogger(__name__)

READ_BYTES = 64 * 1024
"""One read from a client: bounds what is parsed between two checkpoints."""

BODY_BYTES = 64 * 1024
"""Largest body of a request that is not a source's."""

LINGER_SECONDS = 1.0
"""After a refusal: how long what the client still sends is read and dropped. A close with unread data is a reset, which
can overtake the reply that says why."""

TOGETHER_BYTES = 8 * 1024
"""Of a body that are sent with the head."""

LINGER_BYTES = 1024 * 1024
"""And how much of it."""

LOGGED_PATH = 256
"""Characters of a path in a log line. Queries are never logged: SHOUTcast's carry the password."""

REFUSALS_SECONDS = 10.0
REFUSALS_OF_ADDRESS = 20
REFUSALS_OF_ALL = 200
"""Lines about requests that are refused: so many in so many seconds."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""RFC 9110 §15.2.1: what clients wait for that sent `Expect: 100-continue`."""

CARRY_ON = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
"""The reply to one batch of a stream that comes in many."""

FORM = "application/x-www-form-urlencoded"

SHOUTCAST = "SHOUTCAST"
"""The method of a request made for a SHOUTcast encoder, which sends none; no client may name it."""

SHOUTCAST_PATH = "/;source"
"""Its path, which is nobody else's."""

_QUOTED = re.compile(r"""[: ]*(bytearray\(|\bb['"]).*""", re.DOTALL)


class Refusals:
    """The log of requests that are refused, for all connections: a flood of them does not become one of lines.

    access.log has them all, as far as it keeps up.
    """

    def __init__(self) -> None:
        self._of_address = Repeats(REFUSALS_SECONDS, most=REFUSALS_OF_ADDRESS)
        self._of_all = Repeats(REFUSALS_SECONDS, most=REFUSALS_OF_ALL)

    def tell(self, address: str, message: str) -> None:
        """Write a line, if it is not one too many of its address, or of all."""
        now = trio.current_time()
        left_out = self._of_address.admit(address, now)
        if left_out is None or self._of_all.admit("", now) is None:
            return
        log.info("%s%s", message, f" ({left_out} more of this address were not told)" if left_out else "")


class Exchange:
    """One request and what its handler needs to answer it.

    Attributes:
        request: the head.
        stream: the transport.
        body: what follows the head.
        answered: a reply went out already, or the stream was handed on: no other can follow.
        user: who signed in, "" if nobody did.
        status: of the reply that went out here; 0 if none did.
        follow: answer this request with 200 and nothing, and wait for the next on the same connection; None if the
            client hung up instead. Only after the whole body was received.
        out: the stream, for the reply.
    """

    def __init__(self, request: Request, stream: trio.abc.HalfCloseableStream, body: Body, limits: Limits) -> None:
        self.request = request
        self.stream = stream
        self.body = body
        self.answered = False
        self.user = ""
        self.status = 0
        self.out = Tally(stream)
        self.follow: Callable[[], Awaitable[Exchange | None]] = _nothing_follows
        self._limits = limits

    async def send_raw(self, data: bytes) -> None:
        """Write bytes as they are: a reply with status 200.

        Raises:
            trio.BrokenResourceError, trio.TooSlowError: the client is gone or takes nothing.
        """
        self.answered, self.status = True, 200
        with trio.fail_after(self._limits.reply_timeout_seconds):
            await self.out.send_all(data)

    async def read_small_body(self) -> bytes:
        """The whole body of a request that is not a source's.

        Raises:
            ClientError: 413 if it is larger than BODY_BYTES; 408 if it does not come.
        """
        body = bytearray()
        if not self.request.has_body:
            return b""
        try:
            with trio.fail_after(self._limits.header_timeout_seconds):
                if self.request.expects_continue:
                    await self.stream.send_all(CONTINUE)
                while data := await self.body.receive():
                    body += data
                    if len(body) > BODY_BYTES:
                        raise ClientError(413, f"a body larger than {BODY_BYTES} bytes")
        except trio.TooSlowError:
            raise ClientError(408, "the body did not come in time") from None
        return bytes(body)

    async def read_form(self) -> None:
        """Take what a form holds for arguments of the request, where one was posted; its fields come before the URL's.

        libshout tells its titles so, once OPTIONS said that POST will do; Icecast takes it since 2.5.

        Raises:
            ClientError: see read_small_body.
        """
        kind, _, _ = self.request.header("content-type").partition(";")
        if self.request.method == "POST" and kind.strip().lower() == FORM:
            fields = parse_query((await self.read_small_body()).decode("latin-1"))
            self.request = self.request.with_arguments(fields)


class Tally(trio.abc.SendStream):
    """A stream that counts.

    Attributes:
        sent: bytes, heads included.
    """

    def __init__(self, stream: trio.abc.SendStream) -> None:
        self._stream = stream
        self.sent = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)
        self.sent += len(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Body:
    """A request's body: by length or chunks through h11, or endless and raw.

    Args:
        parser: has the head and the first bytes of the body; None for a raw one.
        rest: the first bytes of a raw one.
    """

    def __init__(self, stream: trio.abc.ReceiveStream, parser: h11.Connection | None, rest: bytes) -> None:
        self._stream = stream
        self._parser = parser
        self._rest = rest
        self._ended = False
        self._broken: ClientError | None = None

    @classmethod
    def of(cls, state: BodyState, stream: trio.abc.ReceiveStream) -> Body:
        """A body of which another process received the beginning.

        Args:
            state: of a process that has our h11, where that parses it; from nobody else, as it is unpickled.
        """
        body = cls(stream, pickle.loads(state.parser) if state.parser else None, state.rest)
        body._ended = state.ended
        return body

    def state(self) -> BodyState:
        return BodyState(self._rest, pickle.dumps(self._parser) if self._parser else b"", self._ended)

    @property
    def is_raw(self) -> bool:
        """Nothing frames it: it ends with the connection."""
        return self._parser is None

    def give_back(self, data: bytes) -> None:
        """Have bytes of a raw body received again."""
        self._rest = data + self._rest

    async def receive(self) -> bytes:
        """The next bytes, b"" at the end.

        Raises:
            IncompleteBody: the client finished its side before the length or the last chunk it had announced.
            ClientError: 400: broken chunked coding.
            trio.BrokenResourceError: the client reset the connection.
        """
        if self._parser is None:
            if self._rest:
                rest, self._rest = self._rest, b""
                return rest
            return bytes(await self._stream.receive_some(READ_BYTES))
        while not (data := self._take(self._parser)):
            if self._broken is not None:
                raise self._broken
            if self._ended:
                return b""
            received = bytes(await self._stream.receive_some(READ_BYTES))
            if not received:
                raise IncompleteBody
            self._parser.receive_data(received)
        return data

    def _take(self, parser: h11.Connection) -> bytes:
        """The data of all chunks there are: an encoder may make one of each frame."""
        pieces: list[bytes] = []
        if not self._ended:
            try:
                while isinstance(event := parser.next_event(), h11.Data):
                    pieces.append(bytes(event.data))
                self._ended = event is not h11.NEED_DATA
            except h11.RemoteProtocolError as error:
                self._ended, self._broken = True, ClientError(400, f"broken body: {_without_data(error)}")
        return b"".join(pieces)


class Connection:
    """One client's connection: requests in, replies out, until either side ends it.

    Args:
        stream: just accepted; the caller closes it. Handlers that hand it to the pump need a socket behind it.
        address: the peer's, without port, for logs.
        local: "host:port" it reached us at.
        limits: the configured ones.
        dispatch: answers one exchange; None if it wrote its answer itself, after which the connection is done.
        on_head: called when a head has come, or will not.
        on_wait: called when the next head is waited for.
        identify: whose request it is, from its headers: one connection of a proxy carries those of many clients.
        fields: header fields of every small reply.
        on_answered: called with each exchange that was answered here, once it is over, and its seconds.
        hold: through which requests are waited for; its readers are the streams.
        received: of the next request, in another process.
        first: no request has come yet.
        refusals: writes down what is refused.

    Attributes:
        received: of the next request, so far.
        first: no request has come yet.
    """

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        address: str,
        local: str,
        limits: Limits,
        dispatch: Callable[[Exchange], Awaitable[Response | None]],
        on_head: Callable[[], None] = lambda: None,
        on_wait: Callable[[], None] = lambda: None,
        identify: Callable[[Mapping[str, str]], Client] | None = None,
        fields: tuple[tuple[str, str], ...] = (),
        on_answered: Callable[[Exchange, float], None] = lambda exchange, seconds: None,
        hold: Hold | None = None,
        received: bytes = b"",
        first: bool = True,
        refusals: Refusals | None = None,
    ) -> None:
        self._refusals = refusals or Refusals()
        self._stream = stream
        self._address = address
        self._local = local
        self._limits = limits
        self._head_limits = HeadLimits(limits.header_bytes, limits.header_count)
        self._dispatch = dispatch
        self._on_head = on_head
        self._on_wait = on_wait
        self._identify = identify or (lambda headers: Client(address))
        self._common_fields = fields
        self._on_answered = on_answered
        self._hold = hold or Hold()
        self.received = received
        self.first = first

    async def serve(self) -> None:
        """Answer requests until the connection ends; a client that goes away is no error."""
        try:
            with self._hold.reader(self._stream):
                while await self._serve_one():
                    self._on_wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("%s went away", self._address)

    async def _serve_one(self) -> bool:
        """One request and its reply; False when no other can follow."""
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.header_bytes + 64)
        exchange, seconds = None, self._limits.header_timeout_seconds
        try:
            with trio.move_on_after(seconds) as patience:
                exchange = await self._receive_request(parser)
            if patience.cancelled_caught and self.received:
                self._refusals.tell(self._address, f"{self._address} sent no complete request within {seconds:g} s")
            if exchange is None:
                return False
        except ClientError as error:
            self._refusals.tell(self._address, f"{self._address} refused: {error.status} {error.reason}")
            await self._send(self._stream, _refusal(error), stays=False, with_body=True)
            await self._linger()
            return False
        finally:
            self._on_head()
        begun = trio.current_time()
        try:
            response = await self._answer(exchange)
            stays = response is not None and await self._reply(exchange, response)
        finally:
            if exchange.status:
                self._on_answered(exchange, trio.current_time() - begun)
        if response is not None and not stays:
            await self._linger()
        return stays

    async def _reply(self, exchange: Exchange, response: Response) -> bool:
        """Write the reply to a request; False when no other can follow."""
        request, exchange.status = exchange.request, response.status
        if request.method == SHOUTCAST:
            with trio.move_on_after(self._limits.reply_timeout_seconds):
                await exchange.out.send_all(response.body)
            return False
        stays = _wants_to_stay(request) and not request.has_body and response.status < 400
        try:
            await self._send(exchange.out, response, stays=stays, with_body=request.method != "HEAD")
        finally:
            if response.content:
                response.content.close()
        return stays

    async def _receive_request(self, parser: h11.Connection) -> Exchange | None:
        """The next request; None if the client hung up instead."""
        while True:
            if self.first and (greeting := shoutcast.password_line(self.received)):
                return self._greeted(*greeting)
            if split := split_head(self.received, self._head_limits):
                self.first = False
                head, self.received = split
                return self._exchange(head, parser)
            data = await self._hold.read(self._stream, self._receive_some)
            if not data:
                return None
            self.received += data

    async def _receive_some(self) -> bytes:
        return bytes(await self._stream.receive_some(READ_BYTES))

    def _greeted(self, password: str, rest: bytes) -> Exchange:
        """What a SHOUTcast encoder asks for, who knows no requests."""
        client = self._identify({})
        request = Request(SHOUTCAST, SHOUTCAST_PATH, {}, {}, "1.0", client.address, self._local, password=password)
        return Exchange(request, self._stream, Body(self._stream, None, rest), self._limits)

    def _exchange(self, head: bytes, parser: h11.Connection) -> Exchange:
        try:
            parser.receive_data(head)
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            raise ClientError(error.error_status_hint, f"not a valid request: {_without_data(error)}") from None
        if not isinstance(event, h11.Request) or event.method == SHOUTCAST.encode():
            raise ClientError(400, "not a valid request")
        expects_continue = parser.they_are_waiting_for_100_continue  # only known before the next event
        headers = _fields(event)
        if "transfer-encoding" in headers and "content-length" in headers:
            raise ClientError(400, "both Content-Length and Transfer-Encoding")
        framed = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        path, _, query = _origin_form(event.target.decode("ascii")).partition("?")
        client = self._identify(headers)
        request = Request(
            method=event.method.decode("ascii"),
            path=path,
            query=parse_query(query),
            headers=headers,
            version=event.http_version.decode("ascii"),
            address=client.address,
            local=self._local,
            expects_continue=expects_continue,
            has_body=framed,
            scheme=client.scheme,
            forwarded_host=client.host,
            prefix=client.prefix,
            raw_query=query,
        )
        if framed and self.received:  # nothing would mean to h11 that the client hung up
            parser.receive_data(self.received)
        body = Body(self._stream, parser if framed else None, self.received)
        exchange = Exchange(request, self._stream, body, self._limits)
        if framed:
            exchange.follow = partial(self._follow, parser)
        return exchange

    async def _follow(self, parser: h11.Connection) -> Exchange | None:
        """See Exchange.follow."""
        await self._stream.send_all(CARRY_ON)
        self.received = parser.trailing_data[0]
        return await self._receive_request(h11.Connection(h11.SERVER, max_incomplete_event_size=2 * READ_BYTES))

    async def _answer(self, exchange: Exchange) -> Response | None:
        """What the dispatcher says, errors turned into replies; None if the exchange is over."""
        request = exchange.request
        try:
            return await self._dispatch(exchange)
        except ClientError as refused:
            error = refused
            words = f"{request.method} {request.path[:LOGGED_PATH]} from {request.address} ({request.agent}) refused"
            self._refusals.tell(request.address, f"{words}: {error.status} {error.reason}")
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            return None
        except Exception as failure:
            if lacks_resources(failure):
                warn_rarely(f"no resources for a request: {failure or 'no memory'}")
                error = ClientError(503, "the server has no resources for this request", RETRY_AFTER)
            else:
                log.exception("%s %s from %s failed", request.method, request.path[:LOGGED_PATH], request.address)
                error = ClientError(500, "the server failed to answer; its log says why")
        if exchange.answered:
            return None
        if request.method == SHOUTCAST:
            return Response(error.status, shoutcast.refusal(error.status, error.reason))
        return _refusal(error, request.path)

    async def _send(self, out: trio.abc.SendStream, response: Response, *, stays: bool, with_body: bool) -> None:
        """Write a reply of known length.

        Raises:
            trio.BrokenResourceError: the client is gone, or does not take it.
        """
        fields = [
            ("Connection", "keep-alive" if stays else "close"),
            ("X-Content-Type-Options", "nosniff"),
            *self._common_fields,
            *response.headers,
        ]
        if response.status not in (204, 304):  # RFC 9110 §8.6: a length there would be that of the content left out
            size = response.content.size if response.content else len(response.body)
            fields += [("Content-Type", response.content_type), ("Content-Length", str(size))]
        head = reply_head(response.status, tuple(fields))
        body = response.body if with_body else b""
        with trio.move_on_after(self._limits.reply_timeout_seconds) as patience:
            # in one packet, where it fits; the rest is not copied, for many may be slow to take the same
            await out.send_all(head + body[:TOGETHER_BYTES])
            if len(body) > TOGETHER_BYTES:
                await out.send_all(memoryview(body)[TOGETHER_BYTES:])
        if patience.cancelled_caught:
            raise trio.BrokenResourceError("the reply was not taken in time")
        if response.content and with_body:
            await response.content.send(out, self._limits.reply_timeout_seconds)

    async def _linger(self) -> None:
        """Let the reply arrive: finish our side, and drop what the client still sends for a moment."""
        with trio.move_on_after(LINGER_SECONDS):
            await self._stream.send_eof()
            dropped = 0
            while dropped < LINGER_BYTES and (data := await self._stream.receive_some(READ_BYTES)):
                dropped += len(data)


async def _nothing_follows() -> Exchange | None:
    return None


def _fields(event: h11.Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("ascii"), decode_text(raw_value)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _origin_form(target: str) -> str:
    """Origin form of a target in absolute form (RFC 9112 §3.2.2); others as they are."""
    for scheme in ("http://", "https://"):
        if target.lower().startswith(scheme):
            return "/" + target[len(scheme) :].partition("/")[2]
    return target


def _without_data(error: h11.RemoteProtocolError) -> str:
    """h11's words without the client's bytes it quotes: there may be a password among them."""
    return _QUOTED.sub("", str(error))


def _refusal(error: ClientError, path: str = "") -> Response:
    """A refusal in Icecast's form (captures B14, D29): `<b>404 - reason</b>`; under /api/ as an RFC 9457 problem."""
    if path.startswith("/api/"):
        problem = {
            "type": "about:blank",
            "title": phrase(error.status),
            "status": error.status,
            "detail": error.reason,
        }
        text = json.dumps(problem, ensure_ascii=False)
        return Response(
            error.status, text.encode("utf-8", "replace"), "application/problem+json", (*error.headers, NO_CACHE)
        )
    page = (
        f"<html><head><title>Error {error.status}</title></head>"
        f"<body><b>{error.status} - {escape(error.reason)}</b></body></html>\r\n"
    )
    return Response(
        error.status, page.encode("utf-8", "replace"), "text/html; charset=utf-8", (*error.headers, NO_CACHE)
    )


def _wants_to_stay(request: Request) -> bool:
    options = {option.strip().lower() for option in request.header("connection").split(",")}
    return "close" not in options and (request.version == "1.1" or "keep-alive" in options)

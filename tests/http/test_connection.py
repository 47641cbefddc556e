"""One connection: what goes in at any cut, and what comes out."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from castd.config import Limits
from castd.errors import ClientError
from castd.http import connection
from castd.http.connection import BODY_BYTES, Connection, Exchange
from castd.http.messages import Response
from tests.support import ADMIN, Client, Reply, basic, bench, head, replies

LIMITS = Limits()

Dispatch: TypeAlias = Callable[[Exchange], Awaitable[Response | None]]


async def echo(exchange: Exchange) -> Response | None:
    """Answers with the request line it saw."""
    request = exchange.request
    if request.method == "POST":
        return Response(200, await exchange.read_small_body())
    return Response(200, f"{request.method} {request.path}".encode())


class Bodies:
    """A handler that reads whole bodies, as sources' are read."""

    def __init__(self) -> None:
        self.read = b""
        self.end = ""

    async def __call__(self, exchange: Exchange) -> Response | None:
        try:
            while data := await exchange.body.receive():
                self.read += data
            self.end = "finished"
        except ClientError as error:
            self.end = f"{error.status} {error.reason}"
        exchange.answered = True
        return None


@asynccontextmanager
async def talking(dispatch: Dispatch, limits: Limits = LIMITS) -> AsyncIterator[Client]:
    """A client of one connection, which ends with the block."""
    async with trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()

        async def serve() -> None:
            await Connection(theirs, "192.0.2.1", "127.0.0.1:8000", limits, dispatch).serve()
            await theirs.aclose()

        nursery.start_soon(serve)
        async with Client(ours) as client:
            yield client


async def told(dispatch: Dispatch, data: bytes, limits: Limits = LIMITS) -> list[Reply]:
    """All replies to some bytes, after which the client says nothing more."""
    async with talking(dispatch, limits) as client:
        try:
            await client.send(data)
            await client.stream.send_eof()
        except trio.BrokenResourceError:
            pass  # castd had enough of it
        return replies(await client.rest())


def statuses(found: list[Reply]) -> list[int]:
    return [reply.status for reply in found]


async def test_keep_alive_and_close(autojump_clock: trio.testing.MockClock) -> None:
    async with talking(echo) as client:
        for path in (b"/1", b"/2"):
            reply = await client.ask(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            assert (reply.status, reply.body, reply.headers["connection"]) == (200, b"GET " + path, "keep-alive")
        reply = await client.ask(b"GET /3 HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n")
        assert reply.headers["connection"] == "close"
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("fields", "stays"),
    [(b"", False), (b"Connection: keep-alive\r\n", True), (b"Connection: upgrade, Keep-Alive\r\n", True)],
)
async def test_http_1_0_closes_unless_asked(fields: bytes, stays: bool, autojump_clock: trio.testing.MockClock) -> None:
    found = await told(echo, b"GET /1 HTTP/1.0\r\n" + fields + b"\r\nGET /2 HTTP/1.0\r\n\r\n")
    assert [reply.text for reply in found] == (["GET /1", "GET /2"] if stays else ["GET /1"])


async def test_pipelined_requests_are_answered_in_order(autojump_clock: trio.testing.MockClock) -> None:
    found = await told(echo, b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(20)))
    assert [reply.text for reply in found] == [f"GET /{number}" for number in range(20)]


async def test_what_comes_after_a_refusal_is_not_read(autojump_clock: trio.testing.MockClock) -> None:
    assert statuses(await told(echo, b"GET /a\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")) == [400]


async def test_a_reply_to_head_has_no_body(autojump_clock: trio.testing.MockClock) -> None:
    async with talking(echo) as client:
        reply = await client.ask(b"HEAD /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (reply.status, reply.headers["content-length"]) == (200, "7")
        assert (await client.ask(b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")).body == b"GET /2"


@pytest.mark.parametrize("status", [204, 304])
async def test_replies_without_body(status: int, autojump_clock: trio.testing.MockClock) -> None:
    async def empty(exchange: Exchange) -> Response:
        return Response(status)

    async with talking(empty) as client:
        for _ in range(2):
            reply = await client.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert reply.status == status
            assert client.received == b""
        assert "content-length" not in reply.headers


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://user:secret@radio.test/live?x=1", "/live"),
        (b"HTTPS://radio.test", "/"),
        (b"/live?song=a", "/live"),
    ],
)
async def test_target_in_absolute_form(target: bytes, path: str, autojump_clock: trio.testing.MockClock) -> None:
    assert [r.text for r in await told(echo, b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)] == [f"GET {path}"]


HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "answers"),
    [
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", [400]),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", [400]),
        (b"Content-Length: 0, 5\r\n", [400]),
        (b"Content-Length: +5\r\n", [400]),
        (b"Content-Length : 5\r\n", [400]),
        (b"Transfer-Encoding : chunked\r\n", [400]),
        (b" Content-Length: 5\r\n", [400]),
        (b"X: y\r\n\tTransfer-Encoding: chunked\r\n", [400]),
        (b"Transfer-Encoding: xchunked\r\n", [501]),
        (b"Transfer-Encoding: chunked, chunked\r\n", [501]),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", [501]),
        (b"Content-Length: %d\r\n" % len(HIDDEN), [200]),
    ],
)
async def test_no_request_hides_in_another(
    fields: bytes, answers: list[int], autojump_clock: trio.testing.MockClock
) -> None:
    assert statuses(await told(echo, b"GET / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n" + HIDDEN)) == answers


@pytest.mark.parametrize(
    "fields",
    [b"", b"Host: a\r\nHost: b\r\n", b"Host: x\r\nno colon\r\n", b"Host: x\r\nA: \0\r\n", b"Host: x\r\n\xff: b\r\n"],
)
async def test_broken_fields_are_refused(fields: bytes, autojump_clock: trio.testing.MockClock) -> None:
    assert statuses(await told(echo, b"GET / HTTP/1.1\r\n" + fields + b"\r\n")) == [400]


@pytest.mark.parametrize("pieces", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("fields", "body", "read", "end"),
    [
        (b"", b"audio to the end", b"audio to the end", "finished"),
        (b"Content-Length: 0\r\n", b"audio to the end", b"audio to the end", "finished"),
        (b"Content-Length: 5\r\n", b"audioGET / HTTP/1.1\r\n", b"audio", "finished"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\naud\r\n2;x=y\r\nio\r\n0\r\n\r\nmore", b"audio", "finished"),
        (b"Content-Length: 50\r\n", b"audio", b"audio", "400 the body ended"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\naudio\r\n5\r\nau", b"audioau", "400 the body ended"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\naudio\r\n", b"audio", "400 the body ended"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\naudioXX", b"audio", "400 broken body"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\naudio\r\nsecret\r\n", b"audio", "400 broken body"),
        (b"Transfer-Encoding: chunked\r\n", b"5\naudio\r\n", b"", "400 broken body"),
        (b"Transfer-Encoding: chunked\r\n", b"F" * 40 + b"\r\n", b"", "400 broken body"),
    ],
)
async def test_bodies(
    fields: bytes, body: bytes, read: bytes, end: str, pieces: int, autojump_clock: trio.testing.MockClock
) -> None:
    bodies = Bodies()
    sent = b"PUT /live HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n" + body
    step = -(-len(sent) // pieces)
    async with talking(bodies) as client:
        try:
            for at in range(0, len(sent), step):
                await client.send(sent[at : at + step])
                await trio.testing.wait_all_tasks_blocked()
            await client.stream.send_eof()
        except trio.BrokenResourceError:
            pass  # the body has ended, well or not
        await client.rest()
    assert bodies.read == read
    assert bodies.end.startswith(end)
    assert "secret" not in bodies.end


async def test_a_chunked_body_ends_at_its_last_chunk(autojump_clock: trio.testing.MockClock) -> None:
    bodies = Bodies()
    async with talking(bodies) as client:
        await client.send(b"PUT /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
        begun = trio.current_time()
        assert await client.rest() == b""
        assert trio.current_time() == begun
    assert bodies.end == "finished"


async def test_a_slow_head_ends_at_exactly_its_limit(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    begun = trio.current_time()
    async with talking(echo, Limits(header_timeout_seconds=7.5)) as client, trio.open_nursery() as nursery:

        async def trickle() -> None:
            try:
                for byte in b"GET / HTTP/1.1\r\nA: " + b"a" * 100:
                    await client.send(bytes([byte]))
                    await trio.sleep(0.5)
            except trio.BrokenResourceError:
                pass

        nursery.start_soon(trickle)
        assert await client.rest() == b""
        assert trio.current_time() - begun == 7.5
    assert caplog.messages == ["192.0.2.1 sent no complete request within 7.5 s"]


async def test_between_two_requests_the_limit_is_the_same(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with talking(echo, Limits(header_timeout_seconds=7.5)) as client:
        await trio.sleep(7)
        await client.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answered = trio.current_time()
        assert await client.rest() == b""
        assert trio.current_time() - answered == 7.5
    assert not caplog.messages, "an idle connection is nothing to tell"


async def test_a_reply_nobody_takes_ends_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    """A lockstep stream passes nothing on before it is read."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        limits = Limits(reply_timeout_seconds=4.0)
        nursery.start_soon(Connection(theirs, "192.0.2.1", "x:1", limits, echo).serve)
        await ours.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert trio.current_time() - begun == 4.0


async def test_after_a_refusal_it_listens_for_a_moment(autojump_clock: trio.testing.MockClock) -> None:
    """A close at once would be a reset, and could overtake the reply that says why."""
    async with talking(echo) as client:
        assert (await client.ask(b"NONSENSE X\r\n\r\n")).status == 400
        await client.send(b"x" * 10_000)
        assert await client.rest() == b""
        await trio.sleep(connection.LINGER_SECONDS - 0.1)
        await client.send(b"x")
        await trio.sleep(0.1)
        with pytest.raises(trio.BrokenResourceError):
            await client.send(b"x")


async def test_small_bodies(autojump_clock: trio.testing.MockClock) -> None:
    def post(body: bytes, fields: bytes = b"") -> bytes:
        return b"POST / HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n" % (fields, len(body)) + body

    assert [r.body for r in await told(echo, post(b"a title"))] == [b"a title"]
    assert [r.body for r in await told(echo, post(b"") + b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")] == [b"", b""]
    assert statuses(await told(echo, post(b"x" * (BODY_BYTES + 1)))) == [413]
    assert statuses(await told(echo, post(b"x")[:-1])) == [400]
    async with talking(echo) as client:
        await client.send(post(b"a title", b"Expect: 100-continue\r\n")[:-7])
        assert (await client.reply()).status == 100
        assert (await client.ask(b"a title")).body == b"a title"
    async with talking(echo, Limits(header_timeout_seconds=3.0)) as client:
        begun = trio.current_time()
        assert (await client.ask(post(b"x")[:-1])).status == 408
        assert trio.current_time() - begun == 3.0


async def test_half_closed_by_the_client_it_still_answers(autojump_clock: trio.testing.MockClock) -> None:
    """BUTT hangs up its side as soon as its request is out."""
    assert statuses(await told(echo, b"GET /1 HTTP/1.0\r\n\r\n")) == [200]


async def test_an_exception_in_a_handler_is_a_500_and_a_traceback(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(exchange: Exchange) -> Response:
        raise RuntimeError("a bug of ours")

    found = await told(broken, b"GET /x?pass=secret HTTP/1.1\r\nHost: x\r\n\r\n")
    assert statuses(found) == [500]
    assert b"bug" not in found[0].body
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info
    assert "secret" not in caplog.text


async def test_an_exception_after_the_answer_ends_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    async def broken(exchange: Exchange) -> Response:
        await exchange.send_raw(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
        raise RuntimeError("a bug of ours")

    assert statuses(await told(broken, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)) == [200]


async def test_refusals_say_why_in_icecasts_form(autojump_clock: trio.testing.MockClock) -> None:
    async def refuse(exchange: Exchange) -> Response:
        raise ClientError(403, "<no> & \N{SNOWMAN}", (("Retry-After", "30"),))

    (page,) = await told(refuse, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert page.text == (
        "<html><head><title>Error 403</title></head><body><b>403 - &lt;no&gt; &amp; \N{SNOWMAN}</b></body></html>\r\n"
    )
    assert (page.headers["retry-after"], page.headers["connection"]) == ("30", "close")
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_refusals_under_api_are_problems(autojump_clock: trio.testing.MockClock) -> None:
    async def refuse(exchange: Exchange) -> Response:
        raise ClientError(403, 'a "reason"\n\udc80')

    (problem,) = await told(refuse, b"GET /api/v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert problem.headers["content-type"] == "application/problem+json"
    assert json.loads(problem.body) == {
        "type": "about:blank",
        "title": "Forbidden",
        "status": 403,
        "detail": 'a "reason"\n?',
    }


async def test_no_log_line_and_no_page_has_a_secret(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = b"s3cret-word"
    credentials = basic("source", "s3cret-word").encode()
    requests = [
        b"GET /admin.cgi?pass=%s&mode=updinfo&song=x HTTP/1.0\r\n\r\n" % secret,
        b"GET /admin.cgi?pass=%s HTTP/1.1\r\n\r\n" % secret,
        b"GET http://source:%s@radio.test/live HTTP/1.1\r\nHost: x\r\n\r\n" % secret,
        b"GET /a?pass=%s\x01 HTTP/1.1\r\nHost: x\r\n\r\n" % secret,
        b"%s\r\nicy-name: x\r\n\r\n" % secret,
        b"PUT /live HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n" % credentials,
        b"PUT /live HTTP/1.1\r\nHost: x\r\nAuthorization : %s\r\n\r\n" % credentials,
        b"PUT /live HTTP/1.1\r\nHost: x\r\nAuthorization: \0%s\r\n\r\n" % credentials,
        b"GET /admin/metadata?mount=/x&mode=updinfo&song=x HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n"
        % credentials,
        b"GET /api/v1/admin/stats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % secret,
        b"BREW /?pass=%s HTTP/1.1\r\nHost: x\r\n\r\n" % secret,
    ]
    pages = b""
    async with bench() as castd:
        for request in requests:
            async with castd.connect() as client:
                await client.send(request)
                await client.stream.send_eof()
                pages += await client.rest()
        assert (await castd.ask(head("GET", "/admin/nope?pass=s3cret-word", user=ADMIN))).status == 400
    assert len(caplog.messages) == len(requests) + 1
    for word in (b"s3cret-word", credentials.partition(b" ")[2]):
        assert word.decode() not in caplog.text
        assert word not in pages


async def test_a_long_path_is_cut_in_the_log(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bench() as castd:
        assert (await castd.ask(head("GET", "/" + "a" * 10_000))).status == 404
    assert max(map(len, caplog.messages)) < 1000


words = st.sampled_from(
    [
        b"GET ", b"PUT ", b"SOURCE ", b"HEAD ", b"OPTIONS ", b"POST ", b"DELETE ", b"/", b"/live", b"*",
        b"/admin/stats",
        b"/admin/metadata?mode=updinfo&mount=/live&song=x", b"/api/v1/status", b"/api/v1/admin/listeners", b"http://x/",
        b"/static/", b"/%00", b"/%zz", b"/..", b"?", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" ICE/1.0\r\n", b"\r\n",
        b"\n", b"\r", b"Host: x\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Content-Length: ",
        b"3",
        b"0", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Content-Type: ", b"audio/mpeg",
        b"Origin: http://[\r\n", b"Range: bytes=0-1\r\n", b"Icy-MetaInt: 8\r\n", b"\xff\xfb\x90\x64", b"OggS", b"\0",
        b"Authorization: " + basic(*ADMIN).encode() + b"\r\n", b"Authorization: " + b"Basic =\r\n",
        head("PUT", "/live", user=("source", "the encoders' word")), head("GET", "/live"),
        head("GET", "/admin/listclients?mount=/live", user=ADMIN),
    ]
)  # fmt: skip


async def poke(pieces: list[bytes]) -> None:
    async with bench() as castd:
        async with castd.connect() as client:
            try:
                for piece in pieces:
                    await client.send(piece)
                    await trio.testing.wait_all_tasks_blocked()
                await client.stream.send_eof()
            except trio.BrokenResourceError:
                pass
            received = await client.rest()
        if received and not received.startswith((b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 100 ")):
            if not received.startswith(b"HTTP/"):  # any word alone on a line could be SHOUTcast's password
                assert received.endswith(b"\r\n")
                received = b""
            for reply in replies(without_bodies_of_head(received)):
                assert 200 <= reply.status < 600
                assert reply.status != 500
        assert (await castd.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200


def without_bodies_of_head(received: bytes) -> bytes:
    """Nothing, where the reply to a HEAD, which lacks its body, makes the rest hard to read."""
    found = received.split(b"HTTP/1.1 ")
    whole = all(int(length_of(reply)) == len(reply.partition(b"\r\n\r\n")[2]) for reply in found[1:])
    return received if whole else b""


def length_of(reply: bytes) -> bytes:
    return reply.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0"


@settings(max_examples=150, deadline=None)
@given(st.lists(words | st.binary(max_size=30), max_size=25))
@example([head("PUT", "/live", {"Origin": "http://["}, user=("source", "the encoders' word"))])
@example([head("GET", "/admin/killsource?mount=/live", {"Origin": "http://["}, user=ADMIN)])
def test_any_bytes_at_any_cut_are_answered_or_dropped(pieces: list[bytes]) -> None:
    """HTTP-26: a valid answer, a refusal or a close, and never an exception out of the connection."""
    trio.run(partial(poke, pieces), clock=trio.testing.MockClock(autojump_threshold=0))

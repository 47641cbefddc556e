"""One POST: whatever the other end does, there is an answer or NoAnswer, and in time."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path

import pytest
import trio

from castd.http.post import BODY_BYTES, Answer, NoAnswer, Target, post
from tests.stats.hooks.fakes import Behaviour, free_port, listening, status
from tests.test_tls import make_certificate

BODY = b'{"event": "title"}'


async def told(*answers: Behaviour) -> Answer:
    async with listening(*answers) as service:
        with trio.fail_after(20):
            try:
                return await post(Target.of(service.url), {"X-A": "b"}, BODY, ssl.create_default_context())
            except NoAnswer as error:  # out of the nursery by itself, not in a group
                no_answer = error
    raise no_answer


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.org", Target("https", "example.org", 443, "example.org", "/")),
        ("http://example.org:8080/a?b=c#d", Target("http", "example.org", 8080, "example.org:8080", "/a?b=c")),
        ("http://[::1]:81?x", Target("http", "::1", 81, "[::1]:81", "/?x")),
    ],
)
def test_urls(url: str, target: Target) -> None:
    assert Target.of(url) == target


def test_a_target_is_shown_without_its_path() -> None:
    assert str(Target.of("https://example.org:1/secret?token=1")) == "https://example.org:1"


async def test_what_is_sent() -> None:
    async with listening() as service:
        answer = await post(Target.of(service.url), {"X-A": "b"}, BODY, ssl.create_default_context())
    assert answer == Answer(200, "ok")
    (request,) = service.received
    assert request.first == "POST /hook?key=1 HTTP/1.1"
    assert request.headers == {
        "host": f"127.0.0.1:{service.port}",
        "content-length": str(len(BODY)),
        "connection": "close",
        "x-a": "b",
    }
    assert request.body == BODY


async def test_a_redirect_is_not_followed() -> None:
    async with listening() as other:
        assert await told(status("302 Found", f"Location: {other.url}\r\n")) == Answer(302, "")
        assert other.received == []


async def test_interim_answers_are_passed_over() -> None:
    assert (await told(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + status("204 No Content"))).status == 204


async def say(text: bytes, stream: trio.SocketStream) -> None:
    await stream.send_all(text)


async def keep_still(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "does not speak HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "changed the protocol|does not speak HTTP"),
        (b"HTTP/1.1 200", "does not speak HTTP|without an answer"),
        (b"\0" * 1000, "does not speak HTTP"),
    ],
)
async def test_no_http(answer: bytes, words: str) -> None:
    with pytest.raises(NoAnswer, match=words):
        await told(partial(say, answer))


async def test_nobody_there() -> None:
    with pytest.raises(NoAnswer, match="Connection refused"):
        await post(Target.of(f"http://127.0.0.1:{free_port()}/"), {}, BODY, ssl.create_default_context())


async def test_a_service_that_never_answers_is_left_by_the_callers_deadline() -> None:
    context = ssl.create_default_context()  # which takes its time
    async with listening(keep_still) as service:
        with trio.move_on_after(1) as limit:
            await post(Target.of(service.url), {}, BODY, context)
        assert limit.cancelled_caught
        assert len(service.received) == 1


async def test_a_service_that_never_reads_is_left_by_the_callers_deadline() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        with trio.move_on_after(0.1) as limit:
            url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
            await post(Target.of(url), {}, b" " * 20_000_000, ssl.create_default_context())
        assert limit.cancelled_caught


async def test_of_ten_megabytes_only_the_beginning_is_read() -> None:
    sent = 0

    async def flood(stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(1000):
            await stream.send_all(b"x" * 10_000)
            sent += 10_000

    async with listening(flood) as service:
        answer = await post(Target.of(service.url), {}, BODY, ssl.create_default_context())
    assert answer.status == 200
    assert BODY_BYTES <= len(answer.text) <= 2 * BODY_BYTES
    assert sent < 10_000_000


async def test_a_body_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("castd.http.post.BODY_SECONDS", 0.1)

    async def drip(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nbusy")
        await trio.sleep_forever()

    assert await told(drip) == Answer(503, "busy")


async def test_a_body_cut_short() -> None:
    assert await told(b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\n\xffhalf") == Answer(500, "\ufffdhalf")


async def test_tls_is_verified(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "localhost")
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    taken: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, theirs, server_side=True, https_compatible=True)
        try:
            taken.append(bytes(await secured.receive_some()))
            await secured.send_all(status("200 OK"))
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(secured)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port = listener.socket.getsockname()[1]
        with pytest.raises(NoAnswer, match="its certificate cannot be trusted: self-signed"):
            await post(Target.of(f"https://localhost:{port}/"), {}, BODY, ssl.create_default_context())
        with pytest.raises(NoAnswer, match=r"its certificate cannot be trusted: .*127\.0\.0\.1"):
            await post(Target.of(f"https://127.0.0.1:{port}/"), {}, BODY, trusting)
        assert not any(taken), "only an end, never a request"
        assert (await post(Target.of(f"https://localhost:{port}/"), {}, BODY, trusting)).status == 200
        assert taken[-1].startswith(b"POST / HTTP/1.1\r\n")
        nursery.cancel_scope.cancel()


async def test_plain_http_where_tls_is_wanted() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(status("400 Bad Request"))

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/"
        with trio.fail_after(20), pytest.raises(NoAnswer, match=r"(?i)wrong version|ssl|tls"):
            await post(Target.of(url), {}, BODY, ssl.create_default_context())
        nursery.cancel_scope.cancel()

"""Mounts pulled from other servers: castd's and such as are played here by a script."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import trio

from castd.access.hashes import hashed
from castd.config import Auth, Certificate, Config, Delivery, Group, Listen, Master, Relay
from castd.http import fetch
from castd.ingest import relays as relays_module
from castd.ingest import upstream as upstream_module
from castd.wire.icy import block
from castd.wire.reply_head import NotAReply, find_reply_head
from tests.support import (
    ADMIN,
    FRAME_BYTES,
    SOURCE,
    Encoder,
    Serving,
    basic,
    configured,
    frames,
    head,
    serving,
    until,
)
from tests.test_tls import make_certificate


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays_module, "RETRY_SECONDS", (0.02, 0.1))


def slave(*urls: str, mount: str = "/copy", **more: Any) -> Config:
    return replace(configured(), relays=(Relay(mount=mount, urls=urls, **more),))


def url(castd: Serving, mount: str = "/live") -> str:
    return f"http://127.0.0.1:{castd.port}{mount}"


def begun(castd: Serving, mount: str) -> bool:
    return mount in castd.server.registry.mounts and castd.mount(mount).begun


@dataclass
class Upstream:
    """A server that says what it is told."""

    port: int = 0
    requests: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream?key=hidden"


@asynccontextmanager
async def upstream(play: Callable[[trio.SocketStream, str], Awaitable[None]]) -> AsyncIterator[Upstream]:
    found = Upstream()

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (data := await stream.receive_some()):
                    return
                request += data
            found.requests.append(request.decode())
            try:
                await play(stream, request.decode())
            except trio.BrokenResourceError:
                pass

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        found.port = listener.socket.getsockname()[1]
        nursery.start_soon(partial(trio.serve_listeners, serve, [listener]))
        yield found
        nursery.cancel_scope.cancel()


def script(*pieces: bytes, stay: bool = True) -> Callable[[trio.SocketStream, str], Awaitable[None]]:
    async def play(stream: trio.SocketStream, request: str) -> None:
        for piece in pieces:
            await stream.send_all(piece)
        if stay:
            await trio.sleep_forever()

    return play


async def test_castd_from_castd_with_titles_and_names() -> None:
    quick = replace(configured(), delivery=Delivery(linger_seconds=0.0))
    names = {"Ice-Name": "Näme", "Ice-Genre": "g"}
    async with serving(quick) as master, await master.encoder("/live", names) as encoder:
        await encoder.push(60)
        await until(lambda: begun(master, "/live"))
        master.mount("/live").set_title("Ä - B")
        async with serving(slave(url(master))) as castd:
            await until(lambda: begun(castd, "/copy"))
            await encoder.push(60)
            await until(lambda: castd.title("/copy") == "Ä - B")
            audio = castd.ring("/copy")
            assert audio == frames(0, len(audio) // FRAME_BYTES)
            facts = (await castd.ask(head("GET", "/api/v1/mounts/copy"))).text
            assert "Näme" in facts
            [source] = castd.mount("/copy").sources
            assert (source.protocol, source.address) == ("relay", "127.0.0.1")
            await encoder.close()
            await until(lambda: castd.mount("/copy").source is None)
    assert castd.server.records.recent[0].protocol == "relay"


async def test_it_comes_back_when_the_master_does() -> None:
    quick = replace(configured(), delivery=Delivery(linger_seconds=0.0))
    async with serving(quick) as master:
        encoder = await master.encoder("/live")
        await encoder.push(40)
        await until(lambda: begun(master, "/live"))
        async with serving(slave(url(master))) as castd:
            await until(lambda: begun(castd, "/copy"))
            ear = await castd.ear("/copy")
            await encoder.close()
            await until(lambda: castd.mount("/copy").source is None)
            again = await master.encoder("/live")
            again.next = 1000
            await again.push(40)
            await until(lambda: castd.mount("/copy").begun)
            with trio.fail_after(20):
                heard = ear.received
                while b"<00001030>" not in heard:
                    heard += await ear.stream.receive_some(65536)


SHOUTCAST = (
    b"ICY 200 OK\r\nicy-notice1:<BR>\r\nicy-name:Old One\r\nicy-br:128\r\n"
    b"icy-metaint:1000\r\ncontent-type:audio/mpeg\r\n\r\n"
)


async def test_a_shoutcast_server_is_understood() -> None:
    audio = frames(0, 100)
    blocks = [block("first"), *[b"\0"] * 20, block("second"), *[b"\0"] * 100]
    body = b"".join(audio[at : at + 1000] + blocks[at // 1000] for at in range(0, len(audio), 1000))
    async with upstream(script(SHOUTCAST[:30], SHOUTCAST[30:] + body)) as other, serving(slave(other.url)) as castd:
        await until(lambda: begun(castd, "/copy") and castd.ring("/copy") == frames(0, 99))
        assert castd.title("/copy") == "second"
        assert "GET /stream?key=hidden HTTP/1.0\r\n" in other.requests[0]
        assert "Icy-MetaData: 1\r\n" in other.requests[0]


async def test_several_addresses_a_redirect_and_a_login(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    good = script(b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n" + frames(0, 50))
    async with upstream(script(b"HTTP/1.0 404 Not Here\r\n\r\n", stay=False)) as gone, upstream(good) as there:
        moved = f"HTTP/1.1 302 Found\r\nLocation: http://localhost:{there.port}/new\r\n\r\n".encode()
        async with (
            upstream(script(moved, stay=False)) as first,
            serving(slave(gone.url, first.url, user="me", password="the word")) as castd,
        ):
            await until(lambda: begun(castd, "/copy"))
            assert "Authorization: Basic bWU6dGhlIHdvcmQ=" in first.requests[0]
            assert "Authorization" not in there.requests[0], "another host does not learn it"
            assert there.requests[0].startswith("GET /new HTTP/1.0")
    assert f"http://127.0.0.1:{gone.port}/stream answered 404 Not Here" in caplog.text
    assert "hidden" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"HTTP/1.0 200 OK\r\n" + b"x: y\r\n" * 5000, "head of more than 16384 bytes"),
        (b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "not a type of audio"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "answered in chunks"),
        (b"HTTP/1.0 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "redirects to what is no web address"),
        (b"HTTP/1.0 200 OK\r\nicy-metaint: 1\r\n\r\n", "icy-metaint must be"),
    ],
)
async def test_what_is_no_stream(answer: bytes, words: str, caplog: pytest.LogCaptureFixture) -> None:
    async with upstream(script(answer, stay=False)) as other, serving(slave(other.url)) as castd:
        await until(lambda: words in caplog.text)
        await until(lambda: len(other.requests) > 3)
        assert castd.server.registry.mounts == {}
    assert caplog.text.count(words) == 1, "said once"


async def test_redirects_in_a_circle_end(caplog: pytest.LogCaptureFixture) -> None:
    async def again(stream: trio.SocketStream, request: str) -> None:
        await stream.send_all(b"HTTP/1.0 302 Found\r\nLocation: /stream?key=hidden\r\n\r\n")

    async with upstream(again) as other, serving(slave(other.url)):
        await until(lambda: "redirects more than 5 times" in caplog.text)


async def test_a_server_of_the_internet_cannot_send_us_within(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (fetch, upstream_module):
        monkeypatch.setattr(module, "is_public_address", lambda address: address != "127.0.0.2")
    good = script(b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n" + frames(0, 50))
    async with upstream(good) as within:
        moved = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:{within.port}/\r\n\r\n".encode()
        async with upstream(script(moved, stay=False)) as other, serving(slave(other.url)) as castd:
            await until(lambda: "redirects to within: 127.0.0.2 is 127.0.0.2" in caplog.text)
            assert castd.server.registry.mounts == {}
        assert within.requests == []


async def test_what_another_server_says_of_itself_is_cleaned() -> None:
    fields = b"Server: a\x01<b>\x0b\x1b[31m\r\nicy-name: x\x00y\r\nX-Castd-Trail: one\x00\x01two \xff\r\n"
    answer = script(b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n" + fields + b"\r\n" + frames(0, 50))
    async with upstream(answer) as other, serving(slave(other.url)) as castd:
        await until(lambda: begun(castd, "/copy"))
        ear = await castd.ear("/copy", {"X-Castd-Trail": "1"})
        assert ear.headers["x-castd-trail"].startswith("one two ")
        assert all(text.isprintable() for text in ear.headers.values())
        stats = await castd.ask(head("GET", "/admin/stats", user=ADMIN))
        ElementTree.fromstring(stats.body)


async def test_a_mount_is_not_relayed_from_itself(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as castd, await castd.encoder("/copy") as encoder:
        await encoder.push(40)
        await until(lambda: begun(castd, "/copy"))
        castd.server.current.config = slave(url(castd, "/copy"))
        castd.server.relays.prepare(castd.server.config)()
        await until(lambda: "it would go round in a circle" in caplog.text)
        assert [source.protocol for source in castd.mount("/copy").sources] == ["PUT"]


async def test_an_encoder_of_its_own_goes_first() -> None:
    async with serving() as master, await master.encoder("/live") as far:
        await far.push(40)
        await until(lambda: begun(master, "/live"))
        async with serving(slave(url(master))) as castd:
            await until(lambda: begun(castd, "/copy"))
            async with await castd.encoder("/copy") as near:
                await near.push(40)
                await until(lambda: castd.mount("/copy").encoder.protocol == "PUT")  # type: ignore[union-attr]
            await until(lambda: castd.mount("/copy").encoder.protocol == "relay")  # type: ignore[union-attr]


async def test_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays_module, "IDLE_SECONDS", 1.0)
    async with serving() as master, await master.encoder("/live") as encoder:
        await encoder.push(40)
        await until(lambda: begun(master, "/live"))
        lazy = replace(slave(url(master), on_demand=True), delivery=Delivery(linger_seconds=0.0))
        async with serving(lazy) as castd:
            await trio.sleep(0.1)
            assert master.server.registry.listeners == 0
            assert castd.server.registry.mounts == {}
            for _ in range(2):
                async with await castd.ear("/copy") as ear:
                    assert (await ear.exactly(FRAME_BYTES)) == frames(0, 1)
                    assert master.server.registry.listeners == 1
                await until(lambda: "/copy" not in castd.server.registry.mounts)
            assert (await castd.ask(head("GET", "/nothing"))).status == 404


async def test_on_demand_a_group_lets_nobody_in_to_a_guarded_mount(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{hashed('right')}\n")
    async with serving() as master, await master.encoder("/live") as encoder:
        await encoder.push(40)
        await until(lambda: begun(master, "/live"))
        lazy = replace(
            slave(url(master), on_demand=True),
            mounts={"/copy": {"users_file": str(users)}},
            groups={"/radio": Group(mounts=("/copy",))},
        )
        async with serving(lazy) as castd:
            reply = await castd.ask(head("GET", "/radio"))
            assert (reply.status, "www-authenticate" in reply.headers) == (401, True)
            async with await castd.ear("/radio", {"Authorization": basic("ann", "right")}) as ear:
                assert (await ear.exactly(FRAME_BYTES)) == frames(0, 1)
                [listener] = castd.mount("/copy").listeners.values()
                assert listener.user == "ann"


async def test_a_slave_has_what_its_master_has() -> None:
    hers = replace(configured(), auth=Auth(relay_password="the slaves' word"))
    async with serving(hers) as master, await master.encoder("/a b") as one, await master.encoder("/two") as two:
        await one.push(40)
        await two.push(40)
        await until(lambda: begun(master, "/a b") and begun(master, "/two"))
        for user, code in ((("relay", "the slaves' word"), 200), (ADMIN, 200), (SOURCE, 401), (("relay", ""), 401)):
            assert (await master.ask(head("GET", "/admin/streamlist.txt", user=user))).status == code
        assert (await master.ask(head("GET", "/admin/listmounts", user=("relay", "the slaves' word")))).status == 401
        followed = Master(url=url(master, ""), password="the slaves' word", update_seconds=1.0)
        async with serving(replace(configured(), master=followed)) as castd:
            await until(lambda: begun(castd, "/a b") and begun(castd, "/two"))
            three = await master.encoder("/three")
            await three.push(40)
            await until(lambda: begun(castd, "/three"))
            castd.server.current.config = configured()
            castd.server.relays.prepare(castd.server.config)()
            await until(lambda: castd.server.registry.sources == 0)


async def test_on_demand_there_is_no_waiting_for_what_was_only_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays_module, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(relays_module, "RETRY_SECONDS", (60.0, 60.0))
    async with serving() as master, await master.encoder("/live") as encoder:
        await encoder.push(40)
        await until(lambda: begun(master, "/live"))
        lazy = replace(slave(url(master), on_demand=True), delivery=Delivery(linger_seconds=0.0))
        async with serving(lazy) as castd:
            for _ in range(3):
                async with await castd.ear("/copy") as ear:
                    assert (await ear.exactly(FRAME_BYTES)) == frames(0, 1)
                await until(lambda: "/copy" not in castd.server.registry.mounts)


async def test_on_demand_who_waits_is_told_at_once_that_there_is_nothing() -> None:
    async with (
        upstream(script(b"HTTP/1.0 404 Not Here\r\n\r\n", stay=False)) as gone,
        serving(slave(gone.url, on_demand=True)) as castd,
    ):
        with trio.fail_after(15):
            assert (await castd.ask(head("GET", "/copy"))).status == 404


def test_heads() -> None:
    assert find_reply_head(b"HTTP/1.1 200") is None
    assert find_reply_head(b"IC") is None
    found = find_reply_head(b"ICY 200 OK\nicy-name: \xe9\nicy-name: b\n\nrest")
    assert found is not None
    assert (found[0].headers, found[1]) == ({"icy-name": "é"}, b"rest")
    for bad in (b"SSH", b"HTTP/x.y 200 OK\r\n\r\n", b"ICY abc\r\n\r\n"):
        with pytest.raises(NotAReply):
            find_reply_head(bad)
    with pytest.raises(NotAReply):
        find_reply_head(b"HTTP/1.0 200 OK\r\n" + b"a" * 20_000)


async def test_a_master_with_tls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificate(tmp_path, "localhost")
    certificate = Certificate(certificate=str(tmp_path / "localhost.pem"), key=str(tmp_path / "localhost.key"))
    listen = (Listen(host="127.0.0.1", port=0, tls="on"),)
    secure = replace(configured(), listen=listen, certificates=(certificate,))
    context = ssl.create_default_context(cafile=str(tmp_path / "localhost.pem"))
    async with serving(secure) as master:
        port = master.port
        raw = await trio.open_ssl_over_tcp_stream("localhost", port, ssl_context=context)
        encoder = await Encoder(raw).begin("/live")  # type: ignore[arg-type]
        await encoder.push(40)
        await until(lambda: begun(master, "/live"))
        async with serving(slave(f"https://localhost:{port}/live")) as castd:
            await until(lambda: "cannot be reached" in caplog.text or "certificate" in caplog.text.lower())
            monkeypatch.setattr(relays_module, "default_context", lambda: context)
            await until(lambda: begun(castd, "/copy"))
        await raw.aclose()

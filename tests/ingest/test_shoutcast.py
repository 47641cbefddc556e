"""SHOUTcast encoders on the port of all others: passwords in every spelling, titles, refusals, stalls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from castd.config import Dj, Limits, Listen, Shoutcast
from tests.support import ADMIN, SOURCE, bench, configured, frames, head

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support import Bench, Reply

FIELDS = b"icy-name:SC Name\r\nicy-genre:SC Genre\r\nicy-url:http://sc.example/\r\nicy-pub:0\r\nicy-br:128\r\n\r\n"
WELCOME = b"OK2\r\nicy-caps:11\r\n\r\n"
PASSWORD = SOURCE[1].encode()


@pytest.mark.parametrize(
    ("line", "mount"),
    [
        (PASSWORD, "/stream"),
        (b"source:" + PASSWORD, "/stream"),
        (b"/live:" + PASSWORD, "/live"),
        (PASSWORD + b":#2", "/two"),
        (b"anna:anna's word", "/stream"),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
async def test_a_source(line: bytes, mount: str, end: bytes, autojump_clock: MockClock) -> None:
    config = configured(shoutcast=Shoutcast(mounts=("/stream", "/two")), djs=(Dj(user="anna", password="anna's word"),))
    async with bench(config) as castd, castd.connect() as client:
        await client.send(line + end)
        assert await client.until(b"\r\n\r\n") == WELCOME
        for piece in (FIELDS[:20], FIELDS[20:] + frames(0, 1), frames(1, 5)):
            await client.send(piece.replace(b"\r\n", end) if piece is not frames(1, 5) else piece)
        await trio.testing.wait_all_tasks_blocked()
        assert castd.ring(mount) == frames(0, 4)
        here = castd.mount(mount)
        assert here.source is not None
        assert here.source.protocol == "SHOUTcast"
        assert here.source.user == ("anna" if b"anna" in line else "source")
        assert here.description is not None
        assert (here.description.name, here.description.genre, here.description.bitrate) == (
            "SC Name",
            "SC Genre",
            "128",
        )


async def test_without_a_content_type_or_any_field_it_is_mp3(autojump_clock: MockClock) -> None:
    async with bench() as castd, castd.connect() as client:
        await client.send(PASSWORD + b"\r\n\r\n" + frames(0, 3))
        assert await client.until(b"\r\n\r\n") == WELCOME
        await trio.testing.wait_all_tasks_blocked()
        assert castd.ring("/stream") == frames(0, 2)


@pytest.mark.parametrize("line", [b"wrong", b"/live:wrong", b"source:wrong", b"admin:" + ADMIN[1].encode(), b"!POKE"])
async def test_a_wrong_password(line: bytes, autojump_clock: MockClock) -> None:
    async with bench() as castd, castd.connect() as client:
        await client.send(line + b"\r\n")
        assert await client.rest() == b"invalid password\r\n"
        assert not castd.server.registry.mounts


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"/admin:" + PASSWORD, b"the name of the mount is one of castd's own pages\r\n"),
        (PASSWORD + b":#9", b"no mount is configured for that stream id\r\n"),
    ],
)
async def test_a_mount_that_cannot_be(line: bytes, words: bytes, autojump_clock: MockClock) -> None:
    async with bench() as castd, castd.connect() as client:
        await client.send(line + b"\r\n")
        assert await client.rest() == words


async def test_a_busy_mount_is_refused_before_the_welcome(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/stream") as encoder, castd.connect() as client:
        await encoder.push(3)
        async with trio.open_nursery() as nursery:

            async def sing() -> None:
                while True:
                    await encoder.push(1)
                    await trio.sleep(0.1)

            nursery.start_soon(sing)
            await client.send(PASSWORD + b"\r\n")
            assert await client.rest() == b"Mountpoint in use\r\n"
            nursery.cancel_scope.cancel()


async def test_a_port_of_its_own_has_its_own_mount(autojump_clock: MockClock) -> None:
    config = configured(listen=(Listen(port=8000, shoutcast_mount="/jazz"),))
    async with bench(config) as castd, castd.connect() as client:
        await client.send(PASSWORD + b"\r\n")
        await client.until(b"\r\n\r\n")
        await client.send(FIELDS + frames(0, 3))
        await trio.testing.wait_all_tasks_blocked()
        assert list(castd.server.registry.mounts) == ["/jazz"]
        assert (await title(castd, f"pass={SOURCE[1]}&song=Blue%20Train".replace(" ", "%20"))).status == 200
        assert castd.title("/jazz") == "Blue Train"


async def test_fields_that_never_end(autojump_clock: MockClock) -> None:
    limits = Limits(header_timeout_seconds=5.0, header_bytes=2000)
    async with bench(configured(limits=limits)) as castd:
        async with castd.connect() as client:
            begun = trio.current_time()
            await client.send(PASSWORD + b"\r\nicy-name:x\r\n")
            assert await client.rest() == WELCOME
            assert trio.current_time() - begun == 5.0
        async with castd.connect() as client:
            await client.send(PASSWORD + b"\r\n" + b"a:b\r\n" * 1000)
            assert await client.rest() == WELCOME
        assert not castd.failures


async def title(castd: Bench, query: str) -> Reply:
    return await castd.ask(head("GET", f"/admin.cgi?mode=updinfo&{query}"))


@pytest.mark.parametrize(
    ("song", "heard"),
    [("SC%20Song", "SC Song"), ("S%F6ng", "Söng"), ("S%C3%B6ng", "Söng"), ("S\xc3\xb6ng", "Söng"), ("", "")],
)
async def test_titles(song: str, heard: str, autojump_clock: MockClock) -> None:
    word = SOURCE[1].replace(" ", "%20")
    async with bench() as castd, await castd.encoder("/stream") as encoder:
        await encoder.push(3)
        request = f"GET /admin.cgi?pass={word}&mode=updinfo&song={song}&url= HTTP/1.0\r\n\r\n".encode("latin-1")
        reply = await castd.ask(request)
        assert reply.status == 200
        assert b"Metadata update successful" in reply.body
        assert castd.title("/stream") == heard


async def test_titles_of_other_mounts_and_by_the_admin(autojump_clock: MockClock) -> None:
    word, admin = SOURCE[1].replace(" ", "%20"), ADMIN[1].replace(" ", "%20")
    config = configured(shoutcast=Shoutcast(mounts=("/a", "/b")))
    async with bench(config) as castd, await castd.encoder("/a"), await castd.encoder("/b"):
        assert (await title(castd, f"pass={word}&sid=2&song=B")).status == 200
        assert (await title(castd, f"pass={admin}&mount=/a&song=A")).status == 200
        assert (castd.title("/a"), castd.title("/b")) == ("A", "B")


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("song=x", 401, b"missing pass parameter"),
        ("pass=bad&song=x", 401, b"wrong password"),
        ("pass=the%20encoders'%20word&song=x", 400, b"Source does not exist"),
        ("pass=the%20encoders'%20word&sid=7&song=x", 400, b"no mount is configured"),
    ],
)
async def test_titles_refused(query: str, status: int, words: bytes, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        reply = await title(castd, query)
        assert reply.status == status
        assert words in reply.body

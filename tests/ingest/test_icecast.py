"""Sources by PUT and SOURCE: what each real encoder sends, what it is told, who gets a mount and who loses it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from castd.config import Delivery, Limits
from castd.ingest.intake import DEAD_SECONDS
from castd.mount.party import Goodbye, Source
from tests.support import ADMIN, SOURCE, Bench, Client, Encoder, basic, bench, configured, frames, head, serving, until

if TYPE_CHECKING:
    from trio.testing import MockClock

GRANTED = b"HTTP/1.0 200 OK\r\n\r\n"
CREDENTIALS = f"Authorization: {basic(*SOURCE)}\r\n".encode()

FFMPEG = (
    b"PUT /live HTTP/1.1\r\nUser-Agent: Lavf/59.27.100\r\nAccept: */*\r\nExpect: 100-continue\r\n"
    b"Connection: close\r\nHost: 127.0.0.1:17010\r\nContent-Type: audio/mpeg\r\nIcy-MetaData: 1\r\n"
    b"Ice-Name: Lab \xc3\xa9\r\nIce-Description: d\r\nIce-URL: http://example.net/\r\nIce-Genre: g\r\nIce-Public: 0\r\n"
    + CREDENTIALS
    + b"\r\n"
)
FFMPEG_LEGACY = FFMPEG.replace(b"PUT", b"SOURCE").replace(b"Expect: 100-continue\r\n", b"")
DARKICE = (
    b"SOURCE /live HTTP/1.0\nContent-type: audio/mpeg\n"
    + CREDENTIALS.replace(b"\r\n", b"\n")
    + b"User-Agent: DarkIce/1.3 (http://code.google.com/p/darkice/)\nice-bitrate: 128\nice-public: 0\n"
    b"ice-name: Lab \xc3\xa9\nice-description: d\nice-url: http://example.net/\nice-genre: g\r\n\r\n"
)
LIQUIDSOAP = (
    b"SOURCE /live HTTP/1.0\r\nice-url: http://example.net/\r\nice-name: Lab \xc3\xa9\r\n"
    + CREDENTIALS
    + b"ice-description: d\r\nice-public: 0\r\nUser-Agent: Liquidsoap/2.1.3 (Unix; OCaml 4.13.1)\r\nice-genre: g\r\n"
    b"ice-audio-info: channels=2;samplerate=44100;bitrate=128\r\nContent-Type: audio/mpeg\r\n\r\n"
)
ICE = b"SOURCE /live ICE/1.0\r\ncontent-type: audio/mpeg\r\nice-name:Lab \xc3\xa9\r\n" + CREDENTIALS + b"\r\n"
LIBSHOUT_PROBES = (
    b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:17010\r\nUser-Agent: libshout/2.4.6\r\nConnection: Upgrade\r\n"
    b"Upgrade: TLS/1.0, HTTP/1.1\r\n\r\n",
    b"GET /admin/!POKE HTTP/1.1\r\nHost: 127.0.0.1:17010\r\nUser-Agent: libshout/2.4.6\r\n\r\n",
    b"SOURCE /live HTTP/1.0\r\nHost: 127.0.0.1:17010\r\nUser-Agent: libshout/2.4.6\r\nContent-Type: audio/mpeg\r\n"
    b"Content-Length: 0\r\nConnection: Keep-Alive\r\nice-public: 0\r\nice-name: Lab \xc3\xa9\r\nice-genre: g\r\n"
    b"Prefer: return=minimal\r\n\r\n",
)
LIBSHOUT = (
    b"SOURCE /live HTTP/1.0\r\n"
    + CREDENTIALS
    + b"Host: 127.0.0.1:17010\r\nUser-Agent: libshout/2.4.6\r\nContent-Type: audio/mpeg\r\nice-public: 0\r\n"
    b"ice-name: Lab \xc3\xa9\r\nice-genre: g\r\nPrefer: return=minimal\r\n\r\n"
)
ENCODERS = {
    "ffmpeg": FFMPEG,
    "ffmpeg -legacy_icecast": FFMPEG_LEGACY,
    "darkice": DARKICE,
    "liquidsoap": LIQUIDSOAP,
    "ICE/1.0": ICE,
    "libshout": LIBSHOUT,
}


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


def source(castd: Bench, mount: str = "/live") -> Source:
    found = castd.mount(mount).source
    assert found is not None
    return found


async def refused(castd: Bench, mount: str = "/live", fields: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Status and reason of a push that is not granted."""
    reply = await castd.ask(head("PUT", mount, fields, user=SOURCE))
    return reply.status, reply.text.partition(" - ")[2].partition("</b>")[0]


@pytest.mark.parametrize("request_head", ENCODERS.values(), ids=ENCODERS)
async def test_real_encoders_are_answered_at_once(request_head: bytes, autojump_clock: MockClock) -> None:
    expected = (b"HTTP/1.1 100 Continue\r\n\r\n" if b"Expect" in request_head else b"") + GRANTED
    async with bench() as castd, castd.connect() as client:
        await client.send(request_head)
        assert await client.exactly(len(expected)) == expected
        await client.send(frames(0, 20))
        await settled()
        assert castd.ring("/live") == frames(0, 19), "all but the newest, which the next frame must confirm"
        description = castd.mount("/live").description
        assert description is not None
        assert description.name == "Lab \N{LATIN SMALL LETTER E WITH ACUTE}"
        await client.stream.send_eof()
        assert await client.rest() == b""
        assert castd.ring("/live") == frames(0, 20)


async def test_libshout_opens_four_connections(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        assert [(await castd.ask(probe)).status for probe in LIBSHOUT_PROBES] == [204, 401, 401]
        assert "www-authenticate" in (await castd.ask(LIBSHOUT_PROBES[2])).headers
        async with castd.connect() as client:
            await client.send(LIBSHOUT)
            assert await client.exactly(len(GRANTED)) == GRANTED


@pytest.mark.parametrize("step", [1, 100, 10_000])
async def test_audio_in_the_packet_of_the_head_is_heard(step: int, autojump_clock: MockClock) -> None:
    sent = LIBSHOUT + frames(0, 9)
    async with bench() as castd, castd.connect() as client:
        for at in range(0, len(sent), step):
            await client.send(sent[at : at + step])
        await settled()
        assert castd.ring("/live") == frames(0, 8)


async def test_a_refusal_comes_instead_of_100(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        for sent, status in ((FFMPEG.replace(CREDENTIALS, b""), 401), (FFMPEG.replace(b"/live", b"/admin/x"), 403)):
            async with castd.connect() as client:
                await client.send(sent)
                assert (await client.reply()).status == status
                assert await client.rest() == b""


async def test_sizes_of_chunks_are_no_audio(autojump_clock: MockClock) -> None:
    audio = frames(0, 40)
    sizes = [1, 417, 100, 1000, 3, 50, 65, len(audio)]
    async with bench() as castd, castd.connect() as client:
        await client.send(head("PUT", "/live", {"Transfer-Encoding": "chunked"}, user=SOURCE))
        assert await client.exactly(len(GRANTED)) == GRANTED
        at = 0
        for size in sizes:
            chunk = audio[at : at + size]
            at += size
            await client.send(f"{len(chunk):X}\r\n".encode() + chunk + b"\r\n")
        ended = trio.current_time()
        await client.send(b"0\r\n\r\n")
        assert await client.rest() == b""
        assert trio.current_time() == ended, "a client waits for the close: curl does"
        assert castd.ring("/live") == audio
        assert castd.mount("/live").source is None


@pytest.mark.parametrize("fields", [{"Content-Length": str(len(frames(0, 5)))}, {"Expect": "100-continue"}])
async def test_an_announced_length_is_kept_and_the_mount_lingers(
    fields: dict[str, str], autojump_clock: MockClock
) -> None:
    async with bench(configured(delivery=Delivery(linger_seconds=5.0))) as castd, castd.connect() as client:
        await client.send(head("PUT", "/live", {"Content-Length": str(len(frames(0, 5)))} | fields, user=SOURCE))
        await client.until(GRANTED)
        await client.send(frames(0, 5) + b"GET / HTTP/1.1\r\n\r\n")
        assert await client.rest() == b"", "what follows is no request"
        assert castd.ring("/live") == frames(0, 5)
        assert castd.mount("/live").source is None
        assert not castd.server.registry.reap()
        await trio.sleep(5)
        assert [mount.name for mount in castd.server.registry.reap()] == ["/live"]


async def test_a_length_of_0_is_a_stream_to_the_end(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live", {"Content-Length": "0"}) as encoder:
        await encoder.push(5)
        await trio.sleep(3)
        await encoder.push(5)
        await settled()
        assert castd.ring("/live") == frames(0, 9)


async def test_a_broken_chunk_ends_the_source_with_a_reason(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench() as castd, castd.connect() as client:
        await client.send(head("PUT", "/live", {"Transfer-Encoding": "chunked"}, user=SOURCE))
        await client.until(GRANTED)
        await client.send(b"%X\r\n" % len(frames(0, 5)) + frames(0, 5) + b"\r\nno size\r\n")
        assert await client.rest() == b""
        assert castd.ring("/live") == frames(0, 5)
    assert "source of /live: broken body: illegal chunk header" in caplog.messages


async def test_a_busy_mount_is_refused_and_loses_no_frame(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live") as encoder:
        await encoder.push(10)
        async with trio.open_nursery() as nursery:

            async def go_on() -> None:
                for _ in range(30):
                    await encoder.push(1)
                    await trio.sleep(0.02)

            nursery.start_soon(go_on)
            assert await refused(castd) == (403, "Mountpoint in use")
            async with castd.connect() as client:
                await client.send(LIBSHOUT + frames(1000, 1010))
                assert (await client.reply()).status == 403
        await settled()
        assert castd.ring("/live") == frames(0, 39)


async def test_of_ten_at_once_one_wins(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        granted: list[Client] = []
        statuses: list[int] = []

        async def race(number: int) -> None:
            client = castd.connect()
            await client.send(head("PUT", "/live", user=SOURCE) + frames(0, 3))
            reply = await client.until(b"\r\n\r\n")
            statuses.append(int(reply.split()[1]))
            if reply == GRANTED:
                granted.append(client)
                while trio.current_time() < begun + 4:
                    await client.send(frames(0, 1))
                    await trio.sleep(0.1)

        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(race, number)
        assert sorted(statuses) == [200] + [403] * 9
        assert len(castd.mount("/live").sources) == 1


async def test_a_dead_source_is_replaced_at_once(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with bench() as castd, await castd.encoder("/live") as dead:
        await dead.push(10)
        await trio.sleep(DEAD_SECONDS)
        begun = trio.current_time()
        async with await castd.encoder("/live") as encoder:
            assert trio.current_time() == begun
            assert await dead.rest() == b"", "the old connection is closed"
            encoder.next = 100
            await encoder.push(10)
            await settled()
            assert castd.ring("/live") == frames(0, 10) + frames(100, 109)
    assert any("is replaced by 192.0.2.1" in message for message in caplog.messages)
    assert any(f"closed: {Goodbye.REPLACED.value}" in message for message in caplog.messages)


async def test_newcomers_who_waited_together_do_not_replace_each_other(autojump_clock: MockClock) -> None:
    """One of them gets the mount, and the two seconds of every new source to send its first bytes."""
    async with bench() as castd, await castd.encoder("/live") as silent:
        await silent.push(10)
        granted: list[float] = []

        async def wait() -> None:
            client = castd.connect()
            await client.send(head("PUT", "/live", user=SOURCE))
            if await client.until(b"\r\n\r\n") == GRANTED:
                granted.append(trio.current_time() - begun)

        begun = trio.current_time()
        with trio.move_on_after(DEAD_SECONDS + 1.5):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(wait)
                await trio.sleep_forever()
        assert len(granted) == 1
        assert granted[0] == pytest.approx(DEAD_SECONDS, abs=0.1)


async def test_a_newcomer_waits_to_see_whether_the_source_lives(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live") as slow:
        await slow.push(10)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def page() -> None:
                await trio.sleep(1.9)
                await slow.push(40)

            nursery.start_soon(page)
            assert await refused(castd) == (403, "Mountpoint in use")
        assert trio.current_time() - begun == pytest.approx(1.9, abs=0.1)
        begun = trio.current_time()
        async with await castd.encoder("/live"):
            assert trio.current_time() - begun == pytest.approx(DEAD_SECONDS, abs=0.1)


async def test_a_departed_source_frees_its_mount_at_once(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        for _ in range(3):
            async with await castd.encoder("/live") as encoder:
                await encoder.push(10)
                begun = trio.current_time()
            await settled()
        assert trio.current_time() == begun


async def test_a_reset_source_frees_its_mount_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving() as castd:
        for _ in range(3):
            encoder = await castd.encoder("/live")
            await encoder.push(10)
            await until(lambda: castd.mount("/live").source is not None)
            encoder.reset()
            with trio.fail_after(8):  # of the 10 s that it may be silent
                await until(lambda: castd.mount("/live").source is None)
    assert sum(f"closed: {Goodbye.RESET.value}" in message for message in caplog.messages) == 3


async def test_too_many_sources(autojump_clock: MockClock) -> None:
    async with bench(configured(limits=Limits(max_sources=2))) as castd:
        one, two = await castd.encoder("/1"), await castd.encoder("/2")
        assert await refused(castd, "/3") == (403, "too many sources connected")
        assert "/3" not in castd.server.registry.mounts
        await one.close()
        await settled()
        async with await castd.encoder("/3"):
            await two.close()


RESERVED = [
    "/", "/admin", "/admin/x", "/api", "/p", "/p/x", "/static/app.js", "/healthz", "/metrics", "/favicon.ico",
    "/robots.txt", "/index.html", "/live/hls", "/live/hls/0.ts", "/live/dash", "/live/dash/a", "/live/clip", "/hls",
    "/dash", "/clip", "/status-json.xsl", "/status.xsl", "/auth.xsl", "/server_version.xsl", "/7.xsl", "/7.html",
    "/stats", "/statistics", "/admin.cgi", "/;", "/;stream.mp3", "/listen.pls", "/live.m3u", "/live.xspf", "/live.pls",
    "/live.vclt", "/%61dmin/x", "/live%2Fhls",
]  # fmt: skip


@pytest.mark.parametrize("path", RESERVED)
async def test_reserved_paths(path: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        status, reason = await refused(castd, path)
        assert status == 403
        assert "is reserved; choose another mount" in reason


@pytest.mark.parametrize(
    "path",
    ["//x", "/x/", "/../x", "/x/%2e", "/%00", "/%0a", "/%5c", "/%EF%BF%BE", "/%C3%28", "/50%25", "/a%3Fb",
     "/" + "a" * 300, "live", "*"],
)  # fmt: skip
async def test_what_no_mount_can_be_called(path: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        status, _ = await refused(castd, path)
        assert (status, castd.server.registry.mounts) == (400, {})


@pytest.mark.parametrize(("path", "name"), [("/caf%C3%A9", "/café"), ("/caf\xe9", "/café"), ("/a b", "/a b"),
                                            ("/jazz/high", "/jazz/high"), ("/a%2Fb", "/a/b")])  # fmt: skip
async def test_names_of_mounts(path: str, name: str, autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder(path):
        assert list(castd.server.registry.mounts) == [name]


@pytest.mark.parametrize(
    "content_type",
    ["text/html", "text/plain", "TEXT/HTML; charset=utf-8", "image/svg+xml", "application/xhtml+xml", "multipart/mixed",
     "application/javascript", "audio", "audio/", "audio/mpeg audio", "audio/" + "a" * 2000, "audio/\N{SNOWMAN}"],
)  # fmt: skip
async def test_types_that_are_no_audio(content_type: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        status, reason = await refused(castd, fields={"Content-Type": content_type})
        assert (status, castd.server.registry.mounts) == (415, {})
        assert "is not a type of audio or video" in reason
        assert len(reason) < 200


@pytest.mark.parametrize(
    ("declared", "known_as"),
    [
        ("", "audio/mpeg"),
        ("Audio/MPEG; codecs=mp3", "audio/mpeg"),
        ("audio/mp3", "audio/mp3"),
        ("application/x-unheard-of", "audio/mpeg"),
        ("video/x-matroska", "audio/mpeg"),
    ],
)
async def test_declared_types(declared: str, known_as: str, autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live", {"Content-Type": declared}) as encoder:
        await encoder.push(60)
        await settled()
        description = castd.mount("/live").description
        assert description is not None
        assert description.content_type == known_as
        assert castd.ring("/live").startswith(frames(0, 50))


@pytest.mark.parametrize("number", ["x", "-1", "0", "99999999999", "1e3", "\N{SUPERSCRIPT TWO}"])
async def test_a_broken_metaint_is_refused(number: str, autojump_clock: MockClock) -> None:
    async with bench() as castd:
        status, reason = await refused(castd, fields={"icy-metaint": number})
        assert status == 400
        assert "icy-metaint must be" in reason


@pytest.mark.parametrize(
    "fields",
    [
        {"ice-name": "N", "ice-description": "D", "ice-genre": "G", "ice-url": "U", "ice-public": "1",
         "ice-bitrate": "96"},
        {"icy-name": "N", "icy-description": "D", "icy-genre": "G", "icy-url": "U", "icy-pub": "1", "icy-br": "96"},
        {"x-audiocast-name": "N", "x-audiocast-description": "D", "x-audiocast-genre": "G", "x-audiocast-url": "U",
         "x-audiocast-public": "1", "x-audiocast-bitrate": "96"},
        {"ICE-NAME": "N", "icy-name": "other", "Ice-Description": "D", "x-audiocast-genre": "G", "ICE-Url": "U",
         "icy-public": "1", "icy-br": "96"},
    ],
)  # fmt: skip
async def test_aliases_of_header_fields(fields: dict[str, str], autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live", fields):
        said = castd.mount("/live").description
        assert said is not None
        assert (said.name, said.description, said.genre, said.url) == ("N", "D", "G", "U")
        assert (said.public, said.bitrate) == (True, "96")


async def test_what_a_source_says_is_cleaned(autojump_clock: MockClock) -> None:
    fields = {
        "ice-name": "<script>\x01 \N{NEXT LINE}x\N{REPLACEMENT CHARACTER}",
        "ice-genre": "g" * 2048,
        "ice-bitrate": "-1e999",
        "Ice-Audio-Info": "ice-samplerate=44100; quality=3%2e5 ;title=a%0d%0aX-Injected: 1;=x;;novalue",
    }
    async with bench() as castd, await castd.encoder("/live", fields):
        said = castd.mount("/live").description
        assert said is not None
        assert said.name == "<script> x\N{REPLACEMENT CHARACTER}"
        assert said.genre == "g" * 1024
        assert dict(said.audio_info) == {
            "ice-samplerate": "44100",
            "quality": "3.5",
            "title": "a X-Injected: 1",
            "novalue": "",
        }


async def test_the_servers_stop_is_told_as_such(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with bench() as castd:
        await castd.encoder("/live")
    assert any(f"closed: {Goodbye.DRAINED.value}" in message for message in caplog.messages)


async def test_the_admin_may_kick_a_source(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with bench() as castd, await castd.encoder("/live") as encoder:
        assert (await castd.ask(head("GET", "/admin/killsource?mount=/live", user=ADMIN))).status == 200
        assert await encoder.rest() == b""
        assert castd.mount("/live").source is None
    assert any(f"closed: {Goodbye.KICKED.value}" in message for message in caplog.messages)


async def test_slots_are_free_again_a_thousand_times(autojump_clock: MockClock) -> None:
    async with bench(configured(limits=Limits(max_sources=1), delivery=Delivery(linger_seconds=0.0))) as castd:
        for _ in range(1000):
            async with Encoder(castd.connect().stream) as encoder:
                await encoder.begin("/live")
            await settled()
        assert castd.server.registry.mounts == {}
        assert castd.server.registry.sources == 0

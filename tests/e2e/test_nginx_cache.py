"""nginx as a cache, as docs/hls.md has it: what castd is asked for does not grow with the listeners, and what they get
is theirs."""

from __future__ import annotations

import gzip
import random
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import trio

from castd.access.links import signed
from tests import hls, mpd
from tests.e2e.client import get
from tests.e2e.media import AAC, Media
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.peers.nginx_cache import NginxCache
from tests.e2e.program import until
from tests.e2e.server import Castd, live, status

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "nginx")]

SETTINGS = """\
[delivery]
hls_segment_seconds = 2.0
hls_window_seconds = 12.0

[mounts."/some"]
link_key = "a long word"
"""

CROWDS = (1, 20, 200)

SEGMENTS = 3
"""That each listener follows."""

PATIENCE_SECONDS = 60.0

FIRST, MANIFEST = "/live/hls/index.m3u8", "/live/dash/manifest.mpd"

CODINGS = ("gzip, deflate, br", "gzip", "identity", "")


class Client:
    """A player's HTTP: one connection that is kept."""

    def __init__(self, address: str, coding: str) -> None:
        self._host, self._port = urlsplit(address).hostname or "", urlsplit(address).port or 80
        self._coding = f"Accept-Encoding: {coding}\r\n" if coding else ""
        self._stream: trio.SocketStream | None = None
        self._received = b""
        self.head = b""
        self.asked = 0

    async def get(self, target: str) -> tuple[int, bytes]:
        """Status and body, unpacked; the head is kept as `head`."""
        if self._stream is None:
            self._stream = await trio.open_tcp_stream(self._host, self._port)
        request = f"GET {target} HTTP/1.1\r\nHost: radio.example\r\nUser-Agent: {id(self)}\r\n{self._coding}\r\n"
        await self._stream.send_all(request.encode())
        self.asked += 1
        while b"\r\n\r\n" not in self._received:
            await self._more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        self.head = head = head.lower()
        body = await self._body(head)
        if b"content-encoding: gzip" in head:
            assert "gzip" in self._coding, "who does not take gzip gets none"
            body = gzip.decompress(body)
        if b"connection: close" in head:
            await self.close()
        return int(head.split()[1]), body

    async def _body(self, head: bytes) -> bytes:
        length = re.search(rb"content-length: (\d+)", head)
        if length:
            return await self._take(int(length[1]))
        assert b"transfer-encoding: chunked" in head
        body = b""
        while True:
            while b"\r\n" not in self._received:
                await self._more()
            size, _, self._received = self._received.partition(b"\r\n")
            body += await self._take(int(size, 16))
            await self._take(2)
            if int(size, 16) == 0:
                return body

    async def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            await self._more()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    async def _more(self) -> None:
        assert self._stream is not None
        data = await self._stream.receive_some(65536)
        assert data, "the connection ended"
        self._received += data

    async def close(self) -> None:
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)
        self._stream, self._received = None, b""


@dataclass
class Crowd:
    """Listeners behind one cache.

    Attributes:
        heard: what came, by its name: never two things.
        last: the last segment that each follows.
    """

    cache: NginxCache
    last: int
    heard: dict[str, bytes] = field(default_factory=dict)

    async def listen(self, number: int, *, low_latency: bool) -> None:
        """One listener, from the first playlist to the last segment."""
        client = Client(self.cache.address, CODINGS[number % len(CODINGS)])
        await trio.sleep(random.Random(number).random())
        got, first = await client.get(FIRST)
        assert got == 200
        media = urljoin("/live/hls/", first.decode().splitlines()[-1])
        try:
            await (self._by_parts if low_latency else self._by_segments)(client, media)
        finally:
            await client.close()

    async def _by_segments(self, client: Client, media: str) -> None:
        """As players do that know no parts: a playlist is asked for again after its target duration, or half of it."""
        reached = 0
        while reached < self.last:
            playlist = await self._playlist(client, media)
            for each in playlist.complete[-3:]:
                if each.number > reached:
                    await self._file(client, each.uri)
                    reached = each.number
            await trio.sleep(playlist.target / 2)

    async def _by_parts(self, client: Client, media: str) -> None:
        """As players do that know them: each playlist is asked for before it is there."""
        playlist = await self._playlist(client, media)
        while playlist.complete[-1].number < self.last:
            at = playlist.segments[-1]
            number, part = (at.number + 1, 0) if at.uri else (at.number, len(at.parts))
            playlist = await self._playlist(client, f"{media}?_HLS_msn={number}&_HLS_part={part}")
            newest = playlist.segments[-1]
            reached = (newest.number + 1, 0) if newest.uri else (newest.number, len(newest.parts))
            assert reached > (number, part), "no playlist from before what was waited for"
            await self._file(client, newest.parts[-1].uri)

    async def _playlist(self, client: Client, target: str) -> hls.Playlist:
        got, body = await client.get(target)
        assert got == 200, (target, got, body)
        playlist = hls.parse(body)
        hls.check(playlist)
        return playlist

    async def _file(self, client: Client, name: str) -> None:
        got, body = await client.get(f"/live/hls/{name}")
        assert got == 200, name
        assert self.heard.setdefault(name, body) == body


async def test_castd_is_not_asked_more_by_more_listeners(media: Mapping[str, Media], tmp_path: Path) -> None:
    """Three crowds, each behind a cache of its own, follow the same segments at once."""
    async with Castd(tmp_path, SETTINGS) as castd, AsyncExitStack() as running:
        await running.enter_async_context(publish(media[AAC.name], castd, "/live", tmp_path / "ffmpeg.log"))
        await live(castd, "/live")
        caches = [
            await running.enter_async_context(NginxCache(castd.address, tmp_path / f"nginx-{size}.log"))
            for size in CROWDS
        ]
        crowds = [Crowd(cache, await begin(castd) + SEGMENTS) for cache in caches]
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                for size, crowd in zip(CROWDS, crowds, strict=True):
                    for number in range(size):
                        nursery.start_soon(lambda c=crowd, n=number: c.listen(n, low_latency=n % 2 == 0))  # type: ignore[misc]
        asked = [cache.asked_of_castd() for cache in caches]
        print({size: Counter(map(kind, each)) for size, each in zip(CROWDS, asked, strict=True)})
        for each in asked:
            files = Counter(name.partition("?")[0] for name in each if name.partition("?")[0].endswith(".m4s"))
            assert max(files.values()) == 1, "whatever has a name for ever was asked for once"
        few, many = asked[1:]
        # playlists are good for a second: whom the machine holds up asks for them once more
        assert len(many) < 1.5 * len(few) + 10, "ten times the listeners"
        found = await status(castd, "/live")
        assert found is not None
        assert found["listeners"] <= 2, "the caches"


async def test_nobody_gets_what_is_not_his(media: Mapping[str, Media], tmp_path: Path) -> None:
    async with Castd(tmp_path, SETTINGS) as castd, AsyncExitStack() as running:
        for mount in ("/live", "/some"):
            log = tmp_path / f"ffmpeg{mount.replace('/', '-')}.log"
            await running.enter_async_context(publish(media[AAC.name], castd, mount, log))
        await live(castd, "/live")
        await begin(castd)
        cache = await running.enter_async_context(NginxCache(castd.address, tmp_path / "nginx.log"))
        client, stranger = Client(cache.address, "gzip"), Client(cache.address, "")
        for each in (client, stranger):
            running.push_async_callback(each.close)

        async def ask(target: str) -> tuple[int, bytes, int]:
            """And how often castd was asked."""

            async def logged() -> bool:
                return cache.answered == client.asked + stranger.asked

            await until(logged, seconds=PATIENCE_SECONDS, what="the lines in nginx's log")
            before = len(cache.asked_of_castd())
            got, body = await client.get(target)
            await until(logged, seconds=PATIENCE_SECONDS, what="the line in nginx's log")
            return got, body, len(cache.asked_of_castd()) - before

        with trio.fail_after(PATIENCE_SECONDS):
            _, _, signature = signed("a long word", "/some", 1 << 40, "anna").partition("?")
            for _ in range(2):  # nobody's way in stays open for the next
                assert (await stranger.get("/some/hls/index.m3u8"))[0] == 403
                got, first = await client.get(f"/some/hls/index.m3u8?{signature}")
                assert got == 200
                media_url = "/some/hls/" + first.decode().splitlines()[-1]
                assert "session=" in media_url
                assert (await client.get(media_url))[0] == 200
                assert b"private" in client.head
                assert (await stranger.get("/some/hls/audio.m3u8"))[0] == 403
                assert (await stranger.get("/some/hls/audio.m3u8?session=0123456789abcdef"))[0] == 403
            assert [(await ask(media_url))[::2] for _ in range(2)] == [(200, 1)] * 2, "not kept"

            async def kept() -> bool:
                got, body, _ = await ask(MANIFEST)
                assert got == 200
                assert mpd.check(body)
                assert b"<Location>" not in body
                return (await ask(MANIFEST))[2] == 0

            await until(kept, seconds=PATIENCE_SECONDS, what="a manifest that is kept for the next")
            for name in ("audio.m3u8?_HLS_msn=99999999999", "0123456789abcdef-1.m4s"):
                for _ in range(2):
                    got, _, times = await ask(f"/live/hls/{name}")
                    assert got in (400, 404)
                    assert times == 1, "a refusal is nothing to keep"


def kind(target: str) -> str:
    path = target.partition("?")[0]
    return "blocking" if "_HLS_" in target else path.rpartition("/")[2] if path.endswith(".m3u8") else "file"


async def begin(castd: Castd) -> int:
    """The number of the newest segment, once there are three and parts."""

    async def found() -> int | None:
        reply = await get(f"{castd.address}/live/hls/audio.m3u8?shared")
        playlist = hls.parse(bytes(reply.body)) if reply.status == 200 else hls.Playlist()
        return playlist.complete[-1].number if len(playlist.complete) >= 3 and playlist.hints else None

    return await until(found, seconds=PATIENCE_SECONDS, what="three segments", every_seconds=0.3)

"""What SHOUTcast's panels and widgets ask, and its players."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from castd.config import Alias, Shoutcast
from tests.support import SOURCE, bench, configured, head, serving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from tests.support import Bench, Encoder, Reply

TITLE = "A & B <c> - Ünï, it's"
CONFIG = configured(shoutcast=Shoutcast(mounts=("/a", "/b")), mounts={"/hidden": {"hidden": True}})


@asynccontextmanager
async def source(castd: Bench, mount: str) -> AsyncIterator[Encoder]:
    fields = {"ice-name": "A Station", "ice-genre": "Jazz", "ice-url": "http://a.example", "ice-bitrate": "128"}
    async with await castd.encoder(mount, fields) as encoder:
        await encoder.push(20)
        await until(lambda: castd.mount(mount).ring.head > 0)
        castd.mount(mount).set_title("before")
        castd.mount(mount).set_title(TITLE)
        yield encoder


async def get(castd: Bench, target: str, agent: str = "probe/1") -> Reply:
    return await castd.ask(head("GET", target, {"User-Agent": agent}))


async def test_stats_of_one_stream(autojump_clock: MockClock) -> None:
    async with bench(CONFIG) as castd, source(castd, "/a"):
        stats = json.loads((await get(castd, "/stats?sid=1&json=1")).body)
        assert stats["songtitle"] == TITLE
        assert (stats["servertitle"], stats["servergenre"], stats["serverurl"]) == (
            "A Station",
            "Jazz",
            "http://a.example",
        )
        assert (stats["bitrate"], stats["content"], stats["streamstatus"]) == ("128", "audio/mpeg", 1)
        assert (stats["currentlisteners"], stats["peaklisteners"], stats["streamhits"]) == (0, 0, 0)
        reply = await get(castd, "/stats?sid=1")
        root = ElementTree.fromstring(reply.body)
        assert root.tag == "SHOUTCASTSERVER"
        assert root.findtext("SONGTITLE") == TITLE
        assert {child.tag for child in root} == {name.upper() for name in stats}


async def test_without_a_stream_id_it_is_the_default(autojump_clock: MockClock) -> None:
    async with bench(CONFIG) as castd, source(castd, "/other"):
        assert json.loads((await get(castd, "/stats?json=1")).body)["streampath"] == "/other"
        assert (await get(castd, "/stats?sid=1")).status == 404
        assert (await get(castd, "/stats?sid=x")).status == 200


@pytest.mark.parametrize("target", ["/stats", "/7.html", "/currentsong", "/played", "/listen.pls", "/;", "/x;"])
async def test_nothing_on_the_air(target: str, autojump_clock: MockClock) -> None:
    async with bench(CONFIG) as castd:
        assert (await get(castd, target)).status == 404


async def test_a_hidden_mount_is_not_shown(autojump_clock: MockClock) -> None:
    config = configured(shoutcast=Shoutcast(mounts=("/hidden",)), mounts={"/hidden": {"hidden": True}})
    async with bench(config) as castd, source(castd, "/hidden"):
        assert (await get(castd, "/stats?sid=1")).status == 404
        assert (await get(castd, "/7.html")).status == 404


async def test_statistics(autojump_clock: MockClock) -> None:
    async with bench(CONFIG) as castd, source(castd, "/a"):
        found = json.loads((await get(castd, "/statistics?json=1")).body)
        assert (found["totalstreams"], found["activestreams"]) == (2, 1)
        assert [(each["id"], each["streampath"], each["streamstatus"]) for each in found["streams"]] == [
            (1, "/a", 1),
            (2, "/b", 0),
        ]
        root = ElementTree.fromstring((await get(castd, "/statistics")).body)
        assert [each.get("id") for each in root.findall("STREAMSTATS/STREAM")] == ["1", "2"]


async def test_seven(autojump_clock: MockClock) -> None:
    async with bench(CONFIG) as castd, source(castd, "/a"):
        reply = await get(castd, "/7.html")
        text = reply.text.partition("<body>")[2].partition("</body>")[0]
        assert text == "0,1,0,20000,0,128,A &amp; B &lt;c&gt; - Ünï, it&#x27;s"


async def test_the_song_and_those_before_it(autojump_clock: MockClock) -> None:
    async with bench(CONFIG) as castd, source(castd, "/a") as encoder:
        await encoder.push(1)
        assert (await get(castd, "/currentsong?sid=1")).text == TITLE
        songs = json.loads((await get(castd, "/played?sid=1&type=json")).body)
        assert songs[0]["title"] == TITLE
        root = ElementTree.fromstring((await get(castd, "/played?sid=1&type=xml")).body)
        assert root.findtext("SONGHISTORY/SONG/TITLE") == TITLE
        assert "<c>" not in (await get(castd, "/played")).text


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("/a.m3u", "http://radio.test/a"),
        ("/a.pls", "File1=http://radio.test/a"),
        ("/a.xspf", "      <location>http://radio.test/a</location>"),
        ("/a.vclt", "STREAMURL=http://radio.test/a"),
        ("/listen.pls", "File1=http://radio.test/a"),
        ("/listen.pls?sid=1", "File1=http://radio.test/a"),
        ("/listen.m3u", "http://radio.test/a"),
        ("/old.pls", "File1=http://radio.test/old"),
    ],
)
async def test_playlists_of_mounts(target: str, line: str, autojump_clock: MockClock) -> None:
    config = configured(shoutcast=Shoutcast(mounts=("/a",)), aliases=(Alias(path="/old", mount="/a"),))
    async with bench(config) as castd, source(castd, "/a"):
        reply = await get(castd, target)
        assert reply.status == 200
        assert line in reply.text.splitlines()


@pytest.mark.parametrize("target", ["/b.m3u", "/a.exe", "/listen.pls?sid=2", "/.pls"])
async def test_no_playlist_of_what_is_no_mount(target: str, autojump_clock: MockClock) -> None:
    async with bench(CONFIG) as castd, source(castd, "/a"):
        assert (await get(castd, target)).status == 404


@pytest.mark.parametrize(
    "target",
    [
        "/;",
        "/stream/1",
        "/stream/1/",
        "/stream/1/;",
        "/;stream.mp3",
        "/;?type=http&nocache=1",
        "/a;",
        "/a;x.mp3",
        "/old",
        "/old;x",
        "/a",
    ],
)
async def test_paths_by_which_a_mount_is_heard(target: str) -> None:
    config = configured(shoutcast=Shoutcast(mounts=("/a",)), aliases=(Alias(path="/old", mount="/a"),))
    async with serving(config) as castd, await castd.encoder("/a") as encoder:
        await encoder.push(20)
        ear = await castd.ear(target)
        assert ear.headers["content-type"] == "audio/mpeg"
        assert len(castd.mount("/a").listeners) == 1


@pytest.mark.parametrize(
    ("fields", "heard"),
    [
        ({"Icy-MetaData": "1", "User-Agent": "WinampMPEG/5.0"}, True),
        ({"Icy-MetaData": "1", "User-Agent": "Mozilla/5.0"}, False),
        ({"User-Agent": "WinampMPEG/5.0"}, False),
    ],
)
async def test_old_players_find_the_stream_at_the_root(fields: dict[str, str], heard: bool) -> None:
    async with serving(CONFIG) as castd, await castd.encoder("/a") as encoder:
        await encoder.push(20)
        client = await castd.connect()
        await client.send(head("GET", "/", fields))
        reply = (await client.until(b"\r\n\r\n")).decode().lower()
        assert ("content-type: audio/mpeg" in reply) is heard
        assert ("text/html" in reply) is not heard


async def test_browsers_get_a_name_of_aac_they_know() -> None:
    async with serving(CONFIG) as castd, await castd.encoder("/a", {"Content-Type": "audio/aacp"}) as encoder:
        await encoder.push(1)
        mount = castd.mount("/a")
        assert mount.description is not None
        for agent, content_type in (("Mozilla/5.0", "audio/aac"), ("WinampMPEG/5.0", "audio/aacp")):
            ear = await castd.ear("/a", {"User-Agent": agent})
            assert ear.headers["content-type"] == content_type


async def test_a_mount_that_is_not_for_listeners_and_headers_of_the_operator() -> None:
    mounts: dict[str, dict[str, Any]] = {
        "/feed": {"no_mount": True},
        "default": {"headers": ("X-Robots-Tag: noindex",)},
    }
    async with (
        serving(configured(mounts=mounts)) as castd,
        await castd.encoder("/feed") as feed,
        await castd.encoder("/live") as live,
    ):
        await feed.push(5)
        await live.push(5)
        for target in ("/feed", "/feed.m3u"):
            assert (await castd.ask(head("GET", target))).status == 403
        ear = await castd.ear("/;")
        assert ear.headers["x-robots-tag"] == "noindex"


@pytest.mark.parametrize(
    ("charset", "heard"), [("windows-1251", "Привет"), ("iso-8859-1", "Ïðèâåò"), ("utf-8", "Ïðèâåò")]
)
async def test_titles_in_the_mounts_charset(charset: str, heard: str, autojump_clock: MockClock) -> None:
    config = configured(mounts={"/live": {"charset": charset}})
    async with bench(config) as castd, await castd.encoder("/live"):
        song = "%CF%F0%E8%E2%E5%F2"
        request = head("GET", f"/admin/metadata?mode=updinfo&mount=/live&song={song}", user=SOURCE)
        assert (await castd.ask(request)).status == 200
        assert castd.title("/live") == heard
        request = head("GET", "/admin/metadata?mode=updinfo&mount=/live&song=%C3%9C", user=SOURCE)
        assert (await castd.ask(request)).status == 200
        assert castd.title("/live") == "Ü"

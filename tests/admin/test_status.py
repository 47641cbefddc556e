"""The status in Icecast's shape, against its own captures (A01, A05, A09), and always valid."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from castd import __version__
from castd.wire import icy
from castd.wire.text import one_line
from tests.support import ADMIN, PROBE, SOURCE, Bench, Castd, Serving, bench, configured, head, serving, until

FIXTURES = Path(__file__).parents[1] / "fixtures"

SERVER = {
    "admin": "icemaster@localhost",
    "host": "localhost",
    "location": "Earth",
    "server_id": f"castd {__version__}",
    "server_start": "date",
    "server_start_iso8601": "date",
}

MP3 = {
    "audio_info": "ice-samplerate=44100;ice-bitrate=128;ice-channels=2",
    "bitrate": 128,
    "genre": "test",
    "ice-samplerate": 44100,
    "ice-bitrate": 128,
    "ice-channels": 2,
    "listener_peak": 0,
    "listeners": 0,
    "listenurl": "http://radio.test/live.mp3",
    "server_description": "Probe Desc",
    "server_name": "Probe Name",
    "server_type": "audio/mpeg",
    "server_url": "http://example.invalid/",
    "stream_start": "date",
    "stream_start_iso8601": "date",
    "dummy": None,
}

DATES = {
    "server_start": r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
    "server_start_iso8601": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}",
}
DATES |= {name.replace("server", "stream"): pattern for name, pattern in DATES.items()}


def undated(found: dict[str, Any]) -> dict[str, Any]:
    """With every date checked and replaced by "date"."""
    for name, pattern in DATES.items():
        if name in found:
            assert re.fullmatch(pattern, found[name]), found[name]
            found[name] = "date"
    return found


async def status(castd: Bench | Serving, query: str = "") -> dict[str, Any]:
    reply = await castd.ask(head("GET", "/status-json.xsl" + query))
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "no-store" in reply.headers["cache-control"]
    found: dict[str, Any] = json.loads(reply.body)["icestats"]
    return undated(found)


async def xml(castd: Bench | Serving, target: str) -> ElementTree.Element:
    reply = await castd.ask(head("GET", target, user=ADMIN))
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/xml; charset=utf-8"
    assert reply.body.startswith(b'<?xml version="1.0"?>\n<')
    return ElementTree.fromstring(reply.body)


async def test_no_mount(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        assert await status(castd) == SERVER | {"dummy": None}


async def test_one_mount_is_an_object(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live.mp3", PROBE):
        found = await status(castd)
        assert list(found) == [*SERVER, "source", "dummy"]
        assert undated(found["source"]) == MP3


async def test_two_mounts_are_an_array() -> None:
    async with serving() as castd, await castd.encoder("/live.mp3", PROBE):
        fields = {"Content-Type": "application/ogg", "ice-audio-info": PROBE["ice-audio-info"]}
        async with await castd.encoder("/live.ogg", fields) as encoder:
            await encoder.send((FIXTURES / "vorbis.ogg").read_bytes())
            await until(lambda: castd.title("/live.ogg") is not None and castd.mount("/live.ogg").info is not None)
            mp3, ogg = (undated(each) for each in (await status(castd))["source"])
            assert mp3 == MP3
            assert ogg == {
                "artist": "Vorbis",
                "audio_bitrate": ogg["audio_bitrate"],
                "audio_channels": 2,
                "audio_info": PROBE["ice-audio-info"],
                "audio_samplerate": 44100,
                "bitrate": ogg["audio_bitrate"] // 1000,
                "genre": "various",
                "ice-samplerate": 44100,
                "ice-bitrate": 128,
                "ice-channels": 2,
                "listener_peak": 0,
                "listeners": 0,
                "listenurl": "http://radio.test/live.ogg",
                "server_description": "Unspecified description",
                "server_name": "Unspecified name",
                "server_type": "application/ogg",
                "stream_start": "date",
                "stream_start_iso8601": "date",
                "subtype": "Vorbis",
                "title": "Sweep",
                "dummy": None,
            }
            assert 30_000 < ogg["audio_bitrate"] < 130_000


async def test_one_mount_of_many(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/a"), await castd.encoder("/b c"):
        assert (await status(castd, "?mount=/b+c"))["source"]["listenurl"] == "http://radio.test/b%20c"
        assert (await status(castd, "?mount=a"))["source"]["listenurl"] == "http://radio.test/a"
        assert await status(castd, "?mount=/nix") == SERVER | {"dummy": None}


async def test_hidden_mounts_are_for_operators(autojump_clock: MockClock) -> None:
    config = configured(mounts={"/secret": {"hidden": True}})
    async with bench(config) as castd, await castd.encoder("/secret"):
        assert "source" not in await status(castd)
        assert "source" not in await status(castd, "?mount=/secret")
        assert json.loads((await castd.ask(head("GET", "/api/v1/mounts"))).body) == {"mounts": []}
        assert json.loads((await castd.ask(head("GET", "/api/v1/status"))).body)["mounts"] == []
        assert (await castd.ask(head("GET", "/api/v1/mounts/secret"))).status == 200, "who knows its name may look"
        assert (await xml(castd, "/admin/stats")).find("source[@mount='/secret']") is not None


async def test_a_mount_that_waits_for_its_source_is_listed(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        async with await castd.encoder("/live.mp3", PROBE):
            pass
        await trio.testing.wait_all_tasks_blocked()
        assert undated((await status(castd))["source"]) == MP3


async def test_the_operators_xml(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live.mp3", PROBE | {"ice-public": "1"}) as encoder:
        await encoder.push(5)
        await trio.testing.wait_all_tasks_blocked()
        for target in ("/admin/stats", "/admin/stats.xml", "/admin/stats?mount=/live.mp3"):
            root = await xml(castd, target)
            assert root.tag == "icestats"
            figures = {element.tag: element.text for element in root if element.tag != "source"}
            assert figures["sources"] == "1"
            assert figures["source_total_connections"] == "1"
            (source,) = root.findall("source")
            assert source.attrib == {"mount": "/live.mp3"}
            found = {element.tag: element.text for element in source}
            assert found["server_name"] == "Probe Name"
            assert found["ice-samplerate"] == "44100"
            assert (found["max_listeners"], found["public"]) == ("unlimited", "1")
            assert (found["source_ip"], found["user_agent"]) == ("192.0.2.1", "probe/1")
            assert (found["total_bytes_read"], found["total_bytes_sent"]) == (str(5 * 417), "0")
        assert (await castd.ask(head("GET", "/admin/stats?mount=/nix", user=ADMIN))).status == 400


async def test_a_sources_words_break_no_shape(autojump_clock: MockClock) -> None:
    info = "listeners=999;server_type=text/html;dummy=1;<b>=1;1a=2;a b=3;=4;\N{SNOWMAN}=5;title=X;bitrate=x"
    async with bench() as castd, await castd.encoder("/live", {"ice-audio-info": info, "ice-name": "]]><&"}):
        found = (await status(castd))["source"]
        assert (found["listeners"], found["server_type"], found["dummy"]) == (0, "audio/mpeg", None)
        source = (await xml(castd, "/admin/stats")).find("source")
        assert source is not None
        assert source.findtext("server_name") == "]]><&"
        assert source.findtext("listeners") == "0"
        assert {element.tag for element in source}.isdisjoint({"<b>", "1a", "a b", "\N{SNOWMAN}"})


async def title_everywhere(castd: Bench, encoded: str, expected: str) -> None:
    """Set a title, and find it in everything that shows titles."""
    reply = await castd.ask(head("GET", f"/admin/metadata?mount=/live&mode=updinfo&song={encoded}", user=SOURCE))
    assert reply.status == 200
    assert ElementTree.fromstring(reply.body).findtext("return") == "1"
    found = (await status(castd))["source"]["title"]
    assert found == expected
    shown = (await xml(castd, "/admin/stats")).findtext("source/title") or ""
    assert shown == expected
    twin = json.loads((await castd.ask(head("GET", "/api/v1/mounts/live"))).body)["title"]
    assert (twin["text"] if twin else "") == expected
    assert_icy(castd, expected)


def assert_icy(castd: Castd, expected: str) -> None:
    title = castd.mount("/live").timeline.title
    assert title is not None
    block = icy.block(title.text)
    assert len(block) == 1 + 16 * block[0]
    fields = icy.parse(block[1:])
    assert fields is not None
    assert fields.title.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").strip() == expected.replace(
        "\N{RIGHT SINGLE QUOTATION MARK}", "'"
    )


@pytest.mark.parametrize(
    "title",
    ["123", "true", "NULL", "-", ".5", "5.", "-012", "1e999", "", "0", "{}", "[", '"', "\\", "<script>", "]]>", "&amp;",
     "It's Bob's; 'quoted'; x", "x';StreamUrl='http://evil/", "'", ";", "\N{SNOWMAN}", "\N{GRINNING FACE}"],
)  # fmt: skip
async def test_a_title_is_a_text_whatever_it_looks_like(title: str, autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        await title_everywhere(castd, quote(title, safe=""), title)


@pytest.mark.parametrize(
    ("encoded", "title"),
    [
        ("%01%0b%1b%5b2Jx", "[2Jx"),
        ("a%0d%0ab%00c", "a bc"),
        ("%EF%BF%BE%EF%BF%BF%F4%8F%BF%BFx", "x"),
        ("S%F6ng%FF", "S\N{LATIN SMALL LETTER O WITH DIAERESIS}ng\N{LATIN SMALL LETTER Y WITH DIAERESIS}"),
        ("%ED%A0%80", "\N{LATIN SMALL LETTER I WITH ACUTE}\N{NO-BREAK SPACE}".strip()),
        ("a" * 4096, "a" * 1024),
        ("%F0%9F%98%80" * 1024, "\N{GRINNING FACE}" * 1020),
    ],
)
async def test_titles_with_bytes_that_are_no_text(encoded: str, title: str, autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        if len(title) * 4 > icy.MAX_TEXT_BYTES - 100:
            await castd.ask(head("GET", f"/admin/metadata?mount=/live&mode=updinfo&song={encoded}", user=SOURCE))
            assert (castd.title("/live") or "").startswith(title)
        else:
            await title_everywhere(castd, encoded, title)


async def any_title(sent: bytes) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        try:
            text = sent.decode()
        except UnicodeDecodeError:
            text = sent.decode("latin-1")
        await title_everywhere(castd, quote(sent, safe=""), one_line(text))


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60))
@example(b"\xc3\xa4\x85")
def test_any_title_leaves_everything_valid(sent: bytes) -> None:
    trio.run(partial(any_title, sent), clock=MockClock(autojump_threshold=0))

"""HLS and DASH as clients ask for them: replies, caches, sessions."""

from __future__ import annotations

import gc
import gzip
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from castd.access.links import signed
from castd.adaptive import playlists
from castd.adaptive.session import Session
from castd.adaptive.sessions import IDLE_SECONDS, UNHEARD_SECONDS
from castd.mount.party import Goodbye
from castd.segments.segmenter import Segmenter
from castd.wire.mpd import NAMESPACE
from tests import hls
from tests.segments.studio import Studio, catch_up
from tests.support import ADMIN, Bench, Reply, bench, configured, frames, head, until

FIXTURES = Path(__file__).parents[1] / "fixtures"

FIRST, MEDIA, MANIFEST = "/live/hls/index.m3u8", "/live/hls/audio.m3u8", "/live/dash/manifest.mpd"

AAC = {"Content-Type": "audio/aac"}


@asynccontextmanager
async def station(
    content: bytes = b"", fields: Mapping[str, str] | None = None, settings: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Bench]:
    """castd with a source on /live that has sent half a minute, of MP3 by default."""
    async with bench(configured(mounts={"/live": settings or {}}, **more)) as castd:
        castd.nursery.start_soon(castd.server.segmenters.run)
        encoder = await castd.encoder("/live", fields)
        await encoder.send(content or frames(0, 1200))
        await wait_all_tasks_blocked()
        yield castd


def aac() -> bytes:
    """Half a minute of AAC."""
    data = (FIXTURES / "lc-44100-stereo.aac").read_bytes()
    return data * (500_000 // len(data))


async def get(castd: Bench, path: str, fields: Mapping[str, str] | None = None, method: str = "GET") -> Reply:
    return await castd.ask(head(method, path, fields))


async def media_url(castd: Bench, fields: Mapping[str, str] | None = None) -> str:
    """The media playlist, with a token."""
    reply = await get(castd, FIRST, fields)
    assert reply.status == 200, reply.text
    return "/live/hls/" + reply.text.splitlines()[-1]


def heard(castd: Bench) -> int:
    return len(castd.mount("/live").listeners)


async def test_from_the_first_playlist_to_the_last_segment(autojump_clock: MockClock) -> None:
    async with station() as castd:
        first = await get(castd, FIRST)
        assert first.headers["content-type"] == "application/vnd.apple.mpegurl"
        assert first.headers["cache-control"] == "no-store"
        assert 'CODECS="mp4a.40.34"' in first.text
        reply = await get(castd, await media_url(castd))
        assert reply.headers["cache-control"] == "max-age=2"
        assert reply.headers["access-control-allow-origin"] == "*"
        playlist = hls.parse(reply.body)
        hls.check(playlist)
        assert sum(each.seconds for each in playlist.segments) > 20
        for each in playlist.segments:
            segment = await get(castd, f"/live/hls/{each.uri}")
            assert segment.headers["content-type"] == "video/mp2t"
            assert segment.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert segment.body[::188] == b"G" * (len(segment.body) // 188)
            again = {"If-None-Match": segment.headers["etag"]}
            assert (await get(castd, f"/live/hls/{each.uri}", again)).status == 304
        size = len(segment.body)
        only_head = await get(castd, f"/live/hls/{each.uri}", method="HEAD")
        assert (only_head.body, only_head.headers["content-length"]) == (b"", str(size))


async def test_playlists_are_packed_and_not_sent_twice(autojump_clock: MockClock) -> None:
    async with station() as castd:
        url = await media_url(castd)
        plain = await get(castd, url)
        packed = await get(castd, url, {"Accept-Encoding": "br, gzip;q=0.5"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["vary"] == "Accept-Encoding"
        assert gzip.decompress(packed.body) == plain.body
        assert packed.headers["etag"] != plain.headers["etag"]
        assert "content-encoding" not in (await get(castd, url, {"Accept-Encoding": "gzip;q=0"})).headers
        for reply in (plain, packed):
            again = {
                "If-None-Match": reply.headers["etag"],
                "Accept-Encoding": reply.headers.get("content-encoding", ""),
            }
            assert (await get(castd, url, again)).status == 304


@pytest.mark.parametrize(
    "name",
    [
        "0123456789abcdef-1.ts",
        "x.ts",
        "{session}-1.ts",
        "{session}-99999999999.ts",
        "{session}-{next}.ts",
        "{session}-{next}.0.m4s",
    ],
)
async def test_what_is_no_segment(name: str, autojump_clock: MockClock) -> None:
    async with station() as castd:
        await get(castd, FIRST)
        segmenter = castd.server.segmenters.of(castd.mount("/live"))
        path = name.format(session=segmenter.session, next=segmenter.next_number)
        reply = await get(castd, f"/live/hls/{path}")
        assert reply.status == 404
        assert reply.headers["cache-control"] == "no-cache, no-store"
    async with bench() as nothing:
        assert (await get(nothing, FIRST)).status == 404
        assert (await get(nothing, "/live/hls/0123456789abcdef-1.ts")).status == 404


async def test_who_counts(autojump_clock: MockClock) -> None:
    async with station() as castd:
        await get(castd, FIRST)
        await get(castd, FIRST, method="HEAD")
        url = await media_url(castd)
        await get(castd, url, method="HEAD")
        assert heard(castd) == 0, "looking is not listening"
        for _ in range(3):
            await get(castd, url)
        assert heard(castd) == 1
        await get(castd, await media_url(castd))
        assert heard(castd) == 2, "each token is a listener"
        for _ in range(2):
            await get(castd, MEDIA, {"User-Agent": "another"})
        assert heard(castd) == 3, "without a token, a player by its name"
        [status] = json.loads((await get(castd, "/api/v1/status")).body)["mounts"]
        assert status["listeners"] == 3
        before = castd.mount("/live").bytes_sent
        segmenter = castd.server.segmenters.of(castd.mount("/live"))
        segment = await get(castd, f"/live/hls/{segmenter.session}-{segmenter.listed[0].number}.ts")
        assert castd.mount("/live").bytes_sent - before == len(segment.body)
        await trio.sleep(IDLE_SECONDS + 1)
        castd.server.sessions.tidy()
        assert heard(castd) == 0, "nobody asks any more"
        visits = [(each.kind, each.protocol, each.reason) for each in castd.server.records.recent]
        assert [each for each in visits if each[0] == "listener"] == [("listener", "hls", "left")] * 3


async def test_one_who_fell_asleep_comes_back(autojump_clock: MockClock) -> None:
    async with station() as castd:
        url = await media_url(castd)
        await get(castd, url)
        await trio.sleep(IDLE_SECONDS + 1)
        castd.server.sessions.tidy()
        assert (await get(castd, url)).status == 200
        assert heard(castd) == 1


async def test_kicked(autojump_clock: MockClock) -> None:
    async with station() as castd:
        url = await media_url(castd)
        await get(castd, url)
        clients = (await castd.ask(head("GET", "/admin/listclients?mount=/live", user=ADMIN))).text
        [listener] = re.findall(r"<ID>(\d+)</ID>", clients) or re.findall(r'listener id="(\d+)"', clients)
        killed = await castd.ask(head("GET", f"/admin/killclient?mount=/live&id={listener}", user=ADMIN))
        assert killed.status == 200
        assert heard(castd) == 0
        refused = await get(castd, url)
        assert refused.status == 403
        assert "kicked" in refused.text
        assert (await get(castd, await media_url(castd))).status == 200, "as anybody who connects again"


async def test_limits(autojump_clock: MockClock) -> None:
    async with station(settings={"max_listeners": 1, "max_listener_seconds": 10.0}) as castd:
        two = [await media_url(castd), await media_url(castd)]
        assert (await get(castd, two[0])).status == 200
        assert (await get(castd, two[1])).status == 503, "there was room when it came, and is none now"
        assert (await get(castd, FIRST)).status == 503
        await trio.sleep(11)
        castd.server.sessions.tidy()
        assert heard(castd) == 0
        assert "limit" in (await get(castd, two[0])).text
        assert (await get(castd, two[1])).status == 200


async def test_a_mount_for_some(autojump_clock: MockClock) -> None:
    async with station(settings={"link_key": "a long word"}) as castd:
        assert (await get(castd, FIRST)).status == 403
        assert (await get(castd, MEDIA)).status == 403
        assert (await get(castd, f"{MEDIA}?session=0123456789abcdef")).status == 403
        _, _, query = signed("a long word", "/live", 1 << 40, "anna").partition("?")
        reply = await get(castd, f"{FIRST}?{query}")
        assert reply.status == 200
        url = "/live/hls/" + reply.text.splitlines()[-1]
        assert "signature" not in url
        assert (await get(castd, url)).status == 200, "the token is enough"
        [listener] = castd.mount("/live").listeners.values()
        assert listener.user == "anna"
        assert (await get(castd, url.replace("/live/", "/other/"))).status == 404
        redirected = await get(castd, f"{MEDIA}?{query}")
        assert redirected.headers["location"] == f"{FIRST}?{query}", "for a token"


@pytest.mark.parametrize("settings", [{}, {"link_key": "a long word"}, {"allow_listeners": ("192.0.2.0/24",)}])
async def test_first_answers_for_caches(settings: dict[str, Any], autojump_clock: MockClock) -> None:
    """Where everybody may listen they have no token, and may be kept by caches that many share."""
    async with station(aac(), AAC, settings=settings) as castd:
        query = signed("a long word", "/live", 1 << 40, "anna").partition("?")[2] if "link_key" in settings else ""
        first = await get(castd, f"{FIRST}?shared&{query}")
        manifest = await get(castd, f"{MANIFEST}?shared&{query}")
        assert first.status == manifest.status == 200
        url = first.text.splitlines()[-1]
        if settings:
            assert "session=" in url
            assert b"<Location>" in manifest.body
            assert first.headers["cache-control"] == manifest.headers["cache-control"] == "no-store"
            media = await get(castd, f"/live/hls/{url}")
            assert media.headers["cache-control"].startswith("private, max-age=")
        else:
            assert url == "audio.m3u8"
            assert b"<Location>" not in manifest.body
            for each in (first, manifest, await get(castd, MEDIA)):
                assert each.headers["cache-control"].startswith("max-age=")


async def test_tokens_that_are_never_used_are_forgotten(autojump_clock: MockClock) -> None:
    async with station() as castd:
        await get(castd, FIRST)
        assert len(castd.server.sessions.states(castd.mount("/live"))) == 1
        await trio.sleep(UNHEARD_SECONDS + 1)
        castd.server.sessions.tidy()
        assert castd.server.sessions.states(castd.mount("/live")) == []
        assert not [each for each in castd.server.records.recent if each.kind == "listener"], "nobody was here"


async def test_a_flood_of_first_answers_is_no_flood_of_memory(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("castd.adaptive.sessions.UNHEARD", 5)
    monkeypatch.setattr("castd.adaptive.sessions.REMEMBERED", 3)
    async with station() as castd:
        urls = [await media_url(castd) for _ in range(12)]
        held = [each for each in gc.get_objects() if isinstance(each, Session) and each.mount is castd.mount("/live")]
        assert len(held) <= 5 + 3
        assert (await get(castd, urls[-1])).status == 200


async def test_a_mount_that_closes_and_comes_back(autojump_clock: MockClock) -> None:
    """Players that ask on are heard again, each as one."""
    async with station() as castd:
        heard_before, not_yet = await media_url(castd), await media_url(castd)
        await get(castd, heard_before)
        castd.server.registry.mounts.pop("/live").close(Goodbye.SOURCE_ENDED)
        encoder = await castd.encoder("/live")
        await encoder.send(frames(0, 1200))
        await wait_all_tasks_blocked()
        for url in (heard_before, not_yet, not_yet):
            assert (await get(castd, url)).status == 200
        await trio.sleep(IDLE_SECONDS - 1)
        await get(castd, not_yet)
        await trio.sleep(UNHEARD_SECONDS - IDLE_SECONDS)
        await get(castd, not_yet)
        castd.server.sessions.tidy()
        await get(castd, not_yet)
        assert [each.protocol for each in castd.mount("/live").listeners.values()] == ["hls"]


async def test_which_date_the_playlist_gives_a_media_time(autojump_clock: MockClock) -> None:
    """After a source that was lost, dates go on by the wall, and media times as if nothing had been."""
    async with bench(configured()) as castd:

        async def window() -> Any:
            return json.loads((await get(castd, "/api/v1/mounts/live/window")).body)

        castd.nursery.start_soon(castd.server.segmenters.run)
        async with await castd.encoder("/live") as encoder:
            await encoder.push(600)
            await wait_all_tasks_blocked()
            assert (await window())["dates"] == []
            url = await media_url(castd)
            (begun,) = (await window())["dates"]
        await trio.sleep(3)
        async with await castd.encoder("/live") as encoder:
            ended = castd.mount("/live").timeline.end
            await encoder.push(300)
            await trio.sleep(1)
            listed = hls.parse((await get(castd, url)).body).segments
            gap = next(each for each in listed if each.discontinuity != listed[0].discontinuity)
            packet = 0.027  # dates are put on a grid of these
            found = [(each["media_seconds"], each["date"]) for each in (await window())["dates"]]
            assert found[0] == (pytest.approx(0, abs=packet), pytest.approx(listed[0].date, abs=0.002))
            assert found[1] == (pytest.approx(ended, abs=packet), pytest.approx(gap.date, abs=0.002))
            assert [begun["media_seconds"], begun["date"]] == list(found[0])


async def test_a_limit_of_a_service_is_asked_for_again(autojump_clock: MockClock) -> None:
    """Who fell asleep does not lose it by coming back with the token alone."""
    async with station(settings={"link_key": "a long word"}) as castd:
        _, _, query = signed("a long word", "/live", 1 << 40, "anna").partition("?")
        url = "/live/hls/" + (await get(castd, f"{FIRST}?{query}")).text.splitlines()[-1]
        assert (await get(castd, url)).status == 200
        [session] = castd.mount("/live").listeners.values()
        assert isinstance(session, Session)
        session.most_seconds = 60.0  # as castd.access.url_auth gives it
        await trio.sleep(IDLE_SECONDS + 1)
        castd.server.sessions.tidy()
        assert (await get(castd, url)).status == 403


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("_HLS_part=1", 400),
        ("_HLS_msn=x", 400),
        ("_HLS_msn=-1", 400),
        ("_HLS_msn={far}", 400),
        ("_HLS_msn={last}", 200),
        ("_HLS_msn=5", 200),
        ("_HLS_msn={next}", 503),
        ("_HLS_msn={next}&_HLS_part=99", 400),
        ("_HLS_skip=YES", 200),
    ],
)
async def test_delivery_directives(query: str, status: int, autojump_clock: MockClock) -> None:
    async with station() as castd:
        url = await media_url(castd)
        following = castd.server.segmenters.of(castd.mount("/live")).next_number
        numbers = {"next": following, "last": following - 1, "far": following + 2}
        assert (await get(castd, f"{url}&{query.format_map(numbers)}")).status == status


async def test_dash(autojump_clock: MockClock) -> None:
    async with station(aac(), AAC) as castd:
        reply = await get(castd, MANIFEST)
        assert reply.headers["content-type"] == "application/dash+xml"
        assert heard(castd) == 0
        manifest = ElementTree.fromstring(reply.body)
        location = manifest.findtext(f"{{{NAMESPACE}}}Location") or ""
        assert location.startswith("http://radio.test/live/dash/manifest.mpd?session=")
        again = await get(castd, location.removeprefix("http://radio.test"))
        assert heard(castd) == 1
        assert again.headers["cache-control"] == "max-age=2"
        assert b"<Location>" not in again.body
        template = ElementTree.fromstring(again.body).find(f".//{{{NAMESPACE}}}SegmentTemplate")
        assert template is not None
        assert (await get(castd, f"/live/dash/{template.attrib['initialization']}")).status == 200
        segmenter = castd.server.segmenters.of(castd.mount("/live"))
        first = segmenter.listed[0]
        segment = await get(castd, "/live/dash/" + template.attrib["media"].replace("$Time$", str(first.start)))
        assert segment.headers["content-type"] == "audio/mp4"
        assert segment.body == first.data
        assert (await get(castd, f"/live/dash/{segmenter.session}-0t{first.start + 1}.m4s")).status == 404
        assert (await get(castd, f"/live/dash/{segmenter.session}-0t{segmenter.next_start[1]}.m4s")).status == 404
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", (await get(castd, "/live/dash/time")).text)


async def test_a_player_that_asks_for_the_first_manifest_again_and_again(autojump_clock: MockClock) -> None:
    async with station(aac(), AAC) as castd:
        for _ in range(3):
            assert (await get(castd, MANIFEST)).status == 200
        assert heard(castd) == 1
        await get(castd, MANIFEST, {"User-Agent": "another"})
        assert heard(castd) == 1, "one look"
        await get(castd, MEDIA)
        assert heard(castd) == 2, "the same program, by HLS"
        assert len(castd.server.sessions.states(castd.mount("/live"))) == 3


@pytest.mark.parametrize(
    ("path", "file", "kind", "words"),
    [
        (MANIFEST, "", "audio/mpeg", "DASH players do not play MP3; there are /live/hls/index.m3u8 and /live itself"),
        (FIRST, "vorbis.ogg", "audio/ogg", "Vorbis cannot be put into HLS or DASH segments; listen to /live itself"),
        (FIRST, "speex.spx", "audio/ogg", "cannot be put into HLS or DASH segments; listen to /live itself"),
    ],
)  # fmt: skip
async def test_what_there_is_instead(path: str, file: str, kind: str, words: str, autojump_clock: MockClock) -> None:
    content = (FIXTURES / file).read_bytes() if file else b""
    async with station(content, {"Content-Type": kind}) as castd:
        reply = await get(castd, path)
        assert reply.status == 404
        assert words in reply.text
        assert reply.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("settings", [{"hls": False}, {"no_mount": True}])
async def test_switched_off_while_somebody_listens(settings: dict[str, Any], autojump_clock: MockClock) -> None:
    async with station() as castd:
        playlist = (await get(castd, await media_url(castd))).text
        segment = "/live/hls/" + playlist.splitlines()[-1]
        assert (await get(castd, segment)).status == 200
        mount = castd.mount("/live")
        mount.reconfigure(replace(mount.settings, **settings))
        assert (await get(castd, segment)).status == 404


async def test_switched_off(autojump_clock: MockClock) -> None:
    async with station(settings={"hls": False}) as castd:
        assert (await get(castd, FIRST)).status == 404
        [mount] = json.loads((await get(castd, "/api/v1/mounts")).body)["mounts"]
        assert mount["links"]["hls"] is None


def test_what_a_request_may_wait_for() -> None:
    studio = Studio()
    segmenter = Segmenter(studio.mount)
    studio.play(14.2)
    catch_up(segmenter)
    segment = segmenter.open
    assert segment is not None
    number, done = segment.number, len(segment.parts)
    assert done >= 2
    assert playlists.has(segmenter, number - 1, None)
    assert not playlists.has(segmenter, number, None)
    assert playlists.has(segmenter, number, done - 1)
    assert not playlists.has(segmenter, number, done)
    past_its_end = len(segmenter.listed[-1].parts)
    assert playlists.has(segmenter, number - 1, past_its_end), "the first part of the next is there"
    studio.play(0.6)
    catch_up(segmenter)
    assert playlists.has(segmenter, number, done)


async def test_what_is_being_made_is_waited_for(autojump_clock: MockClock) -> None:
    async with bench() as castd:
        castd.nursery.start_soon(castd.server.segmenters.run)
        data = aac()
        async with await castd.encoder("/live", AAC) as encoder:
            await encoder.send(data[:300_000])
            await wait_all_tasks_blocked()
            url = await media_url(castd)
            segmenter = castd.server.segmenters.of(castd.mount("/live"))
            number, part = segmenter.next_part
            name = f"{segmenter.session}-{number}.{part}.m4s"
            replies: dict[str, Reply] = {}

            async def ask(path: str) -> None:
                replies[path] = await get(castd, path)

            async with trio.open_nursery() as nursery:
                for path in (f"/live/hls/{name}", f"{url}&_HLS_msn={number}&_HLS_part={part}"):
                    nursery.start_soon(ask, path)
                await wait_all_tasks_blocked()
                assert not replies
                await encoder.send(data[300_000:330_000])
            assert [each.status for each in replies.values()] == [200, 200]
            made = segmenter.find(number)
            assert made is not None
            assert replies[f"/live/hls/{name}"].body == made.parts[part].data
            assert replies[f"/live/hls/{name}"].headers["cache-control"].endswith("immutable")
            waiting = await get(castd, f"/live/hls/{segmenter.session}-{segmenter.next_number}.{99}.m4s")
            assert waiting.status == 404, "only what comes next is waited for"


async def test_whoever_waits_is_let_go_when_nothing_comes(autojump_clock: MockClock) -> None:
    async with station(aac(), AAC) as castd:
        await get(castd, FIRST)
        mount = castd.mount("/live")
        segmenter = castd.server.segmenters.of(mount)
        all_but_the_last_frame = len(aac()) - 1000
        await until(lambda: segmenter.reading.position == mount.ring.head > all_but_the_last_frame)
        await trio.sleep(1)  # for what is still on its way
        number, part = segmenter.next_part
        begun = trio.current_time()
        reply = await get(castd, f"/live/hls/{segmenter.session}-{number}.{part}.m4s")
        assert reply.status == 404
        assert trio.current_time() - begun == pytest.approx(12, abs=0.5), "three target durations"

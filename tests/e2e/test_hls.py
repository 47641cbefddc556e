"""HLS and DASH with the programs people play them with."""

from __future__ import annotations

import math
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from time import time
from xml.etree import ElementTree

import pytest
import trio

from tests import hls
from tests.e2e.client import get
from tests.e2e.media import AAC, FLAC, MP3, OPUS, Media
from tests.e2e.peers import chromium, segment_players
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.peers.players import Player, play
from tests.e2e.program import Program, until
from tests.e2e.server import ADMIN_PASSWORD, Castd, live, set_title, status

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg")]

FORMATS = (AAC, OPUS, FLAC, MP3)

HEARD_SECONDS = 10.0
"""What a player has to decode: more than the segments it gets at once."""

WITHIN_SECONDS = 60.0

PATIENCE_SECONDS = 45.0

HOLD_BACK_SECONDS = 6.0
"""Nearer than three of these segments to the live end no player may be that does not know parts."""

SHORT = "hls_segment_seconds = 2.0\nhls_window_seconds = 12.0"


@asynccontextmanager
async def station(
    folder: Path, media: Mapping[str, Media], settings: str = "", formats: Sequence[str] = (), *, again: bool = False
) -> AsyncIterator[Castd]:
    """castd with an encoder for each format, there for three segments: GStreamer 1.22 asks for nothing more
    where its first playlist has fewer."""
    async with Castd(folder / "castd", f"[delivery]\n{SHORT}\n{settings}") as server, AsyncExitStack() as encoders:
        names = formats or [each.name for each in FORMATS]
        for name in names:
            encoder = publish(media[name], server, f"/{name}", folder / f"{name}.log", again=again)
            await encoders.enter_async_context(encoder)
        for name in names:
            await live(server, f"/{name}")

        async def filled() -> bool:
            found = [await get(f"{server.address}/{name}/hls/audio.m3u8") for name in names]
            return all(each.status == 200 and len(hls.parse(bytes(each.body)).complete) >= 3 for each in found)

        await until(filled, seconds=PATIENCE_SECONDS, what="three segments of each", every_seconds=0.5)
        yield server


def hls_url(server: Castd, name: str) -> str:
    return f"{server.address}/{name}/hls/index.m3u8"


def dash_url(server: Castd, name: str) -> str:
    return f"{server.address}/{name}/dash/manifest.mpd"


FFMPEG = Player("ffmpeg", (), lambda url, wav: ["-nostdin", "-v", "error", "-i", url, "-flush_packets", "1", wav])

GSTREAMER = Player(
    "gst-launch-1.0",
    (),
    lambda url, wav: [
        *("-q", "playbin3", f"uri={url}"),
        f"audio-sink=audioconvert ! audio/x-raw,format=S16LE ! wavenc ! filesink buffer-mode=unbuffered location={wav}",
    ],
)

VLC = Player(
    "cvlc",
    (),
    lambda url, wav: ["-I", "dummy", "--no-video", "--aout=afile", f"--audiofile-file={wav}", url],
    unprivileged=True,
)


@pytest.mark.needs("gst-launch-1.0", "cvlc")
async def test_players_play_it(media: Mapping[str, Media], tmp_path: Path) -> None:
    async with station(tmp_path, media) as server:
        plays = [
            *((FFMPEG, hls_url(server, each.name)) for each in FORMATS),
            *((FFMPEG, dash_url(server, each.name)) for each in (AAC, OPUS, FLAC)),
            *((GSTREAMER, hls_url(server, each.name)) for each in (AAC, MP3)),
            *((VLC, hls_url(server, each.name)) for each in (AAC, MP3)),
        ]
        async with trio.open_nursery() as nursery:
            for number, (player, url) in enumerate(plays):
                log = tmp_path / f"player-{number}.log"
                nursery.start_soon(play, player, url, log, HEARD_SECONDS, WITHIN_SECONDS)


PLAYS_SECONDS = 30.0

LOW_LATENCY_SECONDS = 3.0

OFF_SECONDS = 3.0
"""For which a source is away."""

TITLE_SECONDS = 0.5
"""By which a title may come too early or too late."""

PACE = 0.05
"""By which players may play faster or slower, to be where they want to be."""


TITLE_WAYS: Mapping[str, Sequence[str]] = {
    "hls.js aac": ("fragment", "TIT2", "X-TITLE"),
    "near hls.js": ("fragment", "TIT2", "X-TITLE"),
    "near shaka": ("metadata",),
    "dash.js aac": ("event",),
    "shaka aac": ("region",),
}
"""By which ways each player tells of them."""


@pytest.mark.needs("chromium")
async def test_browsers_play_it(media: Mapping[str, Media], tmp_path: Path) -> None:
    """Half a minute of everything, all at once: without a stall, near the live end, with titles where they belong, and
    on when a source was away."""
    root = tmp_path / "root"
    root.mkdir()
    segment_players.make_page(root)
    with_dash = (AAC.name, OPUS.name, FLAC.name)
    async with (
        station(tmp_path, media, f'\n[files]\nroot = "{root}"\n', again=True) as server,
        AsyncExitStack() as encoders,
    ):
        leaving = publish(media[AAC.name], server, "/leaves", tmp_path / "leaves.log")
        await encoders.enter_async_context(leaving)
        await live(server, "/leaves")
        await set_title(server, "/aac", "Ärtist - First")
        told: dict[str, float] = {}

        async def tell(title: str) -> None:
            await set_title(server, "/aac", f"Ärtist - {title}")
            told[title] = time()

        async def come_back() -> None:
            await encoders.enter_async_context(
                publish(media[AAC.name], server, "/leaves", tmp_path / "back.log", again=True)
            )

        def scenario(visit: chromium.Visit) -> None:
            page = visit.open(f"{server.address}/{segment_players.PAGE}")
            for each in FORMATS:
                segment_players.begin(page, f"hls.js {each.name}", "hls.js", hls_url(server, each.name))
            for name in with_dash:
                segment_players.begin(page, f"dash.js {name}", "dash.js", dash_url(server, name))
                segment_players.begin(page, f"shaka {name}", "shaka", dash_url(server, name))
            steady = page.evaluate("Object.keys(players)")
            near, left = {}, []
            for kind in ("hls.js", "shaka"):
                near[f"near {kind}"] = list[float]()
                left.append(f"left {kind}")
                segment_players.begin(page, f"near {kind}", kind, hls_url(server, AAC.name), low_latency=True)
                segment_players.begin(page, f"left {kind}", kind, hls_url(server, "leaves"))
            segment_players.wait_for_sound(page, [*steady, *near, *left], PATIENCE_SECONDS)
            before = segment_players.measure(page, steady)
            trio.from_thread.run(tell, "Second")
            trio.from_thread.run(leaving.stop)
            page.wait_for_timeout(1000 * OFF_SECONDS)
            trio.from_thread.run(come_back)
            back = time()
            for _ in range(10):
                for name, heard in segment_players.measure(page, [*near]).items():
                    near[name].append(heard.latency)
                page.wait_for_timeout(1000)
            titles = {name: segment_players.titles(page, name) for name in TITLE_WAYS}
            trio.from_thread.run(tell, "Third")
            since = {name: heard.time for name, heard in before.items()}
            segment_players.wait_for_progress(page, since, PLAYS_SECONDS, PATIENCE_SECONDS)
            for name, heard in segment_players.measure(page, steady).items():
                assert heard.decoded_bytes > before[name].decoded_bytes > 0, name
                assert not heard.errors, (name, heard.errors)
                assert not heard.stalls, (name, heard.stalls)
                assert heard.ranges == 1, (name, "nothing is missing in between")
                assert heard.jumps == before[name].jumps, name
                advanced, passed = heard.time - before[name].time, heard.clock - before[name].clock
                assert abs(advanced / passed - 1) < PACE, (name, advanced, passed)
            assert min(map(median, near.values())) < LOW_LATENCY_SECONDS, near
            assert max(map(median, near.values())) < HOLD_BACK_SECONDS, near
            segment_players.wait_for_wall(page, left, back + PLAYS_SECONDS / 3, PATIENCE_SECONDS)
            for name, heard in segment_players.measure(page, left).items():
                assert not heard.errors, (name, heard.errors)
            for name, ways in TITLE_WAYS.items():
                titles[name] += segment_players.titles(page, name)
                second = [(way, wall) for way, text, wall in titles[name] if "Second" in text]
                for way in ways:
                    first = min((wall for how, wall in second if how == way), default=math.inf)
                    assert abs(first - told["Second"]) < TITLE_SECONDS, (name, way, second, told)
            assert not visit.errors, visit.errors

        await chromium.visit(tmp_path / "profile", scenario)
        found = await status(server, "/aac")
        assert found is not None
        assert found["listeners"] >= 5


SAMPLES_SECONDS = 24.0

WARM_SECONDS = 0.2
"""Decoders need what was before the first packet: MP3 its bit reservoir, AAC half a frame, Opus 80 ms."""


async def test_every_sample_is_heard_and_an_upgrade_is_not(media: Mapping[str, Media], tmp_path: Path) -> None:
    async with station(tmp_path, media) as server, AsyncExitStack() as decoders:
        urls = {each.name: hls_url(server, each.name) for each in FORMATS} | {"dash": dash_url(server, AAC.name)}
        heard = {name: tmp_path / f"{name}.s16" for name in urls}
        running = [
            await decoders.enter_async_context(
                Program(
                    # at the speed of sound: of DASH, ffmpeg fetches old segments again where it is faster than they are
                    [*QUIET, "-re", "-i", url, "-t", f"{SAMPLES_SECONDS:g}", *RAW, heard[name]],
                    tmp_path / f"decoder-{name}.log",
                )
            )
            for name, url in urls.items()
        ]

        async def begun() -> bool:
            return all(file.exists() and file.stat().st_size > 0 for file in heard.values())

        async def ended() -> bool:
            return not any(each.running for each in running)

        async def counted() -> list[set[str]] | None:
            found = [await listeners(server, each.name) for each in FORMATS]
            return found if [len(each) for each in found] == [2, 1, 1, 1] else None

        await until(begun, seconds=PATIENCE_SECONDS, what="sound from everywhere")
        before = await until(counted, seconds=PATIENCE_SECONDS, what="the second request for the manifest")
        await server.upgrade()
        assert [await listeners(server, each.name) for each in FORMATS] == before, "they are whom they were"
        await until(ended, seconds=SAMPLES_SECONDS + PATIENCE_SECONDS, what="the end of all decoders")
        assert [each.text() for each in running if each.text()] == []
    for name, file in heard.items():
        sent = await trio.run_process(
            ["ffmpeg", "-v", "error", "-i", str(media[name if name != "dash" else AAC.name].path), *RAW, "pipe:1"],
            capture_stdout=True,
        )
        rate = 2 * (48_000 if name == OPUS.name else 44_100)
        require_same_samples(name, rate, array("h", file.read_bytes()), array("h", sent.stdout))


QUIET = ("ffmpeg", "-nostdin", "-v", "error")
RAW = ("-f", "s16le", "-ac", "2")


async def listeners(server: Castd, name: str) -> set[str]:
    """Ids of the ffmpegs that listen."""
    reply = await get(f"{server.address}/admin/listclients?mount=/{name}", ("admin", ADMIN_PASSWORD))
    found = ElementTree.fromstring(reply.body).iter("listener")
    return {each.findtext("ID") or "" for each in found if "Lavf" in (each.findtext("UserAgent") or "")}


def require_same_samples(name: str, rate: int, heard: array[int], sent: array[int]) -> None:
    """What was heard is one unbroken piece of what was sent, but for its beginning; rounding may differ by 1.

    Args:
        rate: samples of all channels in a second.
    """
    assert len(heard) >= (SAMPLES_SECONDS - 0.1) * rate, f"{name}: {len(heard) / rate:.2f} s"
    warm = int(WARM_SECONDS * rate) // 2 * 2
    whole = sent.tobytes()
    for start in range(rate, 5 * rate, 1000):
        place = whole.find(heard[start : start + 500].tobytes())
        if place >= 0:
            break
    else:
        raise AssertionError(f"{name}: nothing of it was sent")
    shift = place // 2 - start
    assert len(sent) >= shift + len(heard), f"{name}: the file ended before"
    wrong = [at for at in range(warm, len(heard)) if abs(heard[at] - sent[at + shift]) > 1]
    assert not wrong, f"{name}: {len(wrong)} samples differ, the first at {wrong[0] / rate:.3f} s"

"""HLS and DASH with the programs people play them with."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
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
    folder: Path, media: Mapping[str, Media], settings: str = "", formats: Sequence[str] = ()
) -> AsyncIterator[Castd]:
    """castd with an encoder for each format, there for three segments: GStreamer 1.22 asks for nothing more
    where its first playlist has fewer."""
    async with Castd(folder / "castd", f"[delivery]\n{SHORT}\n{settings}") as server, AsyncExitStack() as encoders:
        names = formats or [each.name for each in FORMATS]
        for name in names:
            await encoders.enter_async_context(publish(media[name], server, f"/{name}", folder / f"{name}.log"))
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


@pytest.mark.needs("chromium")
async def test_browsers_play_it(media: Mapping[str, Media], tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    segment_players.make_page(root)
    async with station(tmp_path, media, f'\n[files]\nroot = "{root}"\n') as server:
        await set_title(server, "/aac", "Ärtist - First")

        def scenario(visit: chromium.Visit) -> Mapping[str, segment_players.Heard]:
            page = visit.open(f"{server.address}/{segment_players.PAGE}")
            for each in FORMATS:
                segment_players.begin(page, f"hls.js {each.name}", "hls.js", hls_url(server, each.name))
            for name in (AAC.name, OPUS.name, FLAC.name):
                segment_players.begin(page, f"dash.js {name}", "dash.js", dash_url(server, name))
            segment_players.begin(page, "shaka dash", "shaka", dash_url(server, AAC.name))
            segment_players.begin(page, "low hls.js", "hls.js", hls_url(server, AAC.name), low_latency=True)
            segment_players.begin(page, "low shaka", "shaka", hls_url(server, AAC.name), low_latency=True)
            names = page.evaluate("Object.keys(players)")
            segment_players.wait_for_sound(page, names, PATIENCE_SECONDS)
            before = segment_players.measure(page, names)
            trio.from_thread.run(set_title, server, "/aac", "Ärtist - Second")
            since = {name: heard.time for name, heard in before.items()}
            segment_players.wait_for_progress(page, since, HEARD_SECONDS, PATIENCE_SECONDS)
            heard = segment_players.measure(page, names)
            for name in ("hls.js aac", "low hls.js"):
                titles = page.evaluate("name => players[name].titles.map(title => title[0])", name)
                assert any("Second" in each for each in titles), titles
                assert page.evaluate("name => players[name].dates()", name)[-1] == "Ärtist - Second"
            assert page.evaluate("players['dash.js aac'].titles.length") >= 1
            assert not visit.errors, visit.errors
            return heard

        heard = await chromium.visit(tmp_path / "profile", scenario)
        for name, each in heard.items():
            assert each.decoded_bytes > 0, name
            assert not each.errors, (name, each.errors)
        for name in ("low hls.js", "low shaka"):
            # about 2.3 s and 1.5 s where the machine has nothing else to do (docs/hls.md)
            assert heard[name].latency < HOLD_BACK_SECONDS, heard[name]
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

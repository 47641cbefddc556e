"""HLS and DASH with the programs people play them with."""

from __future__ import annotations

import math
import os
import tempfile
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import time
from xml.etree import ElementTree

import pytest
import trio

from tests import hls
from tests.e2e.client import get
from tests.e2e.media import AAC, FLAC, MP3, OPUS, Media, make
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
    where its first playlist has one."""
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


SAMPLES_SECONDS = 60.0

SENT_SECONDS = 120
"""Time enough for players that begin late."""

WARM_SECONDS = 0.5
"""Decoders need what was before the first packet: MP3 its bit reservoir, AAC half a frame, Opus 80 ms or, in the
middle of an Ogg stream, some more."""

BACK_SECONDS = 8
"""By which some go back on the plain stream."""

QUIET = ("ffmpeg", "-nostdin", "-v", "error")
RAW = ("-f", "s16le", "-ac", "2")


@dataclass(frozen=True)
class Ear:
    """A player that listens for a minute.

    Attributes:
        media: the name of what it hears.
        command: the program and its arguments.
        samples: where it writes them, perhaps behind a header of WAV.
    """

    media: str
    command: Sequence[str | Path]
    samples: Path
    unprivileged: bool = False

    @property
    def heard_bytes(self) -> int:
        return self.samples.stat().st_size if self.samples.exists() else 0

    def heard(self) -> array[int]:
        """The samples."""
        data = self.samples.read_bytes()
        begins = data.index(b"data") + 8 if data.startswith(b"RIFF") else 0
        return array("h", data[begins : begins + (len(data) - begins) // 4 * 4])


def rate_of(name: str) -> int:
    """Samples of both channels in a second."""
    return 2 * (48_000 if name == OPUS.name else 44_100)


def ears(server: Castd, folder: Path) -> Mapping[str, Ear]:
    """Everybody, by what is wrong if it is wrong."""
    found = {}

    def ffmpeg(way: str, name: str, url: str, *options: str) -> None:
        samples = folder / f"ffmpeg-{way}-{name}"
        found[f"ffmpeg {way} {name}"] = Ear(name, [*QUIET, *options, "-i", url, *RAW, samples], samples)

    for each in FORMATS:
        name, url = each.name, hls_url(server, each.name)
        ffmpeg("hls", name, url, "-re")
        if each is not MP3:
            # at the speed of sound: ffmpeg fetches old segments again where it is faster than they are
            ffmpeg("dash", name, dash_url(server, name), "-re")
        ffmpeg("back", name, f"{server.address}/{name}?t=-{BACK_SECONDS}")
        samples = folder / f"gstreamer-{name}"
        plain = "audioconvert dithering=none noise-shaping=none ! audio/x-raw,format=S16LE,layout=interleaved"
        sink = f"audio-sink={plain} ! filesink buffer-mode=unbuffered location={samples}"
        found[f"GStreamer {name}"] = Ear(name, ["gst-launch-1.0", "-q", "playbin3", f"uri={url}", sink], samples)
        samples = folder / f"vlc-{name}"
        # not by its clock, which leaves sound out where the machine is too busy
        output = ["--no-video", f"--sout=#transcode{{acodec=s16l}}:std{{access=file,mux=wav,dst={samples}}}"]
        found[f"VLC {name}"] = Ear(name, ["cvlc", "-I", "dummy", *output, url], samples, unprivileged=True)
    return found


@pytest.mark.needs("gst-launch-1.0", "cvlc")
async def test_every_sample_is_heard_and_an_upgrade_is_not(tmp_path: Path) -> None:
    """A minute of HLS, DASH and the plain stream with its past, in all players at once: it is what was sent, sample by
    sample. The sound never repeats, so each sample has one place."""
    media = make(tmp_path, FORMATS, SENT_SECONDS)
    with tempfile.TemporaryDirectory(prefix="castd-ears.") as name:
        folder = Path(name)
        os.chmod(folder, 0o777)  # for a player that runs as nobody
        past = "[mounts.default]\nrewind_seconds = 120"
        async with station(tmp_path, media, past) as server, AsyncExitStack() as programs:
            playing = ears(server, folder)
            running = {
                who: await programs.enter_async_context(
                    Program(
                        each.command,
                        tmp_path / f"{who}.log",
                        environment={"HOME": folder, "XDG_RUNTIME_DIR": folder} if each.unprivileged else {},
                        unprivileged=each.unprivileged,
                    )
                )
                for who, each in playing.items()
            }

            async def silent() -> list[str]:
                return [who for who, each in playing.items() if not each.heard_bytes]

            async def begun() -> bool:
                return not await silent()

            async def enough() -> bool:
                return all(
                    each.heard_bytes > 2 * rate_of(each.media) * (SAMPLES_SECONDS + WARM_SECONDS)
                    for each in playing.values()
                )

            async def counted() -> list[set[str]] | None:
                found = [await listeners(server, each.name) for each in FORMATS]
                return found if [len(each) for each in found] == [3, 3, 3, 2] else None

            try:
                await until(begun, seconds=PATIENCE_SECONDS, what="sound from everywhere")
            except AssertionError as error:
                raise AssertionError(f"{error}: {[(who, running[who].text()) for who in await silent()]}") from None
            before = await until(counted, seconds=PATIENCE_SECONDS, what="the second requests for manifests")
            await server.upgrade()
            assert [await listeners(server, each.name) for each in FORMATS] == before, "they are whom they were"
            try:
                await until(enough, seconds=SAMPLES_SECONDS + PATIENCE_SECONDS, what="a minute in all players")
            except AssertionError as error:
                heard = {who: each.heard_bytes / 2 / rate_of(each.media) for who, each in playing.items()}
                raise AssertionError(f"{error}: {heard}") from None
            assert [running[who].text() for who in playing if who.startswith("ffmpeg") and running[who].text()] == []
        sent = {each.name: await what_is_sent(media[each.name]) for each in FORMATS}
        for who, each in playing.items():
            require_same_samples(who, rate_of(each.media), each.heard(), sent[each.media])


async def what_is_sent(media: Media) -> array[int]:
    """What a file decodes to."""
    decoded = await trio.run_process([*QUIET, "-i", str(media.path), *RAW, "pipe:1"], capture_stdout=True)
    return array("h", decoded.stdout)


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
    assert len(heard) >= SAMPLES_SECONDS * rate, f"{name}: {len(heard) / rate:.2f} s"
    whole = sent.tobytes()
    for start in range(rate, 8 * rate, 1000):
        place = whole.find(heard[start : start + 40].tobytes())
        if place >= 0:
            break
    else:
        raise AssertionError(f"{name}: nothing of it was sent")
    shift = place // 2 - start
    assert len(sent) >= shift + len(heard), f"{name}: the file ended before"
    for at in range(int(WARM_SECONDS * rate) // 2 * 2, len(heard), rate):
        one, other = heard[at : at + rate], sent[at + shift : at + shift + rate]
        if one != other:
            wrong = [number for number, pair in enumerate(zip(one, other, strict=False)) if abs(pair[0] - pair[1]) > 1]
            assert not wrong, f"{name}: {len(wrong)} samples differ, the first at {(at + wrong[0]) / rate:.3f} s"

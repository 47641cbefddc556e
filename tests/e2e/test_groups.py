"""Groups with the programs people play them with: on a narrow line, and whether renditions carry the same moment."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import time
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
import trio

from tests import hls
from tests.e2e.client import get
from tests.e2e.media import AAC, MP3, Media
from tests.e2e.peers import chromium, segment_players
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.peers.players import play
from tests.e2e.program import until
from tests.e2e.server import Castd, live, status
from tests.e2e.test_hls import FFMPEG, GSTREAMER, VLC, dash_url, hls_url

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg")]

SETTINGS = """\
[delivery]
hls_segment_seconds = 2.0
hls_window_seconds = 24.0
[groups."/radio"]
mounts = ["/aac", "/aac-low"]
[groups."/mp3-radio"]
mounts = ["/mp3", "/mp3-low"]
[mounts."/aac-low"]
transcode_from = "/aac"
codec = "aac"
bitrate = 24_000
[mounts."/mp3-low"]
transcode_from = "/mp3"
codec = "mp3"
bitrate = 32_000
"""

TWO_MOUNTS = """\
[delivery]
hls_segment_seconds = 2.0
[groups."/radio"]
mounts = ["/one", "/two"]
"""

HEARD_SECONDS, WITHIN_SECONDS, PATIENCE_SECONDS = 8.0, 90.0, 90.0

NARROW_BYTES, WIDE_BYTES = 12_500, 50_000
"""A second: too little for the better quality, and enough; no more, since hls.js forgets slowly how wide a line was."""

LATENCY_MS = 20
"""Players take what comes at once for something that was in their cache, and learn nothing of the network from it."""

BETTER_BITS = 80_000
"""Between the two qualities."""

QUALITY = """
name => {
  const { player } = players[name];
  if (player.levels) return player.levels[player.currentLevel]?.bitrate ?? 0;
  if (player.getVariantTracks) return player.getVariantTracks().find(track => track.active)?.bandwidth ?? 0;
  return player.getCurrentRepresentationForType("audio")?.bandwidth ?? 0;
}
"""


@asynccontextmanager
async def station(folder: Path, media: Mapping[str, Media], settings: str = "") -> AsyncIterator[Castd]:
    """castd with two encoders, there for three segments of each group."""
    async with Castd(folder / "castd", SETTINGS + settings) as server, AsyncExitStack() as encoders:
        for each in (AAC, MP3):
            log = folder / f"{each.name}.log"
            await encoders.enter_async_context(publish(media[each.name], server, f"/{each.name}", log, again=True))
        for each in (AAC, MP3):
            await live(server, f"/{each.name}")

        async def filled() -> bool:
            found = [await variants(server, group) for group in ("radio", "mp3-radio")]
            return all(len(each) == 2 and all(len(one.complete) >= 4 for one in each.values()) for each in found)

        await until(filled, seconds=PATIENCE_SECONDS, what="some segments of each", every_seconds=1.0)
        yield server


async def variants(server: Castd, group: str) -> dict[str, hls.Playlist]:
    """The media playlists of a group, by URL."""
    first = await get(hls_url(server, group))
    if first.status != 200:
        return {}
    hls.check_multivariant(bytes(first.body))
    lines = bytes(first.body).decode().splitlines()
    urls = [urljoin(hls_url(server, group), line) for line in lines if not line.startswith("#")]
    replies = {url: await get(url) for url in urls}
    return {url: hls.parse(bytes(reply.body)) for url, reply in replies.items() if reply.status == 200}


@pytest.mark.needs("gst-launch-1.0", "cvlc")
async def test_players_play_a_group(media: Mapping[str, Media], tmp_path: Path) -> None:
    async with station(tmp_path, media) as server:
        # now: where the file begins anew, some frames of MP3 cannot be decoded, and the rendition lacks them
        for group in ("radio", "mp3-radio"):
            await require_same_moments(server, group)
        plays = [
            *((FFMPEG, hls_url(server, name)) for name in ("radio", "mp3-radio")),
            (FFMPEG, dash_url(server, "radio")),
            (FFMPEG, f"{server.address}/radio"),
            *((GSTREAMER, hls_url(server, name)) for name in ("radio", "mp3-radio")),
            *((VLC, hls_url(server, name)) for name in ("radio", "mp3-radio")),
        ]
        async with trio.open_nursery() as nursery:
            for number, (player, url) in enumerate(plays):
                log = tmp_path / f"player-{number}.log"
                nursery.start_soon(play, player, url, log, HEARD_SECONDS, WITHIN_SECONDS)


SAMPLE_RATE = 8000

APART_SECONDS = 0.06
"""By which a rendition may be beside its original: two encoders' delays."""


async def require_same_moments(server: Castd, group: str) -> None:
    """The variants' playlists keep the rules, and segments of one number hold the same sound."""
    found = await variants(server, group)
    hls.check_variants(list(found.values()))
    for url, playlist in found.items():
        if "EXT-X-PART-INF" in playlist.once:
            reported = {urljoin(url, each["URI"]): int(each["LAST-MSN"]) for each in playlist.reports}
            others = {other.partition("?")[0]: one for other, one in found.items() if other != url}
            assert reported.keys() == others.keys(), "how far the others are (bis §4.4.5.4)"
            assert all(abs(others[other].segments[-1].number - msn) <= 1 for other, msn in reported.items())
    common = set.intersection(*({each.number for each in one.complete} for one in found.values()))
    numbers = sorted(common)[-4:-1]
    heard = []
    for url, playlist in found.items():
        chosen = [each for each in playlist.complete if each.number in numbers]
        assert [each.number for each in chosen] == numbers
        parts = [chosen[0].map_uri] if chosen[0].map_uri else []
        files = [await get(urljoin(url, uri)) for uri in (*parts, *(each.uri for each in chosen))]
        assert all(each.status == 200 for each in files)
        raw = ["-f", "s16le", "-ac", "1", "-ar", f"{SAMPLE_RATE}", "pipe:1"]
        result = await trio.run_process(
            ["ffmpeg", "-nostdin", "-v", "error", "-i", "pipe:0", *raw],
            stdin=b"".join(bytes(each.body) for each in files),
            capture_stdout=True,
        )
        heard.append((chosen[0].date or 0.0, array("h", result.stdout)))
    (one_date, one), (other_date, other) = heard
    lag = lag_of(one, other) / SAMPLE_RATE + other_date - one_date
    print(f"{group}: {lag * 1000:.1f} ms apart")
    assert abs(lag) < APART_SECONDS, f"{group}: {lag * 1000:.0f} ms apart"


def lag_of(one: array[int], other: array[int]) -> int:
    """By how many samples the second is behind the first, where they are most alike."""
    start, length, most = SAMPLE_RATE, SAMPLE_RATE // 4, SAMPLE_RATE // 5
    piece = one[start : start + length]

    def likeness(lag: int) -> int:
        return sum(a * b for a, b in zip(piece, other[start + lag : start + lag + length], strict=True))

    return max(range(-most, most), key=likeness)


@pytest.mark.needs("chromium")
async def test_a_narrow_line_changes_the_quality(media: Mapping[str, Media], tmp_path: Path) -> None:
    """Down where the network is slow and up again where it is not, without a stall and with nothing missing."""
    root = tmp_path / "root"
    root.mkdir()
    segment_players.make_page(root)
    async with station(tmp_path, media, f'[files]\nroot = "{root}"\n') as server:
        plays = {
            "hls.js": ("hls.js", hls_url(server, "radio"), False),
            "near": ("hls.js", hls_url(server, "radio"), True),
            "shaka": ("shaka", hls_url(server, "radio"), False),
            "dash.js": ("dash.js", dash_url(server, "radio"), False),
            "ts": ("hls.js", hls_url(server, "mp3-radio"), False),
        }

        async def listeners() -> dict[str, int]:
            found = {name: await status(server, f"/{name}") for name in ("aac", "aac-low", "mp3", "mp3-low")}
            return {name: int(each["listeners"]) if each else 0 for name, each in found.items()}

        def scenario(visit: chromium.Visit) -> dict[str, dict[str, int]]:
            pages: dict[str, Page] = {}
            lines = {}
            seen = {}
            for name, (kind, url, low_latency) in plays.items():
                page = pages[name] = visit.open(f"{server.address}/{segment_players.PAGE}")
                lines[name] = page.context.new_cdp_session(page)
                lines[name].send("Network.enable")
                throttle(lines[name], WIDE_BYTES)
                segment_players.begin(page, name, kind, url, low_latency=low_latency)
            for name, page in pages.items():
                segment_players.wait_for_sound(page, [name], PATIENCE_SECONDS)
                wait_for_quality(page, name, better=True)
            before = {name: segment_players.measure(page, [name])[name] for name, page in pages.items()}
            for what, width in (("narrow", NARROW_BYTES), ("wide", WIDE_BYTES)):
                for line in lines.values():
                    throttle(line, width)
                for name, page in pages.items():
                    wait_for_quality(page, name, better=width == WIDE_BYTES)
                since = {name: segment_players.measure(page, [name])[name].time for name, page in pages.items()}
                for name, page in pages.items():
                    segment_players.wait_for_progress(page, {name: since[name]}, HEARD_SECONDS, PATIENCE_SECONDS)
                seen[what] = trio.from_thread.run(listeners)
            for name, page in pages.items():
                heard = segment_players.measure(page, [name])[name]
                assert not heard.errors, (name, heard.errors)
                if name != "near":  # so near to the live end a narrow line has nothing to give
                    assert not heard.stalls, (name, heard.stalls)
                    assert heard.ranges == 1, (name, "nothing is missing in between")
                    assert heard.jumps == before[name].jumps, name
            return seen

        seen = await chromium.visit(tmp_path / "profile", scenario)
        assert seen["narrow"] == {"aac": 0, "aac-low": 4, "mp3": 0, "mp3-low": 1}, "each is one listener, and moves"
        assert seen["wide"] == {"aac": 4, "aac-low": 0, "mp3": 1, "mp3-low": 0}


def throttle(line: object, width: int) -> None:
    """Have a page get so many bytes a second."""
    line.send(  # type: ignore[attr-defined]
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": LATENCY_MS, "downloadThroughput": width, "uploadThroughput": WIDE_BYTES},
    )


def wait_for_quality(page: Page, name: str, *, better: bool) -> None:
    sign = ">" if better else "<"
    condition = f"name => {{ const bits = ({QUALITY})(name); return bits > 0 && bits {sign} {BETTER_BITS}; }}"
    try:
        page.wait_for_function(condition, arg=name, timeout=PATIENCE_SECONDS * 1000)
    except Exception as error:
        told = segment_players.measure(page, [name])[name]
        raise AssertionError(f"{name}: {page.evaluate(QUALITY, name)} bit/s; {told}") from error


@pytest.mark.needs("chromium")
async def test_one_mount_goes_away_and_comes_back(media: Mapping[str, Media], tmp_path: Path) -> None:
    """Whoever hears it goes on with the other one."""
    root = tmp_path / "root"
    root.mkdir()
    segment_players.make_page(root)
    settings = f'{TWO_MOUNTS}[files]\nroot = "{root}"\n'
    async with Castd(tmp_path / "castd", settings) as server, AsyncExitStack() as encoders:
        first = publish(media[AAC.name], server, "/one", tmp_path / "one.log", again=True)
        for each in (first, publish(media[AAC.name], server, "/two", tmp_path / "two.log", again=True)):
            await encoders.enter_async_context(each)
        for mount in ("/one", "/two"):
            await live(server, mount)

        async def filled() -> bool:
            found = await variants(server, "radio")
            return len(found) == 2 and all(len(each.complete) >= 4 for each in found.values())

        await until(filled, seconds=PATIENCE_SECONDS, what="some segments of each", every_seconds=1.0)

        async def come_back() -> None:
            again = publish(media[AAC.name], server, "/one", tmp_path / "back.log", again=True)
            await encoders.enter_async_context(again)
            await live(server, "/one")

        def scenario(visit: chromium.Visit) -> None:
            page = visit.open(f"{server.address}/{segment_players.PAGE}")
            segment_players.begin(page, "hls.js", "hls.js", hls_url(server, "radio"))
            segment_players.begin(page, "near", "hls.js", hls_url(server, "radio"), low_latency=True)
            segment_players.begin(page, "shaka", "shaka", hls_url(server, "radio"))
            segment_players.begin(page, "shaka dash", "shaka", dash_url(server, "radio"))
            segment_players.begin(page, "dash.js", "dash.js", dash_url(server, "radio"))
            names = page.evaluate("Object.keys(players)")
            segment_players.wait_for_sound(page, names, PATIENCE_SECONDS)
            for what in (first.stop, come_back):
                trio.from_thread.run(what)
                page.wait_for_timeout(
                    1000 * HEARD_SECONDS
                )  # it is away, or there again, for longer than a buffer lasts
                segment_players.wait_for_wall(page, names, time() + HEARD_SECONDS / 2, PATIENCE_SECONDS)
            for name, heard in segment_players.measure(page, names).items():
                # shaka tells of the playlist that is away, and that it can do without (util.Error.Severity.RECOVERABLE)
                assert not [each for each in heard.errors if '"severity":1' not in each], (name, heard.errors)

        await chromium.visit(tmp_path / "profile", scenario)

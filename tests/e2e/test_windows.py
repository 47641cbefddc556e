"""Ten minutes back by HLS and DASH, in the players people have, in the first minute of a server that has a past."""

from __future__ import annotations

from array import array
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from playwright.sync_api import TimeoutError

from tests import hls
from tests.e2e.client import get
from tests.e2e.disk import small_disk
from tests.e2e.media import AAC, MP3, make
from tests.e2e.past import SONG_SECONDS, remember
from tests.e2e.peers import chromium, segment_players
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.program import Program, until
from tests.e2e.server import Castd, live, status
from tests.e2e.test_hls import QUIET, RAW, dash_url, hls_url, rate_of, require_same_samples, what_is_sent
from tests.e2e.test_rewind import counting, in_a_file

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg")]

FORMATS = (AAC, MP3)

PAST_SECONDS = 660
BACK_SECONDS = 600
PLAYS_SECONDS = 8.0
PATIENCE_SECONDS = 60.0

GAP_SECONDS = 40.0
"""hls.js counts no time for which there was no source: that of the restart, here, and a slow machine's."""

HEARD_SECONDS = 70

TITLE_SECONDS = 1.0

BACK = """
([names, seconds]) => names.map(name => {
  const { audio } = players[name], { seekable } = audio;
  const first = seekable.start(0), last = seekable.end(seekable.length - 1);
  audio.currentTime -= seconds;
  return last - first;
})
"""


async def playlist(server: Castd, name: str) -> hls.Playlist:
    reply = await get(f"{server.address}/{name}/hls/audio.m3u8")
    assert reply.status == 200, reply
    found = hls.parse(bytes(reply.body))
    hls.check(found)
    return found


async def segments(server: Castd, name: str, found: list[hls.Segment]) -> list[bytes]:
    replies = [await get(f"{server.address}/{name}/hls/{each.uri}") for each in found]
    assert all(each.status == 200 for each in replies)
    return [bytes(each.body) for each in replies]


@pytest.mark.needs(chromium.PROGRAM)
async def test_ten_minutes_back(tmp_path: Path) -> None:
    media = make(tmp_path, FORMATS, PAST_SECONDS)
    root, folder = tmp_path / "root", tmp_path / "castd"
    root.mkdir()
    segment_players.make_page(root)
    (folder / "state").mkdir(parents=True, mode=0o700)
    begun = {each.name: remember(folder / "state", f"/{each.name}", media[each.name]) for each in FORMATS}
    settings = f'[mounts.default]\nrewind_seconds = 900\n\n[files]\nroot = "{root}"\n'
    # not dash.js: it does not begin where there was no source, and tells only of titles that begin while it plays
    players = {
        "hls.js aac": ("hls.js", hls_url, AAC),
        "hls.js mp3": ("hls.js", hls_url, MP3),
        "shaka aac": ("shaka", dash_url, AAC),
        "shaka hls aac": ("shaka", hls_url, AAC),
    }
    async with Castd(folder, settings) as server, AsyncExitStack() as programs:
        for each in FORMATS:
            log = tmp_path / f"{each.name}.log"
            await programs.enter_async_context(publish(media[each.name], server, f"/{each.name}", log))
        for each in FORMATS:
            await live(server, f"/{each.name}")
        first = {each.name: await playlist(server, each.name) for each in FORMATS}
        for name, found in first.items():
            assert found.seconds > PAST_SECONDS - 15, (name, "the first playlist has all of it")
        files = {each.name: tmp_path / f"{each.name}.s16" for each in FORMATS}
        for each in FORMATS:
            options = ["-live_start_index", "0", "-i", hls_url(server, each.name), "-t", str(HEARD_SECONDS)]
            command: list[str | Path] = [*QUIET, *options, *RAW, files[each.name]]
            await programs.enter_async_context(Program(command, tmp_path / f"decoder-{each.name}.log"))
        old = first[AAC.name].complete[20:40]
        before = await segments(server, AAC.name, old)

        def scenario(visit: chromium.Visit) -> None:
            page = visit.open(f"{server.address}/{segment_players.PAGE}")
            for name, (kind, url, form) in players.items():
                segment_players.begin(page, name, kind, url(server, form.name))
            names = [*players]
            try:
                segment_players.wait_for_sound(page, names, PATIENCE_SECONDS)
            except TimeoutError as error:
                raise AssertionError(f"{segment_players.measure(page, names)}, {visit.errors}") from error
            at = segment_players.measure(page, names)
            windows = page.evaluate(BACK, [names, BACK_SECONDS])
            assert min(windows) > BACK_SECONDS, windows
            back = {name: heard.time - BACK_SECONDS for name, heard in at.items()}
            segment_players.wait_for_progress(page, back, PLAYS_SECONDS, PATIENCE_SECONDS)
            trio.from_thread.run(server.upgrade)
            heard = segment_players.measure(page, names)
            since = {name: each.time for name, each in heard.items()}
            segment_players.wait_for_progress(page, since, PLAYS_SECONDS, PATIENCE_SECONDS)
            for name, each in segment_players.measure(page, names).items():
                assert not each.errors, (name, each.errors)
                assert each.decoded_bytes > at[name].decoded_bytes, name
                assert each.time < at[name].time - BACK_SECONDS / 2, name
                moved = at[name].wall - BACK_SECONDS - (each.wall - (each.time - back[name]))
                assert -TITLE_SECONDS < moved < GAP_SECONDS, (name, moved)
                began = begun[players[name][2].name]
                songs = {int((each.wall + late - began) // SONG_SECONDS) for late in (-TITLE_SECONDS, TITLE_SECONDS)}
                told = [(wall, text) for _, text, wall in segment_players.titles(page, name) if "Song" in text]
                newest = max((one for one in told if one[0] <= each.wall + TITLE_SECONDS), default=None)
                assert newest is not None, (name, told)
                assert any(f"Song {song}" in newest[1] for song in songs), (name, newest, songs)
            assert not visit.errors, visit.errors
            found = trio.from_thread.run(status, server, "/aac")
            assert found is not None
            assert found["listeners"] >= 3, "who is ten minutes back is a listener as any other"

        await chromium.visit(tmp_path / "profile", scenario)
        assert await segments(server, AAC.name, old) == before, "the same bytes under the same names"
        for each in FORMATS:
            later = await playlist(server, each.name)
            hls.check_update(first[each.name], later)
            sent = await what_is_sent(media[each.name])
            samples: array[int] = array("h")
            with trio.fail_after(PATIENCE_SECONDS):
                while len(samples) < rate_of(each.name) * HEARD_SECONDS:
                    samples = await trio.to_thread.run_sync(decoded_by, files[each.name])
                    await trio.sleep(0.2)
            require_same_samples(each.name, rate_of(each.name), samples, sent)


def decoded_by(file: Path) -> array[int]:
    """What ffmpeg has written by now."""
    data = file.read_bytes() if file.exists() else b""
    return array("h", data[: len(data) // 4 * 4])


@pytest.mark.needs("mount", "umount")
async def test_a_disk_that_is_smaller_than_the_window(tmp_path: Path) -> None:
    """64 MiB are left to logs and records; what there is beyond it is for the ring and for segments."""
    with small_disk(tmp_path / "castd", 67):
        settings = "[mounts.default]\nrewind_seconds = 3600\n"
        async with Castd(tmp_path / "castd", settings) as server, trio.open_nursery() as nursery:
            await nursery.start(counting(server, 1000).run)
            await in_a_file(server)

            async def said() -> bool:
                return "HLS and DASH reach back by no more" in server.log()

            await until(said, seconds=PATIENCE_SECONDS, what="a word of it in the log")
            assert (await playlist(server, "live")).seconds > 15
            nursery.cancel_scope.cancel()

"""Players people listen with, each on every format it plays."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from tests.e2e.decode import decode
from tests.e2e.media import AAC, FLAC, MP3, OPUS, VORBIS, Media
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.peers.players import PLAYERS, Player, play
from tests.e2e.server import Castd, Server, live

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "ffprobe")]

FORMATS = (MP3, AAC, VORBIS, OPUS, FLAC)

HEARD_SECONDS = 8.0
"""What a player has to decode: more than the burst it gets at once, so that it has to follow the stream too."""

WITHIN_SECONDS = 40.0


@pytest.mark.parametrize(
    "player", [pytest.param(player, id=player.program, marks=pytest.mark.needs(player.program)) for player in PLAYERS]
)
async def test_a_player_plays(player: Player, server: Server, media: Mapping[str, Media], tmp_path: Path) -> None:
    mounts = [form.name for form in FORMATS if form.name in player.formats]
    async with AsyncExitStack() as encoders:
        for name in mounts:
            await encoders.enter_async_context(
                publish(media[name], server, f"/{name}", tmp_path / f"encoder-{name}.log")
            )
        for name in mounts:
            await live(server, f"/{name}")
        async with trio.open_nursery() as nursery:
            for name in mounts:
                url, log = f"{server.address}/{name}", tmp_path / f"player-{name}.log"
                nursery.start_soon(play, player, url, log, HEARD_SECONDS, WITHIN_SECONDS)


@pytest.mark.parametrize(
    ("program", "paths"),
    [
        pytest.param("mpv", ("/mp3.m3u", "/mp3.pls", "/listen.pls", "/;stream.mp3"), marks=pytest.mark.needs("mpv")),
        pytest.param("cvlc", ("/mp3.m3u", "/mp3.xspf", "/listen.m3u", "/mp3;"), marks=pytest.mark.needs("cvlc")),
        pytest.param("mpg123", ("/;", "/listen"), marks=pytest.mark.needs("mpg123")),
    ],
)
async def test_players_find_the_stream_by_playlists_and_shoutcasts_paths(
    program: str, paths: tuple[str, ...], media: Mapping[str, Media], tmp_path: Path
) -> None:
    [player] = (each for each in PLAYERS if each.program == program)
    tables = '[[aliases]]\npath = "/listen"\nmount = "/mp3"\n'
    async with (
        Castd(tmp_path, tables) as server,
        publish(media["mp3"], server, "/mp3", tmp_path / "encoder.log"),
        trio.open_nursery() as nursery,
    ):
        await live(server, "/mp3")
        for number, path in enumerate(paths):
            log = tmp_path / f"player-{number}.log"
            nursery.start_soon(play, player, f"{server.address}{path}", log, HEARD_SECONDS, WITHIN_SECONDS)


@pytest.mark.needs("curl")
async def test_curl_receives_what_decodes(server: Server, media: Mapping[str, Media], tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with publish(media["mp3"], server, "/mp3", tmp_path / "encoder.log"):
            await live(server, "/mp3")
            command = ["curl", "--silent", "--show-error", "--max-time", "5", f"{server.address}/mp3"]
            result = await trio.run_process(command, check=False, capture_stdout=True, stderr=subprocess.DEVNULL)
    assert result.returncode == 28, "curl ends when its time is up, not before"
    decoded = await decode(result.stdout)
    assert decoded.seconds > 3

"""A short file that stands in for an encoder, over and over, and an encoder that comes back: as players hear it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from tests.e2e.client import Listener
from tests.e2e.decode import decode
from tests.e2e.media import AAC, MP3, OPUS, VORBIS, Media
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.peers.players import PLAYERS, play
from tests.e2e.server import Castd, live

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "ffprobe")]

FORMATS = (MP3, AAC, VORBIS, OPUS)

TURN_SECONDS = 3

HEARD_SECONDS = 9.0
"""Three turns, at least two of their seams after the burst."""


def shortened(media: Media, path: Path) -> Path:
    """The first seconds of a file, frames as they are."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(media.path), "-t", str(TURN_SECONDS), "-c", "copy"]
    subprocess.run([*command, "-f", media.format.container, str(path)], check=True)
    return path


@pytest.mark.needs("mpv")
async def test_players_hear_no_seam(media: Mapping[str, Media], tmp_path: Path) -> None:
    """Decoders go on from one turn of the file to the next without a word."""
    files = {form.name: shortened(media[form.name], tmp_path / f"turn.{form.name}") for form in FORMATS}
    settings = "".join(f'[mounts."/{name}"]\nfallback_file = "{path}"\n' for name, path in files.items())
    players = {player.program: player for player in PLAYERS}
    heard: dict[str, bytes] = {}

    async def hear(name: str) -> None:
        async with Listener(f"{server.address}/{name}") as listener:
            heard[name] = await listener.listen(HEARD_SECONDS)

    async with Castd(tmp_path, settings) as server, trio.open_nursery() as nursery:
        for form in FORMATS:
            url = f"{server.address}/{form.name}"
            nursery.start_soon(hear, form.name)
            for program in ("mpv", "ffmpeg"):
                log = tmp_path / f"{program}-{form.name}.log"
                nursery.start_soon(play, players[program], url, log, HEARD_SECONDS + 4, 60.0)
    for name, stream in heard.items():
        decoded = await decode(stream)
        assert decoded.errors == (), name
        assert decoded.seconds >= HEARD_SECONDS, name


async def test_an_encoder_takes_over_from_a_file_and_leaves_again(media: Mapping[str, Media], tmp_path: Path) -> None:
    """A listener who was there all the time has whole frames throughout."""
    file = shortened(media["mp3"], tmp_path / "turn.mp3")
    async with (
        Castd(tmp_path, f'[mounts."/mp3"]\nfallback_file = "{file}"\n') as server,
        Listener(f"{server.address}/mp3") as listener,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(listener.listen)
        await trio.sleep(1.0)
        async with publish(media["mp3"], server, "/mp3", tmp_path / "encoder.log"):
            await live(server, "/mp3")
            await trio.sleep(6.0)
        await trio.sleep(2.0)
        nursery.cancel_scope.cancel()
    units = media["mp3"].units
    received = [units.index(frame) for frame in MP3.walk(bytes(listener.reply.body))]
    turn = len(MP3.walk(file.read_bytes()))
    assert max(received) > turn + 38, "more than a second of what only the encoder sends"
    assert received[-1] < turn, "and the file again"

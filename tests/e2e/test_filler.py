"""An encoder that goes and comes back, with silence in between: players play on, and hear nothing but that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from tests.e2e.client import Listener
from tests.e2e.decode import decode
from tests.e2e.media import AAC, FLAC, MP3, OPUS, VORBIS, Media
from tests.e2e.peers import chromium
from tests.e2e.peers.chromium import Visit, visit
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.peers.players import PLAYERS, play
from tests.e2e.server import Castd, live

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "ffprobe")]

FORMATS = (MP3, AAC, VORBIS, OPUS, FLAC)

MOUNTS = {form.name: form for form in FORMATS} | {f"{form.name}-joined": form for form in (VORBIS, OPUS, FLAC)}

SETTINGS = '[mounts.default]\nfiller = "silence"\n' + "".join(
    f'[mounts."/{name}"]\nunchain = true\n' for name in MOUNTS if name.endswith("-joined")
)

OVERLAP = "non monotonically increasing dts"
"""ffmpeg's word on any Vorbis links made one: the first block of the second gives sound here, and none alone."""

ON_SECONDS = 4.0
AWAY_SECONDS = 4.0
HEARD_SECONDS = 2 * ON_SECONDS + AWAY_SECONDS


async def programme(server: Castd, media: Mapping[str, Media], folder: Path, turn: int, seconds: float) -> None:
    """Encoders at all mounts, for a while."""
    async with AsyncExitStack() as encoders:
        for name, form in MOUNTS.items():
            log = folder / f"encoder-{turn}-{name}.log"
            await encoders.enter_async_context(publish(media[form.name], server, f"/{name}", log))
        await trio.sleep(seconds)


@pytest.mark.needs("mpv")
async def test_decoders_hear_no_fault(media: Mapping[str, Media], tmp_path: Path) -> None:
    heard: dict[str, bytes] = {}
    mpv = next(player for player in PLAYERS if player.program == "mpv")

    async def hear(name: str) -> None:
        async with Listener(f"{server.address}/{name}") as listener:
            heard[name] = await listener.listen(HEARD_SECONDS)

    async def come_and_go() -> None:
        await programme(server, media, tmp_path, 1, ON_SECONDS)
        await trio.sleep(AWAY_SECONDS)
        await programme(server, media, tmp_path, 2, math.inf)

    async with Castd(tmp_path, SETTINGS) as server, trio.open_nursery() as encoders:
        encoders.start_soon(come_and_go)
        for name in MOUNTS:
            await live(server, f"/{name}")
        async with trio.open_nursery() as nursery:
            for name in MOUNTS:
                nursery.start_soon(hear, name)
                log = tmp_path / f"mpv-{name}.log"
                nursery.start_soon(play, mpv, f"{server.address}/{name}", log, HEARD_SECONDS, 90.0)
        encoders.cancel_scope.cancel()
    assert heard.keys() == MOUNTS.keys()
    for name, stream in heard.items():
        decoded = await decode(stream)
        assert [each for each in decoded.errors if not (name == "vorbis-joined" and OVERLAP in each)] == [], name
        assert decoded.seconds >= HEARD_SECONDS - 2.0, name


# Six audio elements, as many as Chromium gives connections to one server.
PLAY = """
names => { window.playing = Object.fromEntries(names.map(name => {
  const audio = new Audio(location.origin + "/" + name);
  audio.play();
  return [name, audio];
})); }
"""

MEASURE = """
() => Object.entries(window.playing).map(([name, audio]) =>
  [name, performance.now() / 1000, audio.currentTime, audio.error ? audio.error.message : ""])
"""

IN_BROWSER = ("mp3", "aac", "vorbis", "opus", "opus-joined", "flac-joined")

STEP_SECONDS = 2.0
STEPS = 6
BACK_AFTER = 2


@pytest.mark.needs(chromium.PROGRAM)
async def test_a_browser_plays_on(media: Mapping[str, Media], tmp_path: Path) -> None:
    """Time goes on at the speed of sound, from before the encoders left until after they are back."""
    gone, back = trio.Event(), trio.Event()

    def listen(browser: Visit) -> list[str]:
        page = browser.open(server.address + "/healthz")
        page.evaluate(PLAY, list(IN_BROWSER))
        page.wait_for_timeout(3000)
        trio.from_thread.run_sync(gone.set)
        faults, before = [], page.evaluate(MEASURE)
        for step in range(STEPS):
            page.wait_for_timeout(STEP_SECONDS * 1000)
            if step == BACK_AFTER:
                trio.from_thread.run_sync(back.set)
            after = page.evaluate(MEASURE)
            for (name, began, position, _), (_, now, reached, error) in zip(before, after, strict=True):
                rate = (reached - position) / (now - began)
                print(f"{step} {name}: at {reached:.2f} s, {rate:.2f} times the speed of sound {error}")
                if error or rate < 0.9:
                    faults.append(f"{name} in step {step}: {rate:.2f} {error}")
            before = after
        return faults

    async def encode() -> None:
        for turn, end in ((1, gone), (2, trio.Event())):
            async with AsyncExitStack() as encoders:
                for name in IN_BROWSER:
                    log = tmp_path / f"encoder-{turn}-{name}.log"
                    await encoders.enter_async_context(publish(media[MOUNTS[name].name], server, f"/{name}", log))
                await end.wait()
            await back.wait()

    async with Castd(tmp_path, SETTINGS) as server, trio.open_nursery() as nursery:
        nursery.start_soon(encode)
        for name in IN_BROWSER:
            await live(server, f"/{name}")
        await trio.sleep(5.0)
        assert await visit(tmp_path / "profile", listen) == []
        nursery.cancel_scope.cancel()

"""butt streams, says what is playing, and comes back after an operator cut it off."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.e2e.client import Listener
from tests.e2e.decode import Decoded, decode
from tests.e2e.peers.butt import PROGRAMS, Butt, Desktop
from tests.e2e.program import until
from tests.e2e.server import Server, kill_source, live, status

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", *PROGRAMS)]

TITLE = "Lab Ärtist - Söng & 1"


@pytest.mark.parametrize("codec", ["mp3", "ogg", "opus"])
async def test_butt_streams_tells_titles_and_comes_back(codec: str, server: Server, tmp_path: Path) -> None:
    mount = f"/butt-{codec}"
    with trio.fail_after(110):
        async with (
            Desktop(tmp_path / "desktop") as desktop,
            Butt(desktop, codec, server, mount, tmp_path / "butt") as butt,
        ):
            await live(server, mount)
            await butt_says_connected(butt)

            await butt.set_title(TITLE)
            await title_in_status(server, mount)
            if codec == "mp3":
                await title_in_stream(server, mount)
            assert_hum(await heard(server, mount))

            started = await source_start(server, mount)
            await kill_source(server, mount)
            await another_source(server, mount, started)
            await butt_says_connected(butt)
            assert_hum(await heard(server, mount))


async def butt_says_connected(butt: Butt) -> None:
    async def probe() -> bool:
        return (await butt.status()).get("connected") == "1"

    await until(probe, seconds=20, what="butt to be connected")


async def title_in_status(server: Server, mount: str) -> None:
    async def probe() -> bool:
        return ((await status(server, mount)) or {}).get("title") == TITLE

    await until(probe, seconds=15, what=f"{TITLE!r} in the status of {mount}")


async def title_in_stream(server: Server, mount: str) -> None:
    async def probe() -> bool:
        await listener.listen(0.5)
        return TITLE in listener.titles()

    async with Listener(server.address + mount, icy=True) as listener:
        await until(probe, seconds=15, what=f"{TITLE!r} in the stream of {mount}")


async def heard(server: Server, mount: str) -> Decoded:
    """Four seconds of listening."""
    async with Listener(server.address + mount) as listener:
        return await decode(await listener.listen(4))


def assert_hum(sound: Decoded) -> None:
    assert sound.seconds > 2.5
    assert sound.peak > 0.1


async def source_start(server: Server, mount: str) -> str | None:
    return ((await status(server, mount)) or {}).get("stream_start_iso8601")


async def another_source(server: Server, mount: str, before: str | None) -> None:
    async def probe() -> bool:
        return await source_start(server, mount) not in (None, before)

    await until(probe, seconds=20, what=f"a new source on {mount}")

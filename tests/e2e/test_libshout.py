"""libshout's handshake: it asks what the server can, is refused, and comes again with its password."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.client import Listener
from tests.e2e.decode import decode
from tests.e2e.peers.libshout import shout, shout2send
from tests.e2e.program import until
from tests.e2e.server import Server, live, status

if TYPE_CHECKING:
    from tests.e2e.media import Media

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg")]

TITLE = "Sender Söng"


@pytest.mark.needs("shout")
@pytest.mark.parametrize("name", ["mp3", "vorbis", "opus"])
async def test_shout_streams_a_file(name: str, server: Server, media: Mapping[str, Media], tmp_path: Path) -> None:
    mount = f"/shout-{name}"
    with trio.fail_after(60):
        async with shout(media[name], server, mount, tmp_path / "shout.log") as encoder:
            await live(server, mount)
            async with Listener(server.address + mount) as listener:
                received = media[name].format.walk(await listener.listen(6))
            assert media[name].find(received).seconds > 4
            assert encoder.running, encoder.text()


@pytest.mark.needs("gst-launch-1.0")
async def test_gstreamer_streams_and_tells_its_title(server: Server, tmp_path: Path) -> None:
    mount = "/gstreamer"

    async def titled() -> bool:
        return TITLE in str(((await status(server, mount)) or {}).get("title"))

    with trio.fail_after(60):
        async with shout2send(server, mount, TITLE, tmp_path / "gst.log") as encoder:
            await live(server, mount)
            await until(titled, seconds=15, what=f"{TITLE!r} in the status of {mount}")
            async with Listener(server.address + mount) as listener:
                decoded = await decode(await listener.listen(5))
            assert decoded.seconds > 3
            assert decoded.peak > 0.1
            assert encoder.running, encoder.text()

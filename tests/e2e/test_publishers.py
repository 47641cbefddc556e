"""Encoders people run unattended, each heard by players of several makes at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.client import Listener
from tests.e2e.decode import decode
from tests.e2e.peers.players import PLAYERS, play
from tests.e2e.peers.publishers import PUBLISHERS, Publisher
from tests.e2e.program import until
from tests.e2e.server import Castd, live, status

if TYPE_CHECKING:
    from tests.e2e.media import Media

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg")]

HEARD_SECONDS = 6.0

OGG = ("/ices2", "/oggfwd")


@pytest.mark.parametrize(
    "publisher", [pytest.param(each, id=each.program, marks=pytest.mark.needs(each.program)) for each in PUBLISHERS]
)
@pytest.mark.needs("mpv", "cvlc", "mpg123", "ogg123")
async def test_an_encoder_is_heard(publisher: Publisher, media: Mapping[str, Media], tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    players = [each for each in PLAYERS if each.program in ("mpv", "ogg123" if publisher.mount in OGG else "mpg123")]
    with trio.fail_after(120):
        async with Castd(tmp_path) as server, publisher.start(media, server, folder) as encoder:
            await live(server, publisher.mount, seconds=60)
            url = f"{server.address}{publisher.mount}"

            async def titled() -> bool:
                facts = await status(server, publisher.mount) or {}
                return publisher.title in f"{facts.get('artist', '')} {facts.get('title', '')}"

            async with Listener(url) as listener, trio.open_nursery() as nursery:
                for player in players if not publisher.silent else ():
                    log = tmp_path / f"{player.program}.log"
                    nursery.start_soon(play, player, url, log, HEARD_SECONDS, 60.0)
                nursery.start_soon(partial(until, titled, seconds=40, what=f"the title at {publisher.mount}"))
                decoded = await decode(await listener.listen(8.0))
            assert decoded.seconds > 5.0
            assert publisher.silent or decoded.peak > 0.1
            assert encoder.running, encoder.text()

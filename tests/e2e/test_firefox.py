"""The same page in Firefox: it plays what castd sends, shows titles in time, and comes back by itself."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.e2e.media import AAC, FLAC, MP3, OPUS, VORBIS
from tests.e2e.peers import firefox
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.server import live, set_title
from tests.e2e.test_listeners_page import kick_everybody

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.media import Media
    from tests.e2e.server import Castd

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", firefox.PROGRAM)]

FORMATS = (MP3, AAC, VORBIS, OPUS, FLAC)

SECONDS = 20.0

MEASURE = """
const audio = document.getElementById("player");
return [audio.currentTime, document.getElementById("player-card").dataset.player,
        document.getElementById("title").textContent, audio.error ? audio.error.message : ""];
"""


def until(browser: Any, true: Any, what: str) -> list[Any]:
    deadline = time.monotonic() + SECONDS
    while not true(found := browser.execute_script(MEASURE)):
        assert time.monotonic() < deadline, f"{what}: {found}"
        time.sleep(0.1)
    return list(found)


async def test_every_format_plays(server: Castd, media: Mapping[str, Media], tmp_path: Path) -> None:
    def listen(browser: Any) -> None:
        for form in FORMATS:
            browser.navigate(f"{server.address}/p/{form.name}")
            browser.find_element("css selector", "#toggle").click()
            first = until(browser, lambda found: found[0] > 0.5, f"{form.name} plays")
            began = time.monotonic()
            time.sleep(3)
            then, state, _, error = browser.execute_script(MEASURE)
            rate = (then - first[0]) / (time.monotonic() - began)
            assert (state, error) == ("playing", ""), form.name
            assert 0.8 < rate < 1.2, f"{form.name} at {rate:.2f} times the speed of sound"

        browser.navigate(f"{server.address}/p/mp3")
        browser.find_element("css selector", "#toggle").click()
        until(browser, lambda found: found[0] > 1, "it plays")
        trio.from_thread.run(set_title, server, "/mp3", "Heard - In Firefox")
        assert browser.execute_script(MEASURE)[2] != "Heard - In Firefox", "before it is heard"
        until(browser, lambda found: found[2] == "Heard - In Firefox", "the title shows")
        trio.from_thread.run(kick_everybody, server)
        until(browser, lambda found: found[1] == "reconnecting", "the end is noticed")
        until(browser, lambda found: found[1] == "playing" and found[0] > 0.2, "it comes back")

    async with AsyncExitStack() as encoders:
        for form in FORMATS:
            encoder = publish(media[form.name], server, f"/{form.name}", tmp_path / f"encoder-{form.name}.log")
            await encoders.enter_async_context(encoder)
            await live(server, f"/{form.name}")
        with trio.fail_after(110):
            await firefox.visit(tmp_path / "profile", listen)

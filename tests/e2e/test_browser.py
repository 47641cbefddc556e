"""A visitor opens the server's page in Chromium, clicks play and hears the stream."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from tests.e2e.media import AAC, FLAC, MP3, OPUS, VORBIS, Media
from tests.e2e.peers import chromium
from tests.e2e.peers.chromium import Visit, click_play, measure, visit
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.server import Server, live, set_title

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "ffprobe", chromium.PROGRAM)]

FORMATS = (MP3, AAC, VORBIS, OPUS, FLAC)

START_SECONDS = 10.0
"""By when sound has to come after a click; that it comes far sooner is printed."""

PLAY_SECONDS = 6.0

BURST_SECONDS = 5.0
"""How long sources send before anybody listens. A first listener has nothing in hand to bridge the pauses between Ogg
pages, of which ffmpeg sends one a second; what is measured here is the visitor who comes later."""

TITLE = "Zweites Stück: très bien"


async def test_every_format_plays(server: Server, media: Mapping[str, Media], tmp_path: Path) -> None:
    mounts = [f"/{form.name}" for form in FORMATS]

    def listen(browser: Visit) -> list[str]:
        faults = []
        page = browser.open(server.address + "/")
        for mount in mounts:
            print(f"{mount}: click to sound {click_play(page, mount, START_SECONDS):.2f} s")
            start = measure(page)
            page.wait_for_timeout(PLAY_SECONDS * 1000)
            end = measure(page)
            rate = (end.position - start.position) / (end.clock - start.clock)
            if end.error or not 0.95 < rate < 1.05 or end.decoded_bytes <= start.decoded_bytes:
                faults.append(f"{mount} at {rate:.2f} times the speed of sound: {start} {end}")
        return faults + complaints(browser, server)

    async with AsyncExitStack() as encoders:
        for form, mount in zip(FORMATS, mounts, strict=True):
            log = tmp_path / f"encoder-{form.name}.log"
            await encoders.enter_async_context(publish(media[form.name], server, mount, log))
        for mount in mounts:
            await live(server, mount)
        await trio.sleep(BURST_SECONDS)
        with trio.fail_after(110):
            assert await visit(tmp_path / "profile", listen) == []


async def test_the_page_follows_the_title(server: Server, media: Mapping[str, Media], tmp_path: Path) -> None:
    picture = tmp_path / "page.png"

    def look(browser: Visit) -> list[str]:
        page = browser.open(server.address + "/")
        card = page.locator('article[data-mount="/live"]')
        click_play(page, "/live", START_SECONDS)
        page.wait_for_function(TEXT_IS, arg=["/live", ".listeners", "1"], timeout=15_000)
        trio.from_thread.run(set_title, server, "/live", TITLE)
        page.wait_for_function(TEXT_IS, arg=["/live", ".title", TITLE], timeout=15_000)
        assert card.locator(".title").is_visible()
        page.screenshot(path=picture)
        return complaints(browser, server)

    async with publish(media["mp3"], server, "/live", tmp_path / "encoder.log"):
        await live(server, "/live")
        with trio.fail_after(90):
            assert await visit(tmp_path / "profile", look) == []
    print(f"the page: {picture}")
    assert picture.stat().st_size > 0


# Whether a part of a mount's card shows this text.
TEXT_IS = """
([mount, part, text]) => {
  const shown = document.querySelector(`article[data-mount="${mount}"] ${part}`);
  return shown !== null && shown.textContent.includes(text);
}
"""


def complaints(browser: Visit, server: Server) -> list[str]:
    """What a visit must not have: errors on the console, and requests to anybody else."""
    strangers = browser.hosts - {urlsplit(server.address).netloc}
    return browser.errors + [f"a request to {host}" for host in sorted(strangers)]

"""A group of mounts on its page in Chromium: a choice of qualities, and Auto, which plays them by HLS as the network
allows, in time with the titles, back to what was on before, and on when sources were away."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.media import AAC, Media, make
from tests.e2e.peers import chromium
from tests.e2e.peers.chromium import Visit, visit
from tests.e2e.server import Castd, set_title
from tests.e2e.test_accessible import WIDTHS, violations
from tests.e2e.test_browser import complaints
from tests.e2e.test_listeners_page import hear, play, wait_for_state
from tests.e2e.test_timeline import Past, wait_for_title

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from playwright.sync_api import Page, Route

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "ffprobe", chromium.PROGRAM)]

AAC_LOW = replace(AAC, name="aac-low", encode=("-c:a", "aac", "-b:a", "48k"))

MOUNTS = {"/radio-128": AAC.name, "/radio-48": AAC_LOW.name}

SETTINGS = """
[delivery]
hls_segment_seconds = 2.0
[mounts.default]
name = "Radio"
rewind_seconds = 300
[groups."/radio"]
mounts = ["/radio-128", "/radio-48"]
"""

SONGS = {"One - First": 40.0, "Two - Second": 50.0, "Three - Third": 20.0}

HIGH, LOW = re.compile(r"Auto · 1\d\d kbit/s AAC"), re.compile(r"Auto · \d\d kbit/s AAC")

PATIENCE_MS = 60_000

SLOW_BYTES = 9000
"""A second: enough for the lower quality, not for the higher one."""

LIBRARY = "/static/hls.min.js"

# Media time that the page takes for the one that is heard, by its slider; which window it is in, by the API.
PLACE = """
async mount => {
  const held = await (await fetch(`/api/v1/mounts${mount}/window`)).json();
  return held.oldest_media_seconds + document.querySelector("#timeline input").valueAsNumber;
}
"""


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Media]:
    return make(tmp_path_factory.mktemp("media"), (AAC, AAC_LOW))


class Studio:
    """The group's encoders, which come and go together."""

    def __init__(self, castd: Castd, media: Mapping[str, Media], nursery: trio.Nursery) -> None:
        self._castd = castd
        self._media = media
        self._nursery = nursery
        self._scope = trio.CancelScope()

    async def come(self, songs: Mapping[str, float]) -> None:
        await self._nursery.start(self._send, songs)

    async def _send(
        self, songs: Mapping[str, float], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                async with trio.open_nursery() as both:
                    for mount, form in MOUNTS.items():
                        past = Past(self._castd, self._media[form], songs, mount)
                        both.start_soon(nursery.start, past.run)
                task_status.started()

    async def go(self) -> None:
        self._scope.cancel()

    async def title(self, text: str) -> None:
        for mount in MOUNTS:
            await set_title(self._castd, mount, text)


def quality(page: Page) -> str:
    return str(page.evaluate("() => document.getElementById('quality').selectedOptions[0].textContent"))


def wait_for_quality(page: Page, wanted: re.Pattern[str]) -> None:
    words = "words => new RegExp(words).test(document.getElementById('quality').selectedOptions[0].textContent)"
    page.wait_for_function(words, arg=f"^{wanted.pattern}$", timeout=PATIENCE_MS)


def source(page: Page) -> str:
    return str(page.evaluate("() => document.getElementById('player').src"))


def place(page: Page, mount: str = "/radio-128") -> float:
    return float(page.evaluate(PLACE, mount))


def press(page: Page, key: str) -> None:
    """A key for the slider, whose effect comes a moment later."""
    page.locator("#timeline input").press(key)
    page.wait_for_timeout(700)


async def test_a_group(media: Mapping[str, Media], tmp_path: Path) -> None:
    def look(browser: Visit) -> list[str]:
        asked: list[str] = []
        page = browser.open("about:blank")
        page.on("request", lambda request: asked.append(request.url))
        on_station(page, castd)
        in_one_quality(page, castd)
        assert not [each for each in asked if LIBRARY in each or "/hls/" in each], "nobody needs it yet"
        in_auto(page, studio)
        assert len([each for each in asked if LIBRARY in each]) == 1
        assert not [each for each in asked if "media=" in each], "going back is by HLS, too"
        as_the_network_allows(page, browser)
        through_an_upgrade(page, castd)
        when_sources_were_away(page, studio)
        page.reload()
        remembered(page)
        where_it_cannot_be_had(browser, castd)
        return [each for each in complaints(browser, castd) if "/radio/hls/index.m3u8" not in each]

    async with Castd(tmp_path / "castd", SETTINGS) as castd, trio.open_nursery() as nursery:
        studio = Studio(castd, media, nursery)
        await studio.come(SONGS)
        with trio.fail_after(400):
            assert await visit(tmp_path / "profile", look) == []
        nursery.cancel_scope.cancel()


def on_station(page: Page, castd: Castd) -> None:
    """One card for the group, with a choice."""
    page.goto(f"{castd.address}/")
    card = page.locator("article[data-mount='/radio']")
    card.wait_for()
    assert page.locator("#mounts article").count() == 1
    assert card.locator("a.page").get_attribute("href") == "/p/radio"
    assert card.locator("a.direct").get_attribute("href") == f"{castd.address}/radio"
    card.locator(".play").click()
    page.wait_for_function("() => document.getElementById('player').src.includes('/radio-128?')")
    card.locator("select").select_option("/radio-48")
    page.wait_for_function("() => document.getElementById('player').src.includes('/radio-48?')")
    hear(page)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert violations(page, f"station, {width} px") == []


def in_one_quality(page: Page, castd: Castd) -> None:
    """What was chosen on the other page is what is played here."""
    page.goto(f"{castd.address}/p/radio")
    options = page.locator("#quality option")
    assert options.count() == 3
    assert options.all_inner_texts()[0] == "Auto"
    assert [bool(re.match(r"AAC · \d+ kbit/s", each)) for each in options.all_inner_texts()[1:]] == [True, True]
    play(page)
    assert "/radio-48?" in source(page)
    page.evaluate("() => document.getElementById('volume').value = 0.4")
    page.locator("#volume").dispatch_event("input")
    page.locator("#quality").press("ArrowUp")
    page.wait_for_function("() => document.getElementById('player').src.includes('/radio-128?')")
    hear(page)


def in_auto(page: Page, studio: Studio) -> None:
    page.locator("#quality").press("ArrowUp")
    wait_for_quality(page, HIGH)
    hear(page)
    assert source(page).startswith("blob:")
    assert page.evaluate("() => document.getElementById('player').volume") == 0.4
    wait_for_title(page, "Three - Third")
    assert page.locator("#to-live").is_hidden()
    count = "async () => (await (await fetch('/api/v1/groups/radio')).json()).listeners === 1"
    page.wait_for_function(count, timeout=PATIENCE_MS)

    # a title comes when it is heard
    trio.from_thread.run(studio.title, "Four - Fourth")
    assert page.inner_text("#title") == "Three - Third", "the server knows of it before the listener hears it"
    titles = page.evaluate("async () => (await (await fetch('/api/v1/mounts/radio-128/titles')).json()).titles")
    assert titles[0]["text"] == "Four - Fourth"
    wait_for_title(page, "Four - Fourth")
    assert abs(place(page) - titles[0]["media_seconds"]) < 2, "the slider has whole seconds"

    # back, and on from there after a pause; the song from its start; live
    press(page, "Home")
    page.wait_for_function("() => document.getElementById('title').textContent === ''")
    hear(page)
    assert page.locator("#to-live").is_visible()
    begun = place(page)
    for _ in range(6):
        page.locator("#timeline input").press("ArrowRight")
    page.wait_for_timeout(700)
    wait_for_title(page, "Two - Second")
    assert abs(place(page) - begun - 60) < 5
    hear(page)
    left = place(page)
    page.click("#toggle")
    wait_for_state(page, "stopped", 5)
    assert source(page) == ""
    assert page.inner_text("#state") == "Paused"
    page.wait_for_timeout(2000)
    page.click("#toggle")
    wait_for_quality(page, HIGH)
    hear(page)
    assert 0 <= place(page) - left < 5, "where it was, and what was heard since"
    page.click("#from-start")
    page.wait_for_timeout(500)
    assert abs(place(page) - titles[2]["media_seconds"]) < 3
    page.click("#to-live")
    hear(page)
    wait_for_title(page, "Four - Fourth")
    assert source(page).startswith("blob:")


def as_the_network_allows(page: Page, browser: Visit) -> None:
    session = browser.context.new_cdp_session(page)
    session.send("Network.enable")
    limits = {"offline": False, "latency": 0, "uploadThroughput": -1}
    session.send("Network.emulateNetworkConditions", limits | {"downloadThroughput": SLOW_BYTES})
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            assert violations(page, f"{width} px, {scheme}") == []
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    wait_for_quality(page, LOW)
    assert page.inner_text("#title") == "Four - Fourth", "the other mount's"
    session.send("Network.emulateNetworkConditions", limits | {"downloadThroughput": -1})
    wait_for_quality(page, HIGH)
    session.detach()


def through_an_upgrade(page: Page, castd: Castd) -> None:
    before = source(page)
    trio.from_thread.run(castd.upgrade)
    hear(page)
    wait_for_quality(page, HIGH)
    assert source(page) == before, "nothing was begun anew"


def when_sources_were_away(page: Page, studio: Studio) -> None:
    trio.from_thread.run(studio.go)
    words = "() => document.getElementById('state').textContent.includes('Waiting for the source')"
    page.wait_for_function(words, timeout=PATIENCE_MS)
    trio.from_thread.run(studio.come, {"Five - Fifth": 1.0})
    wait_for_state(page, "playing", PATIENCE_MS / 1000)
    hear(page)
    wait_for_title(page, "Five - Fifth")
    assert source(page).startswith("blob:")


def remembered(page: Page) -> None:
    assert page.input_value("#quality") == "auto"
    assert quality(page) == "Auto"
    play(page)
    wait_for_quality(page, HIGH)
    page.click("#toggle")


def where_it_cannot_be_had(browser: Visit, castd: Castd) -> None:
    """Then the plain stream is played; also of what is older than a playlist."""

    def shorter(route: Route) -> None:
        answer = route.fetch()
        lines = re.sub(r"CAN-SKIP-UNTIL=[\d.]+,", "", answer.text()).split("#EXT-X-PROGRAM")
        first, *segments = lines
        sequence = re.search(r"MEDIA-SEQUENCE:(\d+)", first)
        assert sequence is not None
        left = max(0, len(segments) - 8)
        first = first.replace(sequence[0], f"MEDIA-SEQUENCE:{int(sequence[1]) + left}")
        route.fulfill(response=answer, body="#EXT-X-PROGRAM".join([first, *segments[left:]]))

    page = browser.open(f"{castd.address}/p/radio")
    page.route("**/hls/audio.m3u8*", shorter)
    play(page)
    wait_for_quality(page, HIGH)
    press(page, "Home")
    page.wait_for_function("() => document.getElementById('player').src.includes('/radio-128?')", timeout=PATIENCE_MS)
    hear(page)
    assert "so far back there is one quality" in page.inner_text("#state")
    assert quality(page) == "Auto"
    page.click("#to-live")
    page.wait_for_function("() => document.getElementById('player').src.startsWith('blob:')", timeout=PATIENCE_MS)
    page.click("#toggle")

    page.route("**/radio/hls/index.m3u8", lambda route: route.fulfill(status=404, body="not here"))
    page.click("#toggle")
    page.wait_for_function("() => document.getElementById('player').src.includes('/radio-128?')", timeout=PATIENCE_MS)
    hear(page)
    assert "there is one quality now" in page.inner_text("#state")


async def test_whatever_of_a_group_is_on_the_air(media: Mapping[str, Media], tmp_path: Path) -> None:
    def look(browser: Visit) -> list[str]:
        page = browser.open(f"{castd.address}/p/radio")
        assert "Off air" in page.inner_text("#state")
        page.click("#toggle")
        trio.from_thread.run(nursery.start, Past(castd, media[AAC_LOW.name], {"One": 1}, "/radio-48").run)
        hear(page)
        page.wait_for_function(
            "() => document.getElementById('player').src.includes('/radio-48?')", timeout=PATIENCE_MS
        )
        wait_for_title(page, "One")
        assert page.inner_text("#name") == "Radio"
        return [each for each in complaints(browser, castd) if "404" not in each]

    async with Castd(tmp_path / "castd", SETTINGS) as castd, trio.open_nursery() as nursery:
        with trio.fail_after(120):
            assert await visit(tmp_path / "profile", look) == []
        nursery.cancel_scope.cancel()

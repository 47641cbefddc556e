"""The same page in Firefox: it plays what castd sends, shows titles in time, goes back, and comes back by itself."""

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
from tests.e2e.server import Castd, live, set_title
from tests.e2e.test_listeners_page import kick_everybody
from tests.e2e.test_timeline import REWIND, SONGS, Past

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.media import Media

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


WORDS = """
return [document.getElementById("title").textContent, document.querySelector("#timeline .behind").textContent,
        document.getElementById("player").src, document.getElementById("quality").selectedOptions[0].textContent,
        document.getElementById("player").currentTime];
"""

BOX = "const box = arguments[0].getBoundingClientRect(); return [box.x, box.y, box.width, box.height].map(Math.round);"

CHOOSE = """
const select = document.getElementById("quality");
select.value = arguments[0];
select.dispatchEvent(new Event("change", { bubbles: true }));
"""


def wait_for(browser: Any, true: Any, what: str) -> list[Any]:
    deadline = time.monotonic() + SECONDS
    while not true(found := browser.execute_script(WORDS)):
        assert time.monotonic() < deadline, f"{what}: {found}"
        time.sleep(0.1)
    return list(found)


async def test_what_was_on_and_auto(media: Mapping[str, Media], tmp_path: Path) -> None:
    def listen(browser: Any) -> None:
        from marionette_driver.keys import Keys

        def plays(what: str) -> None:
            begun = wait_for(browser, lambda found: found[4] > 0, what)[4]
            wait_for(browser, lambda found: found[4] > begun + 0.5, what)

        browser.navigate(f"{castd.address}/p/radio")
        browser.find_element("css selector", "#toggle").click()
        wait_for(browser, lambda found: found[:2] == ["Three - Third", "Live"], "live")
        slider = browser.find_element("css selector", "#timeline input")
        x, y, width, height = browser.execute_script(BOX, [slider])
        for part in (0.5, 0.55):
            pointer = browser.actions.sequence("pointer", "mouse", {"pointerType": "mouse"})
            pointer.pointer_move(x + round(width * part), y + height // 2).pointer_down()
            pointer.pointer_move(x + round(width * part) + 20, y + height // 2).pointer_up().perform()
            wait_for(browser, lambda found: found[0] == "Two - Second" and "behind live" in found[1], "a place in it")
            plays("what was on")
        browser.find_element("css selector", "#from-start").click()
        wait_for(browser, lambda found: "media=" in found[2], "the song from its start")
        slider.send_keys(Keys.HOME)
        wait_for(browser, lambda found: found[0] == "", "before the first song")
        slider.send_keys(Keys.END)
        wait_for(browser, lambda found: found[:2] == ["Three - Third", "Live"], "live")

        browser.execute_script(CHOOSE, ["auto"])
        wait_for(browser, lambda found: "kbit/s AAC" in found[3] and found[2].startswith("blob:"), "Auto")
        plays("Auto")
        slider.send_keys(Keys.HOME)
        wait_for(browser, lambda found: found[0] == "" and "behind live" in found[1], "before the first song, in Auto")
        plays("what was on, in Auto")
        browser.find_element("css selector", "#to-live").click()
        assert wait_for(browser, lambda found: found[:2] == ["Three - Third", "Live"], "live")[2].startswith("blob:")

    settings = f'{REWIND}[groups."/radio"]\nmounts = ["/live", "/other"]\n'
    async with (
        Castd(tmp_path / "castd", settings) as castd,
        publish(media["aac"], castd, "/other", tmp_path / "other.log", again=True),
        trio.open_nursery() as nursery,
    ):
        await nursery.start(Past(castd, media["aac"], SONGS).run)
        with trio.fail_after(200):
            await firefox.visit(tmp_path / "profile", listen)
        nursery.cancel_scope.cancel()

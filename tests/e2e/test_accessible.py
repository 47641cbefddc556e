"""axe finds nothing on any page: WCAG 2.2 A and AA, light and dark, phone and desktop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from axe_playwright_python.sync_playwright import Axe

from tests.e2e.peers import chromium
from tests.e2e.peers.chromium import Visit, visit
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.server import ADMIN_PASSWORD, Castd, live, set_title
from tests.e2e.test_operators_page import sign_in, tab

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Page

    from tests.e2e.media import Media

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", chromium.PROGRAM)]

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES = {"runOnly": {"type": "tag", "values": LEVELS}}

WIDTHS = (360, 1200)


def violations(page: Page, where: str) -> list[str]:
    found: list[dict[str, Any]] = Axe().run(page, options=RULES).response["violations"]
    return [f"{where}: {each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


async def test_every_page(media: Mapping[str, Media], tmp_path: Path) -> None:
    def look(browser: Visit) -> list[str]:
        found: list[str] = []

        def check(page: Page, where: str) -> None:
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 800})
                for scheme in ("light", "dark"):
                    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                    page.wait_for_timeout(100)
                    found.extend(violations(page, f"{where}, {width} px, {scheme}"))
                assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), f"{where} {width} px"

        page = browser.open(f"{empty.address}/")
        check(page, "empty station")
        page.goto(f"{castd.address}/")
        page.click("article .play")
        page.wait_for_function("() => document.body.querySelector('[data-player=playing]')")
        check(page, "station")
        page.goto(f"{castd.address}/p/mp3")
        page.click("#toggle")
        page.click("#share summary")
        check(page, "mount")
        page.goto(f"{castd.address}/p/mp3?embed=1")
        check(page, "embedded")
        page.goto(f"{castd.address}/api/")
        page.wait_for_selector("section article")
        check(page, "API")
        page.goto(f"{castd.address}/admin/")
        page.wait_for_selector("#sign-in-form", state="visible")
        check(page, "sign in")
        sign_in(page, ADMIN_PASSWORD)
        page.wait_for_selector("#view article")
        check(page, "mounts")
        for name in ("listeners", "gone", "bans", "log", "server"):
            tab(page, name)
            page.wait_for_timeout(600)
            check(page, name)
        page.evaluate("() => { location.hash = 'mounts'; }")
        page.wait_for_selector("#view article")
        page.get_by_role("button", name="Set title…").first.click()
        check(page, "dialog")
        return sorted(set(found))

    async with (
        Castd(tmp_path / "empty") as empty,
        Castd(tmp_path / "castd", '[mounts."/mp3"]\nname = "Radio"\ndescription = "Words"\n') as castd,
        publish(media["mp3"], castd, "/mp3", tmp_path / "encoder.log", again=True),
        publish(media["opus"], castd, "/opus", tmp_path / "opus.log", again=True),
    ):
        await live(castd, "/mp3")
        await live(castd, "/opus")
        for title in ("A - B", "C - D", "مرحبا - " + "x" * 300):
            await set_title(castd, "/mp3", title)
        with trio.fail_after(300):
            assert await visit(tmp_path / "profile", look) == []


async def test_by_keyboard(media: Mapping[str, Media], tmp_path: Path) -> None:
    """Everything can be reached, and seen to be reached, without a mouse."""

    def look(browser: Visit) -> None:
        page = browser.open(f"{castd.address}/p/mp3")
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("() => document.activeElement.id") == "toggle":
                break
        outline = "() => getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate("() => document.activeElement.id") == "toggle"
        assert page.evaluate(outline) != "none"
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('player').currentTime > 0.3", timeout=60_000)
        assert page.get_attribute("#toggle", "aria-pressed") == "true"
        page.keyboard.press("Space")
        page.wait_for_function("() => document.getElementById('player-card').dataset.player === 'stopped'")
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.id") == "volume"
        before = page.evaluate("() => document.getElementById('player').volume")
        page.keyboard.press("ArrowLeft")
        assert page.evaluate("() => document.getElementById('player').volume") < before

    async with (
        Castd(tmp_path / "castd") as castd,
        publish(media["mp3"], castd, "/mp3", tmp_path / "encoder.log", again=True),
    ):
        await live(castd, "/mp3")
        with trio.fail_after(180):
            await visit(tmp_path / "profile", look)

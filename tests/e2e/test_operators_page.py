"""The operators' desk in Chromium: signing in and out, seeing everything, and each button."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from castd.access.tokens import FILE_NAME, create
from tests.e2e.client import get
from tests.e2e.peers import chromium
from tests.e2e.peers.chromium import Visit, visit
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.server import ADMIN_PASSWORD, Castd, live

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Page

    from tests.e2e.media import Media

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", chromium.PROGRAM)]

REFUSED = "the server responded with a status of 401"
"""Chromium says so of each wrong password; nothing else may be on the console."""


def sign_in(page: Page, password: str = "", token: str = "") -> None:
    page.fill("[name=password]", password)
    page.fill("[name=token]", token)
    page.click("#sign-in-form .main")


def tab(page: Page, name: str) -> None:
    page.click(f'#tabs a[href="#{name}"]')


def others(browser: Visit) -> list[str]:
    return [each for each in browser.errors if REFUSED not in each]


async def test_in_and_out(media: Mapping[str, Media], tmp_path: Path) -> None:
    state = tmp_path / "castd" / "state"

    def look(browser: Visit) -> list[str]:
        page = browser.open(f"{castd.address}/admin/")
        sign_in(page, "wrong")
        page.wait_for_function(
            "() => document.getElementById('sign-in-error').textContent === 'wrong user or password'"
        )
        assert page.locator("#desk").is_hidden()
        sign_in(page, token=old)
        page.wait_for_function(
            "() => document.getElementById('sign-in-error').textContent === 'this token has expired'"
        )
        sign_in(page, ADMIN_PASSWORD)
        page.wait_for_selector('#view article[data-mount="/mp3"]')
        page.reload()
        page.wait_for_selector('#view article[data-mount="/mp3"]')
        (cookie,) = [
            each for each in browser.context.cookies(f"{castd.address}/api/") if each["name"] == "castd_session"
        ]
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/api/")
        assert page.evaluate("() => document.cookie") == ""
        page.click("#sign-out")
        page.wait_for_selector("#sign-in-form", state="visible")
        page.reload()
        page.wait_for_selector("#sign-in-form", state="visible")

        sign_in(page, token=small)
        page.wait_for_selector('#view article[data-mount="/mp3"]')
        assert page.locator("#tabs a").all_inner_texts() == ["Mounts", "Listeners", "Gone"]
        assert page.get_by_role("button", name="Disconnect…").count() == 0
        assert page.inner_text("#who") == "watcher"
        assert ADMIN_PASSWORD not in page.content()
        return others(browser)

    async with Castd(tmp_path / "castd") as castd, publish(media["mp3"], castd, "/mp3", tmp_path / "encoder.log"):
        old, _ = create(state, "old", ("read",), (), time.time() - 100, time.time() - 1)
        small, _ = create(state, "watcher", ("read",), (), time.time(), None)
        assert (state / FILE_NAME).exists()
        await live(castd, "/mp3")
        await trio.sleep(1.1)  # the file is looked at once a second
        with trio.fail_after(80):
            assert await visit(tmp_path / "profile", look) == []
        log = castd.log()
    for secret in (old, small, ADMIN_PASSWORD):
        assert secret not in log


async def test_a_listener_is_kicked_and_one_sees_why(media: Mapping[str, Media], tmp_path: Path) -> None:
    def look(browser: Visit) -> list[str]:
        page = browser.open(f"{castd.address}/admin/#listeners")
        sign_in(page, ADMIN_PASSWORD)
        row = page.locator("tbody tr", has_text="castd-tests")
        row.wait_for()
        number = row.get_attribute("data-id")
        page.fill("#search", "nobody has this")
        page.wait_for_function("() => document.getElementById('range').textContent.startsWith('0 to 0')")
        page.fill("#search", "castd-tests")
        row.get_by_role("button", name="Kick…").click()
        page.click("#dialog-cancel")
        assert page.locator("dialog").is_hidden()
        row.get_by_role("button", name="Kick…").click()
        page.click("#dialog-ok")
        page.wait_for_function("() => document.getElementById('range').textContent.startsWith('0 to 0')")
        tab(page, "gone")
        gone = page.locator("#gone tr", has_text=f"Listener {number} ")
        gone.wait_for()
        assert "kicked" in gone.inner_text()
        assert gone.inner_text().rstrip().endswith("was kicked by admin.")
        tab(page, "log")
        page.locator("#log p", has_text=f"listener {number} kicked by admin").wait_for()
        return others(browser)

    async with (
        Castd(tmp_path / "castd") as castd,
        publish(media["mp3"], castd, "/mp3", tmp_path / "encoder.log"),
        trio.open_nursery() as nursery,
    ):
        await live(castd, "/mp3")
        nursery.start_soon(get, f"{castd.address}/mp3")
        with trio.fail_after(80):
            assert await visit(tmp_path / "profile", look) == []


async def test_every_button(media: Mapping[str, Media], tmp_path: Path) -> None:
    settings = tmp_path / "castd" / "castd.toml"

    def look(browser: Visit) -> list[str]:
        page = browser.open(f"{castd.address}/admin/")
        sign_in(page, ADMIN_PASSWORD)
        card = page.locator('article[data-mount="/mp3"]')
        card.locator(".level", has_text=" dBFS").wait_for()
        card.get_by_role("button", name="Set title…").click()
        page.get_by_label("Artist").fill("Ärtist <b>")
        page.get_by_role("textbox", name="Title").fill("Tïtle")
        page.click("#dialog-ok")
        card.locator(".now", has_text="Ärtist <b> - Tïtle").wait_for()

        card.get_by_role("button", name="Fallback…").click()
        page.locator("#dialog-fields select").select_option("/other")
        page.click("#dialog-ok")
        page.wait_for_selector("dialog", state="hidden")

        card.get_by_role("button", name="Move listeners…").click()
        page.locator("#dialog-fields select").select_option("/other")
        page.click("#dialog-ok")
        page.wait_for_selector("dialog", state="hidden")

        tab(page, "bans")
        page.get_by_role("button", name="Ban somebody…").click()
        page.get_by_label("Address or network").fill("not an address")
        page.click("#dialog-ok")
        page.wait_for_function("() => document.getElementById('dialog-error').textContent.length > 0")
        page.get_by_label("Address or network").fill("192.0.2.0/24")
        page.get_by_label("Why").fill("a test")
        page.click("#dialog-ok")
        row = page.locator("#bans tr", has_text="192.0.2.0/24")
        row.wait_for()
        row.get_by_role("button", name="Lift…").click()
        page.click("#dialog-ok")
        row.wait_for(state="detached")

        tab(page, "server")
        settings.write_text(settings.read_text() + '[mounts."/mp3"]\nname = "Renamed"\n')
        page.get_by_role("button", name="Read the configuration again…").click()
        page.locator("#dialog-text", has_text="Renamed").wait_for()
        page.click("#dialog-ok")
        page.wait_for_selector("dialog", state="hidden")
        tab(page, "mounts")
        card.locator("h2", has_text="Renamed").wait_for()

        card.get_by_role("button", name="Disconnect…").click()
        page.click("#dialog-ok")
        card.locator(".state", has_text="a fallback stands in").wait_for()
        # the ban's first address was refused, as it should be
        return [each for each in others(browser) if "status of 400" not in each]

    async with (
        Castd(tmp_path / "castd", "[mounts.default]\nsilence_seconds = 5\n") as castd,
        publish(media["mp3"], castd, "/mp3", tmp_path / "encoder.log"),
        publish(media["mp3"], castd, "/other", tmp_path / "other.log"),
    ):
        await live(castd, "/mp3")
        await live(castd, "/other")
        with trio.fail_after(80):
            assert await visit(tmp_path / "profile", look) == []


async def test_a_forged_request_from_another_page_does_nothing(media: Mapping[str, Media], tmp_path: Path) -> None:
    def look(browser: Visit) -> None:
        page = browser.open(f"{castd.address}/admin/")
        sign_in(page, ADMIN_PASSWORD)
        page.wait_for_selector('#view article[data-mount="/mp3"]')
        forged = """async url => (await fetch(url, {method: "POST", body: '{"text": "forged"}'})).status"""
        # even from our own address, as a script that came in by some other hole would send it
        assert page.evaluate(forged, f"{castd.address}/api/v1/admin/mounts/mp3/title") == 403

    async with Castd(tmp_path / "castd") as castd, publish(media["mp3"], castd, "/mp3", tmp_path / "encoder.log"):
        await live(castd, "/mp3")
        with trio.fail_after(60):
            await visit(tmp_path / "profile", look)
        reply = await get(f"{castd.address}/api/v1/mounts/mp3")
        title = json.loads(reply.body)["title"]
        assert title is None or title["text"] != "forged"

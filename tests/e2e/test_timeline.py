"""Going back on a mount's page in Chromium: the slider, songs from their start, a pause that is one, and live again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.e2e.client import get
from tests.e2e.peers import chromium
from tests.e2e.peers.chromium import Visit, visit
from tests.e2e.server import SOURCE_PASSWORD, Castd, set_title
from tests.e2e.test_accessible import WIDTHS, violations
from tests.e2e.test_browser import complaints
from tests.e2e.test_listeners_page import play, wait_for_state
from tests.e2e.test_rewind import in_a_file
from tests.support import basic

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.media import Media

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "ffprobe", chromium.PROGRAM)]

REWIND = '[mounts."/live"]\nname = "Radio"\nrewind_seconds = 300\n'

SONGS = {"One - First": 40, "Two - Second": 70, "Three - Third": 20}
"""Seconds of each."""

EARLY_SECONDS = 1.2
"""By how much a stream may begin before its place: old audio has an entry every second."""

LATE_SECONDS = 0.5
"""By how much what the page hears is later than when it was looked at, at most."""

BEGINS = """
async () => {
  const id = new URL(document.getElementById("player").src).searchParams.get("player");
  const answer = await fetch(`/api/v1/mounts/live/hearing?player=${id}`);
  return answer.ok ? (await answer.json()).media_seconds : null;
}
"""

PAUSE = """
() => {
  const { currentTime } = document.getElementById("player");
  document.getElementById("toggle").click();
  return currentTime;
}
"""

WINDOW = "async () => (await fetch('/api/v1/mounts/live/window')).json()"


class Past:
    """An encoder that has sent songs at once, and goes on in its own time."""

    def __init__(self, castd: Castd, media: Media, songs: Mapping[str, float], mount: str = "/live") -> None:
        self._castd = castd
        self._mount = mount
        self._media = media
        self._songs = songs
        self._stream: trio.SocketStream | None = None
        self.frame_seconds = media.times[-1] / len(media.units)
        self._sent = 0
        self._lock = trio.Lock()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", int(self._castd.address.rpartition(":")[2])) as stream:
            self._stream = stream
            login = basic("source", SOURCE_PASSWORD)
            await stream.send_all(
                f"PUT {self._mount} HTTP/1.1\r\nHost: x\r\nContent-Type: {self._media.format.content_type}\r\n"
                f"Authorization: {login}\r\n\r\n".encode()
            )
            assert b"200 OK" in await stream.receive_some(1000)
            await self.send(12)
            await in_a_file(self._castd)
            for song, seconds in self._songs.items():
                await set_title(self._castd, self._mount, song)
                await self.send(seconds)
            task_status.started()
            while True:
                await trio.sleep(0.25)
                await self.send(0.25)

    async def send(self, seconds: float) -> None:
        """Audio that long, at once; returns when the server has it."""
        assert self._stream is not None
        async with self._lock:
            count = round(seconds / self.frame_seconds)
            units = [self._media.units[(self._sent + number) % len(self._media.units)] for number in range(count)]
            self._sent += count
            await self._stream.send_all(b"".join(units))
        with trio.fail_after(20):
            while seconds > 1 and await self._live() < (self._sent - 10) * self.frame_seconds:  # noqa: ASYNC110
                await trio.sleep(0.05)

    async def _live(self) -> float:
        reply = await get(f"{self._castd.address}/api/v1/mounts{self._mount}/window")
        return float(json.loads(bytes(reply.body))["live_media_seconds"])


def begins(page: Page, after: str) -> float:
    """Where a stream begins that is not the one with this address."""
    words = "after => ![after, ''].includes(document.getElementById('player').src)"
    page.wait_for_function(words, arg=after, timeout=15_000)
    for _ in range(100):
        found = page.evaluate(BEGINS)
        if found is not None:
            return float(found)
        page.wait_for_timeout(100)
    raise AssertionError("the server does not know this player")


def source(page: Page) -> str:
    return str(page.evaluate("() => document.getElementById('player').src"))


def song_at(page: Page, place: float) -> str:
    titles = page.evaluate("async () => (await (await fetch('/api/v1/mounts/live/titles')).json()).titles")
    return str(next(each["text"] for each in titles if each["media_seconds"] <= place))


def wait_for_title(page: Page, title: str) -> None:
    page.wait_for_function("title => document.getElementById('title').textContent === title", arg=title, timeout=20_000)


def spoken(page: Page) -> str:
    return str(page.get_attribute("#timeline input", "aria-valuetext"))


def on_page(page: Page, past: Past, listeners: Any) -> None:
    slider = page.locator("#timeline input")
    slider.wait_for(state="visible")
    play(page)
    wait_for_title(page, "Three - Third")
    assert page.locator("#to-live").is_hidden()
    assert spoken(page) == "Live, Three - Third"

    # a click on a song, with what it will be before it is clicked
    before = source(page)
    box = slider.bounding_box()
    assert box is not None
    held = page.evaluate(WINDOW)
    oldest, live = held["oldest_media_seconds"], held["live_media_seconds"]
    wanted = 12 + SONGS["One - First"] + 14
    part = (wanted - oldest) / (live - oldest)
    page.mouse.move(box["x"] + box["width"] * part, box["y"] + box["height"] / 2)
    page.locator("#timeline .bubble", has_text="Two - Second").wait_for(timeout=5000)
    page.mouse.down()
    page.mouse.up()
    begun = begins(page, before)
    assert abs(begun - wanted) < 4, "the slider's resolution, and the time that passed"
    wait_for_title(page, "Two - Second")
    assert page.locator("#to-live").is_visible()
    assert "behind live, " in spoken(page)

    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert violations(page, f"{width} px, {scheme}") == []
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")

    # a pause drops the connection, and goes on where it was
    before, begun = source(page), begins(page, "")
    left = begun + page.evaluate(PAUSE)
    wait_for_state(page, "stopped", 5)
    assert source(page) == ""
    assert page.inner_text("#state") == "Paused"
    assert trio.from_thread.run(listeners) == 0
    page.wait_for_timeout(3000)
    page.click("#toggle")
    assert -EARLY_SECONDS < begins(page, before) - left < LATE_SECONDS
    wait_for_state(page, "playing", 15)

    # the song from its start; also one of those before
    before = source(page)
    page.click("#from-start")
    begun = begins(page, before)
    assert song_at(page, begun + EARLY_SECONDS) == "Two - Second"
    assert song_at(page, begun - 1) == "One - First"

    # by keyboard: two steps, one new stream; to the oldest; to live
    wait_for_state(page, "playing", 15)
    page.wait_for_timeout(1000)
    before = source(page)
    place = begun + page.evaluate("() => document.getElementById('player').currentTime")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert abs(begins(page, before) - place - 20) < EARLY_SECONDS + LATE_SECONDS
    before = source(page)
    page.keyboard.press("Home")
    begun = begins(page, before)
    assert abs(begun - oldest) < 2
    before = source(page)
    page.keyboard.press("End")
    assert begins(page, before) > live - 10
    wait_for_title(page, "Three - Third")
    assert "media=" not in source(page)

    # a song of those just played, and back to live
    before = source(page)
    page.get_by_role("button", name="Play Two - Second from the start").click()
    begun = begins(page, before)
    assert song_at(page, begun + EARLY_SECONDS) == "Two - Second"
    before = source(page)
    page.click("#to-live")
    assert begins(page, before) > live - 10
    assert page.locator("#to-live").is_hidden()

    # what was on at a pause may be gone
    before = source(page)
    slider.press("Home")
    begins(page, before)
    wait_for_state(page, "playing", 15)
    page.click("#toggle")
    trio.from_thread.run(past.send, 320)
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(500)
    page.click("#toggle")
    page.wait_for_function("() => document.getElementById('state').textContent.includes('not kept any more')")
    assert "media=" not in source(page)


async def test_back_and_live_again(media: Mapping[str, Media], tmp_path: Path) -> None:
    def look(browser: Visit) -> list[str]:
        on_page(browser.open(f"{castd.address}/p/live"), past, listeners)
        # `begins` may ask before the server has seen the player
        return [each for each in complaints(browser, castd) if "/hearing?" not in each]

    async def listeners() -> int:
        with trio.fail_after(10):
            while found := await count():  # noqa: ASYNC110
                await trio.sleep(0.1)
        return found

    async def count() -> int:
        reply = await get(f"{castd.address}/api/v1/mounts/live")
        return int(json.loads(bytes(reply.body))["listeners"])

    async with Castd(tmp_path / "castd", REWIND) as castd, trio.open_nursery() as nursery:
        past = Past(castd, media["mp3"], SONGS)
        await nursery.start(past.run)
        with trio.fail_after(300):
            assert await visit(tmp_path / "profile", look) == []
        nursery.cancel_scope.cancel()

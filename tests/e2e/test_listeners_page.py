"""The pages for listeners in Chromium: titles in time with what is heard, and sound that comes back by itself."""

from __future__ import annotations

import gzip
import os
import re
import signal
import socket
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.e2e.client import get
from tests.e2e.peers import chromium
from tests.e2e.peers.chromium import Visit, visit
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.program import Program
from tests.e2e.server import ADMIN_PASSWORD, Castd, live, set_title, source_url
from tests.e2e.test_browser import complaints

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from playwright.sync_api import Page

    from tests.e2e.media import Media

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "ffprobe", chromium.PROGRAM)]

SOUND_SECONDS = 15.0
"""By when there is sound after a click, or again after a fault."""

TITLE_MS = 1000
"""How far a title may be from what is heard."""

PAGE_BYTES = 60_000
PLAYER_BYTES = 10_000

# Notes when the level rises above a tone's and when the title changes, in ms of the page's clock.
WATCH = """
() => {
  window.seen = {};
  const before = document.getElementById("title").textContent;
  window.watching = setInterval(() => {
    const level = Number(document.getElementById("meter").dataset.level ?? -60);
    if (level > -30) window.seen.sound ??= performance.now();
    if (document.getElementById("title").textContent !== before) window.seen.title ??= performance.now();
  }, 20);
}
"""

PLAYS = """
() => {
  const audio = document.getElementById("player");
  const before = window.lastTime ?? audio.currentTime;
  window.lastTime = audio.currentTime;
  return !audio.paused && audio.readyState > 2 && audio.currentTime > before;
}
"""


def play(page: Page) -> None:
    page.click("#toggle")
    hear(page)


def hear(page: Page) -> None:
    """Wait until the audio moves on."""
    page.evaluate("() => { window.lastTime = undefined; }")
    page.wait_for_function(PLAYS, polling=300, timeout=SOUND_SECONDS * 1000)


def state(page: Page) -> str:
    return str(page.get_attribute("#player-card", "data-player"))


def wait_for_state(page: Page, wanted: str, seconds: float) -> None:
    words = "wanted => document.getElementById('player-card').dataset.player === wanted"
    page.wait_for_function(words, arg=wanted, timeout=seconds * 1000)


@pytest.fixture
async def castd(tmp_path: Path) -> AsyncIterator[Castd]:
    mounts = '[groups.radio]\nmounts = ["/mp3", "/low"]\n[mounts.default]\nname = "Radio"\n'
    async with Castd(tmp_path / "castd", mounts) as running:
        yield running


@asynccontextmanager
async def on_air(castd: Castd, media: Media, mount: str, folder: Path) -> AsyncIterator[Program]:
    async with publish(media, castd, mount, folder / f"encoder-{mount[1:]}.log") as encoder:
        await live(castd, mount)
        yield encoder


async def test_a_title_shows_when_it_is_heard(castd: Castd, tmp_path: Path) -> None:
    """Silence, then a tone; the title changes as the tone begins, at the source. The page measures its own sound."""
    path, silence = tmp_path / "tone.mp3", 22
    made = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i"]
    made += [f"aevalsrc=if(gte(t\\,{silence})\\,0.5*sin(880*PI*t)\\,0):s=44100:d=60", "-b:a", "128k", str(path)]
    await trio.run_process(made)
    push = ["ffmpeg", "-nostdin", "-v", "error", "-re", "-i", str(path), "-c", "copy", "-f", "mp3"]
    push += ["-content_type", "audio/mpeg", source_url(castd, "/mp3")]

    def listen(browser: Visit) -> list[str]:
        page = browser.open(f"{castd.address}/p/mp3")
        play(page)
        page.evaluate(WATCH)
        trio.from_thread.run(trio.sleep_until, began + silence)
        trio.from_thread.run(set_title, castd, "/mp3", "A - Tone")
        page.wait_for_timeout(1500)
        assert page.evaluate("() => window.seen") == {}, "the server knows of it before the listener hears it"
        page.wait_for_function("() => seen.sound && seen.title", timeout=20_000)
        seen = page.evaluate("() => window.seen")
        print(f"the title changed {seen['title'] - seen['sound']:.0f} ms after the sound")
        assert abs(seen["title"] - seen["sound"]) < TITLE_MS
        assert page.inner_text("#title") == "A - Tone"
        assert page.title() == "A - Tone · Radio"
        media_session = "() => [navigator.mediaSession.metadata.title, navigator.mediaSession.playbackState]"
        assert page.evaluate(media_session) == ["A - Tone", "playing"]
        trio.from_thread.run(set_title, castd, "/mp3", "B - Next")
        page.wait_for_function("() => document.getElementById('title').textContent === 'B - Next'", timeout=20_000)
        assert page.locator("#titles li span").first.inner_text() == "A - Tone"
        return complaints(browser, castd)

    async with Program(push, tmp_path / "encoder.log"):
        await live(castd, "/mp3")
        began = trio.current_time()
        with trio.fail_after(110):
            assert await visit(tmp_path / "profile", listen) == []


async def test_a_source_that_is_killed_and_comes_back(castd: Castd, media: Mapping[str, Media], tmp_path: Path) -> None:
    def listen(browser: Visit, drop: Any, back: Any) -> list[str]:
        page = browser.open(f"{castd.address}/p/mp3")
        play(page)
        trio.from_thread.run(drop)
        page.wait_for_function(
            "() => document.getElementById('state').textContent.includes('source')", timeout=SOUND_SECONDS * 1000
        )
        trio.from_thread.run(back)
        hear(page)
        wait_for_state(page, "playing", SOUND_SECONDS)
        assert one_stream(page), "never two at once"
        return complaints(browser, castd)

    async with trio.open_nursery() as nursery:
        scopes: list[trio.CancelScope] = []

        async def send(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            with trio.CancelScope() as scope:
                scopes.append(scope)
                async with on_air(castd, media["mp3"], "/mp3", tmp_path):
                    task_status.started()
                    await trio.sleep_forever()

        async def drop() -> None:
            scopes[-1].cancel()

        await nursery.start(send)
        with trio.fail_after(100):
            found = await visit(tmp_path / "profile", partial(listen, drop=drop, back=partial(nursery.start, send)))
        nursery.cancel_scope.cancel()
    assert found == []


def one_stream(page: Page) -> bool:
    """Whether the server has one connection of this browser's player, no more."""
    reply = trio.from_thread.run(get, f"{address_of(page)}/admin/stats", ("admin", ADMIN_PASSWORD))
    counts = re.findall(rb"<listeners>(\d+)</listeners>", bytes(reply.body))
    return max(map(int, counts)) == 1


def address_of(page: Page) -> str:
    return str(page.evaluate("() => location.origin"))


async def test_a_server_that_stops_and_comes_back(media: Mapping[str, Media], tmp_path: Path) -> None:
    port = free_port()

    def listen(browser: Visit, restart: Any) -> list[str]:
        page = browser.open(f"http://127.0.0.1:{port}/p/mp3")
        play(page)
        trio.from_thread.run(restart)
        wait_for_state(page, "playing", 40)
        hear(page)
        assert page.inner_text("#state") == "Playing"
        # what failed meanwhile, and the mount whose encoder was not back yet, are on the console: nothing else
        return [each for each in browser.errors if "ERR_" not in each and not ("404" in each and "/mp3?" in each)]

    async with trio.open_nursery() as nursery:
        server_scopes: list[trio.CancelScope] = []
        gone = trio.Event()

        async def serve(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            with trio.CancelScope() as scope:
                server_scopes.append(scope)
                async with Castd(tmp_path / "castd", port=port) as castd, on_air(castd, media["mp3"], "/mp3", tmp_path):
                    task_status.started()
                    await trio.sleep_forever()
            gone.set()

        async def restart() -> None:
            server_scopes[-1].cancel()
            await gone.wait()
            await trio.sleep(3)
            await nursery.start(serve)

        await nursery.start(serve)
        with trio.fail_after(110):
            found = await visit(tmp_path / "profile", partial(listen, restart=restart))
        nursery.cancel_scope.cancel()
    assert found == []


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def test_a_stall_is_noticed_and_a_network_that_is_away_comes_back(
    castd: Castd, media: Mapping[str, Media], tmp_path: Path
) -> None:
    def listen(browser: Visit) -> list[str]:
        page = browser.open(f"{castd.address}/p/mp3")
        play(page)
        page.wait_for_timeout(3000)
        os.kill(castd.pid, signal.SIGSTOP)  # as a tunnel: the connection stands, nothing comes
        try:
            began = page.evaluate("() => performance.now()")
            page.wait_for_function("() => document.getElementById('player').readyState < 3", timeout=20_000)
            dry = page.evaluate("() => performance.now()")
            wait_for_state(page, "reconnecting", 10)
            noticed = page.evaluate("() => performance.now()")
            print(f"the buffer lasted {dry - began:.0f} ms, the stall was noticed after {noticed - dry:.0f} ms")
            assert noticed - dry < 5000
        finally:
            os.kill(castd.pid, signal.SIGCONT)
        hear(page)
        wait_for_state(page, "playing", SOUND_SECONDS)

        browser.context.set_offline(True)
        trio.from_thread.run(kick_everybody, castd)
        wait_for_state(page, "reconnecting", SOUND_SECONDS)
        page.wait_for_timeout(2500)
        assert state(page) == "reconnecting"
        browser.context.set_offline(False)
        hear(page)
        assert one_stream(page)
        page.click("#toggle")
        wait_for_state(page, "stopped", 5)
        return [each for each in browser.errors if "ERR_" not in each]

    async with on_air(castd, media["mp3"], "/mp3", tmp_path):
        with trio.fail_after(110):
            assert await visit(tmp_path / "profile", listen) == []


async def kick_everybody(castd: Castd) -> None:
    """Cut all listeners off, as an operator does."""
    reply = await get(f"{castd.address}/admin/listclients?mount=/mp3", ("admin", ADMIN_PASSWORD))
    for number in re.findall(rb"<ID>(\d+)</ID>", bytes(reply.body)):
        await get(f"{castd.address}/admin/killclient?mount=/mp3&id={number.decode()}", ("admin", ADMIN_PASSWORD))


async def test_quality_sharing_and_embedding(castd: Castd, media: Mapping[str, Media], tmp_path: Path) -> None:
    def look(browser: Visit) -> list[str]:
        page = browser.open(f"{castd.address}/p/mp3")
        play(page)
        assert page.locator("#quality option").all_inner_texts()[0] == "Auto"
        assert page.locator("#quality option").count() == 3
        page.select_option("#quality", "/low")
        page.wait_for_function("() => document.getElementById('player').src.includes('/low?')")
        hear(page)
        assert one_stream(page)
        page.click("#share summary")
        page.wait_for_function("() => document.getElementById('qr').naturalWidth > 0")
        assert page.get_attribute("#direct", "href") == f"{castd.address}/mp3"
        assert "/p/mp3?embed=1" in page.input_value("#embed-code")

        # what a chat program, or another site, makes of a link
        data = page.evaluate(
            """async () => {
              const meta = name => document.querySelector(`meta[property="og:${name}"]`).content;
              const oembed = document.querySelector('link[type="application/json+oembed"]').href;
              return [meta("title"), meta("url"), meta("image"), await (await fetch(oembed)).json()];
            }"""
        )
        assert data[:3] == ["A - B", f"{castd.address}/p/mp3", f"{castd.address}/static/card.png"]
        assert data[3]["html"].startswith("<iframe ")

        # in an iframe, without a word of our stylesheet outside of it
        frame = browser.open(f"{castd.address}/p/mp3?embed=1")
        assert frame.locator("#recent").is_hidden()
        assert frame.locator("#share").is_hidden()
        play(frame)
        return complaints(browser, castd)

    async with on_air(castd, media["mp3"], "/mp3", tmp_path), on_air(castd, media["aac"], "/low", tmp_path):
        await set_title(castd, "/mp3", "A - B")
        with trio.fail_after(90):
            assert await visit(tmp_path / "profile", look) == []


async def test_the_player_on_another_site(castd: Castd, media: Mapping[str, Media], tmp_path: Path) -> None:
    """One script tag and one element, from another origin; its title comes in time, too."""

    def listen(browser: Visit) -> None:
        page = browser.open(f"http://127.0.0.1:{port}/")
        element = page.locator("castd-player")
        element.locator("button").click()
        page.wait_for_function(
            "() => document.querySelector('castd-player').player.audio.currentTime > 0.5", timeout=15_000
        )
        page.wait_for_function("() => document.querySelector('castd-player').player.heard !== null", timeout=10_000)
        trio.from_thread.run(set_title, castd, "/mp3", "Heard - Elsewhere")
        element.locator("[part=title]", has_text="Heard - Elsewhere").wait_for(timeout=20_000)
        element.locator("button").click()
        assert page.evaluate("() => document.querySelector('castd-player').player.state") == "stopped"

        # with the address of a group: its first mount, and a choice
        page.evaluate("address => document.querySelector('castd-player').setAttribute('src', address)", group)
        choice = element.locator("[part=quality]")
        choice.wait_for()
        assert choice.input_value() == "/mp3"
        assert choice.locator("option").all_inner_texts() == ["MP3 128 kbit/s", "AAC 125 kbit/s"]
        element.locator("button").click()
        page.wait_for_function("() => document.querySelector('castd-player').player.heard !== null", timeout=10_000)
        element.locator("[part=title]", has_text="Heard - Elsewhere").wait_for(timeout=20_000)
        choice.select_option("/low")
        words = "({ player }) => player.url.endsWith('/low') && player.heard !== null"
        page.wait_for_function(words, arg=element.element_handle(), timeout=15_000)
        assert browser.errors == []

    group = f"{castd.address}/radio"
    site, port = tmp_path / "site", free_port()
    site.mkdir()
    tag = f'<script type="module" src="{castd.address}/static/castd-player.js"></script>'
    body = f'<castd-player src="{castd.address}/mp3" label="Ours"></castd-player>'
    (site / "index.html").write_text(f'<!doctype html><link rel="icon" href="data:,">{tag}{body}')
    serve = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(site), str(port)]
    async with (
        Program(serve, tmp_path / "site.log"),
        on_air(castd, media["mp3"], "/mp3", tmp_path),
        on_air(castd, media["aac"], "/low", tmp_path),
    ):
        with trio.fail_after(90):
            await visit(tmp_path / "profile", listen)


async def test_without_scripts(castd: Castd, media: Mapping[str, Media], tmp_path: Path) -> None:
    def look(browser: Visit) -> None:
        page = browser.context.new_page()
        page.route("**/*.js", lambda route: route.abort())
        page.goto(f"{castd.address}/")
        html = page.content()
        assert '<audio controls="" preload="none" src="/mp3">' in html
        assert 'href="/mp3.m3u"' in html
        page.goto(f"{castd.address}/p/mp3")
        assert 'src="/mp3"' in page.content()

    async with on_air(castd, media["mp3"], "/mp3", tmp_path):
        with trio.fail_after(60):
            await visit(tmp_path / "profile", look)


async def test_sizes_and_the_first_button(castd: Castd, media: Mapping[str, Media], tmp_path: Path) -> None:
    def look(browser: Visit) -> None:
        for path in ("/", "/p/mp3"):
            page = browser.context.new_page()
            session = browser.context.new_cdp_session(page)
            session.send("Network.enable")
            sizes: list[float] = []
            session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))  # noqa: B023
            page.goto(f"{castd.address}{path}")
            page.wait_for_selector("button.toggle:visible")
            usable = page.evaluate("() => performance.now()")
            page.wait_for_timeout(300)
            print(f"{path}: {sum(sizes):.0f} bytes in {len(sizes)} answers, usable after {usable:.0f} ms")
            assert 1000 < sum(sizes) < PAGE_BYTES  # speed depends on the machine, and is printed
            page.close()

    async with on_air(castd, media["mp3"], "/mp3", tmp_path):
        with trio.fail_after(60):
            await visit(tmp_path / "profile", look)
    reply = await get(f"{castd.address}/static/castd-player.js")
    packed = len(gzip.compress(bytes(reply.body), 9))
    print(f"castd-player.js: {len(reply.body)} bytes, {packed} packed")
    assert packed < PLAYER_BYTES

"""Chromium, Debian's own, without a window, driven by playwright.

playwright's synchronous interface brings an event loop of its own, so a whole visit runs in a worker thread, as one
function; what has to happen at the server meanwhile it asks of trio (`trio.from_thread.run`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import trio
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, sync_playwright

T = TypeVar("T")

PROGRAM = "chromium"

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

# Clicks a mount's button; resolves to the ms until the audio moved on, or null when it has not by the deadline.
CLICK_AND_LISTEN = """
([mount, deadline]) => new Promise(resolve => {
  const audio = document.getElementById("player");
  const button = document.querySelector(`article[data-mount="${mount}"] button.play`);
  const clicked = performance.now();
  let first = null;
  button.click();
  const timer = setInterval(() => {
    const waited = performance.now() - clicked;
    const moving = !audio.paused && audio.readyState > 2 && audio.webkitAudioDecodedByteCount > 0;
    if (moving && first === null) first = audio.currentTime;
    const progressed = moving && audio.currentTime > first;
    if (progressed || waited > deadline) { clearInterval(timer); resolve(progressed ? waited : null); }
  }, 5);
})
"""

MEASURE = """
() => {
  const audio = document.getElementById("player");
  return [performance.now() / 1000, audio.currentTime, audio.webkitAudioDecodedByteCount,
          audio.error ? audio.error.message : ""];
}
"""


@dataclass(frozen=True, slots=True)
class Playing:
    """The page's audio at one moment.

    Attributes:
        clock: the page's, in seconds.
        position: the audio's currentTime, in seconds.
        decoded_bytes: so far.
        error: the media element's, or nothing.
    """

    clock: float
    position: float
    decoded_bytes: int
    error: str


@dataclass(slots=True)
class Visit:
    """One browser with its pages.

    Attributes:
        errors: what the pages complained about, on the console or by an exception.
        hosts: whom the pages asked for anything.
    """

    context: BrowserContext
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def open(self, url: str) -> Page:
        page = self.context.new_page()

        def on_console(message: ConsoleMessage) -> None:
            if message.type == "error":
                self.errors.append(f"{message.text} ({message.location})")

        def on_request(request: Request) -> None:
            self.hosts.add(urlsplit(request.url).netloc)

        page.on("console", on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", on_request)
        page.goto(url)
        return page


async def visit(profile: Path, scenario: Callable[[Visit], T]) -> T:
    """Run a browser for one scenario.

    Args:
        profile: a folder for what the browser keeps.
        scenario: what to do there, in a thread.

    Returns:
        What the scenario returns.
    """

    def run() -> T:
        with browser(profile) as context:
            return scenario(Visit(context))

    return await trio.to_thread.run_sync(run)


@contextmanager
def browser(profile: Path) -> Iterator[BrowserContext]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=f"/usr/bin/{PROGRAM}",
            headless=True,
            args=ARGUMENTS,
            ignore_https_errors=True,  # tests make their own certificates
            env={**os.environ, "HOME": str(profile)},
        )
        try:
            context.set_default_timeout(90_000)  # two cores may have much to do
            yield context
        finally:
            context.close()


def click_play(page: Page, mount: str, seconds: float) -> float:
    """Click a mount's play button.

    Returns:
        Seconds from the click to the first sound.
    """
    page.wait_for_selector(f'article[data-mount="{mount}"] button.play', timeout=seconds * 1000)
    waited_ms = page.evaluate(CLICK_AND_LISTEN, [mount, seconds * 1000])
    assert waited_ms is not None, f"{mount} does not play {seconds:g} s after the click: {measure(page)}"
    return float(waited_ms) / 1000


def measure(page: Page) -> Playing:
    """How far the audio of a page is."""
    return Playing(*page.evaluate(MEASURE))

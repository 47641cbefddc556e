"""Firefox, Debian's own, without a window, driven by Marionette, its own protocol.

Mozilla's client waits in the thread that calls it; so, as with Chromium, a whole visit is one function in a worker
thread.
"""

from __future__ import annotations

import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import trio

from tests.e2e.program import Program, until

T = TypeVar("T")

PROGRAM = "firefox-esr"

READY_SECONDS = 40.0

PREFERENCES = {
    "media.autoplay.default": 0,
    "media.volume_scale": '"0.0"',
    "datareporting.policy.dataSubmissionEnabled": "false",
    "app.update.enabled": "false",
    "network.captive-portal-service.enabled": "false",
    "network.connectivity-service.enabled": "false",
    "browser.safebrowsing.downloads.remote.enabled": "false",
    "services.settings.server": '"http://127.0.0.1:9/"',
}


async def visit(profile: Path, scenario: Callable[[Any], T]) -> T:
    """Run a browser for one scenario.

    Args:
        profile: a folder for what the browser keeps.
        scenario: what to do with its marionette_driver.Marionette, in a thread.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    settings = PREFERENCES | {"marionette.port": port}
    lines = [f'user_pref("{name}", {value});\n' for name, value in settings.items()]
    await trio.Path(profile).mkdir()
    await trio.Path(profile / "user.js").write_text("".join(lines))
    command = [PROGRAM, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    environment = {"HOME": str(profile), "MOZ_HEADLESS": "1"}
    async with Program(command, profile / "firefox.log", environment=environment):
        await until(lambda: _answers(port), seconds=READY_SECONDS, what="Firefox")
        return await trio.to_thread.run_sync(_run, port, scenario)


async def _answers(port: int) -> bool:
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            return bool(await stream.receive_some(1))
    except OSError:
        return False


def _run(port: int, scenario: Callable[[Any], T]) -> T:
    with warnings.catch_warnings():  # something that it imports looks for the name of this system in an old way
        warnings.simplefilter("ignore", DeprecationWarning)
        from marionette_driver.marionette import Marionette

    browser = Marionette(host="127.0.0.1", port=port, socket_timeout=30)
    browser.start_session()
    try:
        return scenario(browser)
    finally:
        browser.delete_session()

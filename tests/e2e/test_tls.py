"""Encoders, players and a browser over TLS, on the port that speaks plain HTTP too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.peers import chromium
from tests.e2e.peers.chromium import click_play, measure, visit
from tests.e2e.program import Program
from tests.e2e.server import Castd, live, source_url
from tests.test_tls import make_certificate

if TYPE_CHECKING:
    from tests.e2e.media import Media

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "curl", "openssl")]


@pytest.fixture
async def castd(tmp_path: Path) -> AsyncIterator[Castd]:
    certificate, key = make_certificate(tmp_path, "localhost")
    settings = f'[[certificates]]\ncertificate = "{certificate}"\nkey = "{key}"\n'
    async with Castd(tmp_path / "castd", settings, listen='tls = "auto"') as running:
        yield running


def publish(media: Media, castd: Castd, log: Path) -> Program:
    """An ffmpeg that sends a file over TLS, to be entered."""
    form, target = media.format, source_url(castd, "/live")
    copy = ["-re", "-i", str(media.path), "-c", "copy", "-f", form.container, "-content_type", form.content_type]
    return Program(["ffmpeg", "-nostdin", "-v", "warning", *copy, "-tls", "1", target], log)


async def test_ffmpeg_pushes_and_everybody_listens(castd: Castd, media: Mapping[str, Media], tmp_path: Path) -> None:
    secured = castd.address.replace("http:", "https:")
    async with publish(media["mp3"], castd, tmp_path / "ffmpeg.log"):
        await live(castd, "/live")
        with trio.fail_after(30):
            curl = await trio.run_process(
                ["curl", "-sk", "--max-time", "3", f"{secured}/live"], capture_stdout=True, check=False
            )
            assert len(curl.stdout) > 2 * 16_000, "the burst, and some time"
            assert curl.stdout.startswith(b"\xff\xfb")
            for address in (secured, castd.address):
                decoded = await trio.run_process(
                    ["ffmpeg", "-nostdin", "-v", "error", "-i", f"{address}/live", "-t", "5", "-f", "null", "-"],
                    capture_stderr=True,
                )
                assert decoded.stderr == b""


@pytest.mark.needs(chromium.PROGRAM)
async def test_chromium_plays_over_tls(castd: Castd, media: Mapping[str, Media], tmp_path: Path) -> None:
    secured = castd.address.replace("http:", "https:")

    def listen(browser: chromium.Visit) -> list[str]:
        page = browser.open(secured + "/")
        click_play(page, "/live", 10.0)
        before = measure(page)
        page.wait_for_timeout(4000)
        after = measure(page)
        rate = (after.position - before.position) / (after.clock - before.clock)
        return [] if 0.9 < rate < 1.1 else [f"played at {rate:.2f} times the speed of sound"]

    async with publish(media["opus"], castd, tmp_path / "ffmpeg.log"):
        await live(castd, "/live")
        await trio.sleep(5)  # a burst is there
        with trio.fail_after(60):
            assert await visit(tmp_path / "profile", listen) == []

"""A running castd takes changed files, as its operators give them to it, while people listen."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.client import get
from tests.e2e.program import Program, until
from tests.e2e.server import Castd, live, source_url

if TYPE_CHECKING:
    from tests.e2e.media import Media

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "curl")]

GROWTH_KIB = 3000
"""What a heap may be larger after 200 reloads: 15 KiB each would be a leak, arenas that settle are not."""


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid: int) -> int:
    words = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(words["VmRSS"].split()[0])


async def reload(config: Path) -> int:
    done = await trio.run_process([sys.executable, "-m", "castd", "reload", "-c", config], check=False)
    return done.returncode


async def test_200_reloads(media: Mapping[str, Media], tmp_path: Path) -> None:
    async with Castd(tmp_path / "castd") as castd:
        config = tmp_path / "castd" / "castd.toml"
        text = config.read_text()

        def write(number: int) -> None:
            config.write_text(f'{text}\n[sessions]\nrecent = {number}\n[mounts."/live"]\nname = "Name {number}"\n')

        async def taken(number: int) -> None:
            async def named() -> bool:
                return f'"Name {number}"' in (await get(f"{castd.address}/api/v1/mounts/live")).body.decode()

            await until(named, seconds=10, what=f"reload {number}")

        form = media["mp3"].format
        copy = ["-re", "-stream_loop", "-1", "-i", str(media["mp3"].path), "-c", "copy", "-f", form.container]
        target = [*copy, "-content_type", form.content_type, source_url(castd, "/live")]
        async with Program(["ffmpeg", "-nostdin", "-v", "warning", *target], tmp_path / "ffmpeg.log"):
            await live(castd, "/live")
            heard = tmp_path / "heard.mp3"
            listen = ["curl", "-sS", "-o", str(heard), f"{castd.address}/live"]
            async with Program(listen, tmp_path / "curl.log") as listener:
                write(1)
                assert await reload(config) == 0
                await taken(1)
                for number in range(2, 12):  # what caches and arenas there are fill up
                    write(number)
                    os.kill(castd.pid, signal.SIGHUP)
                    await taken(number)
                before, resident = descriptors(castd.pid), resident_kib(castd.pid)
                for number in range(12, 212):
                    write(number)
                    os.kill(castd.pid, signal.SIGHUP)
                    await taken(number)
                assert resident_kib(castd.pid) - resident < GROWTH_KIB

                async def as_before() -> bool:
                    return descriptors(castd.pid) <= before

                await until(as_before, seconds=10, what="the descriptors of answered requests to be closed")
                config.write_text("[limits]\nmax_listener = 1\n")
                assert await reload(config) == 2
                assert listener.running
                write(212)
                await until_grows(heard)
                assert await reload(config) == 0
                await taken(212)
            decoded = await trio.run_process(
                ["ffmpeg", "-v", "error", "-f", "mp3", "-i", heard, "-f", "null", "-"], capture_stderr=True, check=False
            )
            assert not decoded.stderr.strip()


async def until_grows(path: Path) -> None:
    def size() -> int:
        return path.stat().st_size

    before = size()

    async def grown() -> bool:
        return size() > before

    await until(grown, seconds=10, what="more audio")

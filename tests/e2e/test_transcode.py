"""A tone by ffmpeg, its renditions in AAC, Opus and MP3, and ffmpeg again; a process that is killed, and an upgrade."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.client import Listener, get
from tests.e2e.program import Program, until
from tests.e2e.server import ADMIN_PASSWORD, Castd, live, set_title, source_url

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg")]

TONE_HERTZ, TONE_PEAK = 1000, 0.25
CODECS = ("aac", "opus", "mp3")
TITLE = "Ärtist - Tone"

SETTINGS = "".join(
    f'[mounts."/{codec}"]\ntranscode_from = "/live"\ncodec = "{codec}"\nbitrate = 64000\n' for codec in CODECS
)


@dataclass(frozen=True, slots=True)
class Sound:
    """What was decoded, without the first and last tenth of a second: seconds, Hz, and the loudest sample of 1."""

    seconds: float
    hertz: float
    peak: float


async def decoded(stream: bytes) -> Sound:
    """Decode; any word of ffmpeg's about an error fails the test."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", "pipe:0", "-f", "s16le", "-ac", "1", "-ar", "48000", "pipe:1"]
    result = await trio.run_process(command, stdin=stream, capture_stdout=True, capture_stderr=True)
    assert not result.stderr, result.stderr
    samples = memoryview(result.stdout).cast("h")[4800:-4800]
    rises = sum(before < 0 <= after for before, after in pairwise(samples))
    seconds = len(samples) / 48_000
    return Sound(seconds + 0.2, rises / seconds, max(samples) / 32768)


def tone(server: Castd, log: Path) -> Program:
    """An encoder in stereo, as loud on both sides."""
    source = f"aevalsrc={TONE_PEAK}*sin(2*PI*{TONE_HERTZ}*t)|{TONE_PEAK}*sin(2*PI*{TONE_HERTZ}*t):s=44100"
    encode = ["-re", "-f", "lavfi", "-i", source, "-c:a", "libmp3lame", "-b:a", "128k", "-f", "mp3"]
    target = ["-content_type", "audio/mpeg", source_url(server, "/live")]
    return Program(["ffmpeg", "-nostdin", "-v", "warning", *encode, *target], log)


async def state(server: Castd, mount: str) -> dict[str, Any]:
    reply = await get(f"{server.address}/api/v1/admin/stats", ("admin", ADMIN_PASSWORD))
    return next((dict(each) for each in json.loads(reply.body)["mounts"] if each["mount"] == mount), {})


async def test_renditions_of_a_tone(tmp_path: Path) -> None:
    heard: dict[str, bytes] = {}
    enough = 3.0  # seconds of audio

    async def listen(name: str, seconds: float) -> None:
        async with Listener(f"{server.address}/{name}") as listener:
            assert listener.reply.status == 200, listener.reply
            heard[name] = await listener.listen(seconds)

    async with Castd(tmp_path / "castd", SETTINGS) as server, tone(server, tmp_path / "ffmpeg.log"):
        await live(server, "/live")
        assert "encodes" not in server.log(), "nobody wants it yet"
        async with trio.open_nursery() as nursery:
            for codec in CODECS:
                nursery.start_soon(listen, codec, 6.0)
            for codec in CODECS:
                await live(server, f"/{codec}")
            await set_title(server, "/live", TITLE)
        for codec in CODECS:
            sound = await decoded(heard[codec])
            assert sound.seconds > enough, codec
            assert sound.hertz == pytest.approx(TONE_HERTZ, rel=0.005), codec
            assert sound.peak == pytest.approx(TONE_PEAK, rel=0.12), codec
            shown = await state(server, f"/{codec}")
            assert shown["title"]["text"] == TITLE
            assert (shown["codec"], shown["channels"]) == (codec, 2)
            assert [each["protocol"] for each in shown["sources"]] == ["transcode"]

        async with Listener(f"{server.address}/aac") as listener:
            await listener.listen(1.0)
            (pid,) = re.findall(r"/aac: process (\d+) encodes", server.log())
            before = len(listener.reply.body)
            os.kill(int(pid), signal.SIGKILL)

            async def again() -> bool:
                return len(re.findall(r"/aac: process \d+ encodes", server.log())) == 2

            await until(again, seconds=30, what="another process")
            with trio.fail_after(30):
                while len(listener.reply.body) < before + 40_000:
                    await listener.listen(0.2)
            await server.upgrade()
            before = len(listener.reply.body)
            with trio.fail_after(30):
                while len(listener.reply.body) < before + 40_000:
                    await listener.listen(0.2)
            assert (await decoded(bytes(listener.reply.body))).hertz == pytest.approx(TONE_HERTZ, rel=0.02)
        assert "the process that encodes ended: killed by SIGKILL" in server.log()

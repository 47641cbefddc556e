"""Pictures with sound, in WebM, Matroska and Ogg Theora: who comes late begins with a whole picture."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import trio

from tests.e2e.client import Listener
from tests.e2e.decode import decode
from tests.e2e.program import Program
from tests.e2e.server import Castd, live, source_url

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "ffprobe")]

PICTURES = ["-f", "lavfi", "-i", "testsrc=s=160x120:r=15", "-f", "lavfi", "-i", "sine=f=440:r=44100"]

STREAMS = {
    "/vp8.webm": ("video/webm", [*PICTURES, "-c:v", "libvpx", "-deadline", "realtime", "-b:v", "100k", "-g", "30",
                                 "-c:a", "libvorbis", "-f", "webm"]),
    "/opus.webm": ("audio/webm", ["-f", "lavfi", "-i", "sine=f=440:r=48000", "-c:a", "libopus", "-f", "webm"]),
    "/mpeg4.mkv": ("video/x-matroska", [*PICTURES, "-c:v", "mpeg4", "-b:v", "100k", "-g", "30", "-bf", "2",
                                        "-c:a", "aac", "-f", "matroska"]),
    "/theora.ogg": ("application/ogg", [*PICTURES, "-c:v", "libtheora", "-b:v", "100k", "-g", "30",
                                        "-c:a", "libvorbis", "-f", "ogg"]),
}  # fmt: skip


def pictures(stream: bytes, folder: Path) -> list[dict[str, str]]:
    """The packets with pictures."""
    file = folder / "stream"
    file.write_bytes(stream)
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        "packet=pts_time,flags",
        "-of",
        "json",
    ]
    found = subprocess.run([*command, str(file)], capture_output=True, check=True)
    return list(json.loads(found.stdout).get("packets", []))


async def test_who_comes_late_begins_with_a_whole_picture(tmp_path: Path) -> None:
    streams: dict[str, list[bytes]] = {mount: [] for mount in STREAMS}

    async def hear(mount: str, delay: float) -> None:
        await trio.sleep(delay)
        async with Listener(f"{server.address}{mount}") as listener:
            assert listener.reply.headers["content-type"] == STREAMS[mount][0]
            streams[mount].append(await listener.listen(8.0))

    async with Castd(tmp_path) as server, trio.open_nursery() as encoders:
        for mount, (content_type, options) in STREAMS.items():
            target = ["-content_type", content_type, source_url(server, mount)]
            command = ["ffmpeg", "-nostdin", "-v", "warning", "-re", *options, "-flush_packets", "1", *target]
            encoders.start_soon(_hold, Program(command, tmp_path / f"encoder{mount.replace('/', '-')}.log"))
        for mount in STREAMS:
            await live(server, mount)
        await trio.sleep(6.0)
        async with trio.open_nursery() as nursery:
            for mount in STREAMS:
                nursery.start_soon(hear, mount, 0.0)
                nursery.start_soon(hear, mount, 1.3)
        encoders.cancel_scope.cancel()
    for mount, heard in streams.items():
        for stream in heard:
            decoded = await decode(stream)
            assert decoded.seconds > 5.0, mount
            assert decoded.peak > 0.05, mount
            if mount != "/opus.webm":
                seen = pictures(stream, tmp_path)
                assert len(seen) > 60, mount
                assert seen[0]["flags"].startswith("K"), mount


async def _hold(program: Program) -> None:
    async with program:
        await trio.sleep_forever()

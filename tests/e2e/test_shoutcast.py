"""Encoders that speak SHOUTcast, with the server on two ports as they take it to be, and one that cannot sign in."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from tests.e2e.client import Listener
from tests.e2e.decode import decode
from tests.e2e.peers.butt import PROGRAMS, Butt, Desktop
from tests.e2e.peers.icecast import free_port
from tests.e2e.program import Program, until
from tests.e2e.server import SOURCE_PASSWORD, Castd, live, status

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg")]

TITLE = "Lab Ärtist - Söng & 1"


def two_ports() -> int:
    """The first of two free ports."""
    while True:
        first = free_port()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
        return first


def castd(folder: Path, settings: str = "") -> Castd:
    port = two_ports()
    listen = f'[[listen]]\nhost = "127.0.0.1"\nport = {port}\n\n[[listen]]\nhost = "127.0.0.1"\nport = {port + 1}\n'
    return Castd(folder, listen + settings, port=None)


async def titled(server: Castd, mount: str, title: str) -> None:
    async def probe() -> bool:
        return title in str(((await status(server, mount)) or {}).get("title"))

    await until(probe, seconds=15, what=f"{title!r} in the status of {mount}")


async def hums(server: Castd, mount: str) -> None:
    async with Listener(server.address + mount) as listener:
        sound = await decode(await listener.listen(5))
    assert sound.seconds > 3
    assert sound.peak > 0.1


@pytest.mark.needs(*PROGRAMS)
async def test_butt_as_a_shoutcast_encoder(tmp_path: Path) -> None:
    with trio.fail_after(100):
        async with (
            castd(tmp_path / "castd") as server,
            Desktop(tmp_path / "desktop") as desktop,
            Butt(desktop, "mp3", server, "", tmp_path / "butt") as butt,
        ):
            await live(server, "/stream")
            await butt.set_title(TITLE)
            await titled(server, "/stream", TITLE)
            await hums(server, "/stream")


@pytest.mark.needs("gst-launch-1.0")
async def test_gstreamer_by_shoutcast(tmp_path: Path) -> None:
    """libshout: it pokes first, ends its lines with a bare line feed, and names no type."""
    with trio.fail_after(60):
        async with castd(tmp_path / "castd") as server:
            port = server.address.rpartition(":")[2]
            command = [
                "gst-launch-1.0", "-q", "audiotestsrc", "is-live=true", "!", "audio/x-raw,rate=44100,channels=2", "!",
                "audioconvert", "!", "taginject", f"tags=title={TITLE.split()[0]}", "!", "lamemp3enc", "target=bitrate",
                "bitrate=128", "cbr=true", "!", "shout2send", "protocol=icy", "ip=127.0.0.1", f"port={port}",
                f"password={SOURCE_PASSWORD}", "streamname=Lab",
            ]  # fmt: skip
            async with Program(command, tmp_path / "gst.log") as encoder:
                await live(server, "/stream")
                await titled(server, "/stream", TITLE.split()[0])
                await hums(server, "/stream")
                assert encoder.running, encoder.text()


@pytest.mark.needs("gst-launch-1.0")
async def test_gstreamer_in_batches_with_a_stream_key(tmp_path: Path) -> None:
    with trio.fail_after(60):
        settings = '[mounts."/keyed"]\nstream_key = "a-long-key"\n'
        async with castd(tmp_path / "castd", settings) as server:
            command = [
                "gst-launch-1.0", "-q", "audiotestsrc", "is-live=true", "!", "audioconvert", "!", "vorbisenc", "!",
                "oggmux", "!", "souphttpclientsink", f"location={server.address}/keyed?key=a-long-key",
            ]  # fmt: skip
            async with Program(command, tmp_path / "gst.log") as encoder:
                await live(server, "/keyed")
                await trio.sleep(2)
                await hums(server, "/keyed")
                assert encoder.running, encoder.text()
            assert server.log().count(" connected by PUT") == 1, "its batches are one source"
            assert "a-long-key" not in server.log()

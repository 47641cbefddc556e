"""HLS that goes back, through a whole server: what was pushed at once, a restart, a disk with too little room."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from castd.config.model import Server as ServerSettings
from castd.segments import spool
from tests import hls
from tests.support import FRAME_BYTES, FRAME_SECONDS, Serving, configured, head, serving, until


@asynccontextmanager
async def radio(folder: Path, **mount: float) -> AsyncIterator[Serving]:
    mounts = {"default": {"rewind_seconds": 300.0, "hls_segment_seconds": 2.0, **mount}}
    async with serving(configured(server=ServerSettings(state_dir=str(folder)), mounts=mounts), 60.0) as castd:
        yield castd


async def push(castd: Serving, count: int, first: int = 0) -> None:
    """So many frames at once, when half a minute of them has made the mount have a file."""
    encoder = await castd.encoder("/live")
    encoder.next = first
    before = castd.server.registry.mounts["/live"].bytes_received
    for at in range(count // 100):
        if at == 10:
            await until(lambda: castd.mount("/live").on_file)
        await encoder.push(100)
    await until(lambda: castd.mount("/live").bytes_received - before >= count * FRAME_BYTES)


@dataclass
class Shown:
    """A playlist, and how long its answer took."""

    playlist: hls.Playlist
    seconds: float

    @property
    def length(self) -> float:
        return sum(each.seconds for each in self.playlist.complete)


async def shown(castd: Serving) -> Shown:
    begun = time.monotonic()
    reply = await castd.ask(head("GET", "/live/hls/audio.m3u8"))
    assert reply.status == 200, reply.text
    playlist = hls.parse(reply.body)
    hls.check(playlist)
    return Shown(playlist, time.monotonic() - begun)


async def long(castd: Serving, seconds: float) -> hls.Playlist:
    """The playlist, when it is that long."""
    while True:
        found = await shown(castd)
        if found.length >= seconds:
            return found.playlist


async def numbers(castd: Serving, segment: hls.Segment) -> list[int]:
    reply = await castd.ask(head("GET", f"/live/hls/{segment.uri}"))
    assert reply.status == 200, reply.text
    assert "immutable" in reply.headers["cache-control"]
    stream = b"".join(_payload(reply.body[at : at + 188]) for at in range(0, len(reply.body), 188))
    return [int(each) for each in re.findall(rb"<(\d{8})>", stream)]


def _payload(packet: bytes) -> bytes:
    if (packet[1] << 8 | packet[2]) & 0x1FFF != 0x100:
        return b""
    return packet[4 + (1 + packet[4] if packet[3] & 0x20 else 0) :]


async def test_from_the_beginning_over_a_restart(tmp_path: Path) -> None:
    async with radio(tmp_path) as castd:
        await push(castd, 6000)
        playlist = await long(castd, 6000 * FRAME_SECONDS - 12)
        before = [await numbers(castd, each) for each in playlist.complete]
        heard = [number for each in before for number in each]
        assert heard == list(range(heard[0], heard[0] + len(heard)))
        segmenter = castd.server.segmenters.of(castd.mount("/live"))
        assert segmenter.held.in_memory < 35 / FRAME_SECONDS * FRAME_BYTES * 1.2
        assert len([each for each in segmenter.held if each.place]) > 40
    async with radio(tmp_path) as castd:
        await push(castd, 1000, 50_000)
        found = await shown(castd)
        assert found.length > 6000 * FRAME_SECONDS - 20, "there at once"
        again = [number for each in found.playlist.complete for number in await numbers(castd, each)]
        old, new = [each for each in again if each < 50_000], [each for each in again if each >= 50_000]
        assert old == list(range(old[0], old[0] + len(old)))
        assert new == list(range(50_000, 50_000 + len(new)))
        assert len({each.discontinuity for each in found.playlist.complete}) == (2 if new else 1)


async def test_what_is_not_wanted(tmp_path: Path) -> None:
    async with radio(tmp_path, hls_rewind_seconds=0.0) as castd:
        await push(castd, 4000)
        found = await shown(castd)
        assert found.length < 40
        assert castd.server.segmenters.of(castd.mount("/live")).held.spool is None


async def test_a_disk_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Playlists are as long as they always were, and the log says so once."""
    monkeypatch.setattr(spool, "RESERVE_BYTES", 1 << 60)
    async with radio(tmp_path) as castd:
        await push(castd, 4000)
        await until(lambda: "for a while" in caplog.text)
        found = await shown(castd)
        assert 15 < found.length < 40
        assert caplog.text.count("reach back by no more") == 1


@pytest.mark.parametrize("trouble", [OSError(errno.EIO, "Input/output error"), RuntimeError("can't start new thread")])
async def test_old_segments_that_cannot_be_read(
    trouble: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs whoever wants one; what is new is there."""

    def fail(*args: object) -> None:
        raise trouble

    async with radio(tmp_path) as castd:
        await push(castd, 4000)
        playlist = await long(castd, 80)
        with monkeypatch.context() as patched:
            patched.setattr(spool, "_read", fail)
            reply = await castd.ask(head("GET", f"/live/hls/{playlist.complete[2].uri}"))
            assert (reply.status, reply.headers["retry-after"]) == (503, "5")
            assert "the disk does not give it" in reply.text
            assert await numbers(castd, playlist.complete[-1])
        assert await numbers(castd, playlist.complete[2])
    assert caplog.text.count("old segments cannot be read") == 1

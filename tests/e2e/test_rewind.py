"""Back by a minute with real programs, through upgrades and a restart, and on a disk that is too small."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.client import Listener
from tests.e2e.disk import small_disk
from tests.e2e.server import SOURCE_PASSWORD, Castd
from tests.e2e.test_upgrade import check_numbers, numbers
from tests.support import FRAME_BYTES, FRAME_SECONDS, basic, frame

if TYPE_CHECKING:
    from tests.e2e.media import Media

pytestmark = pytest.mark.e2e

REWIND = "[mounts.default]\nrewind_seconds = {seconds}\n"


class Encoder:
    """Sends a past at once, and goes on in its own time: numbered frames, or a file whose last second lasts."""

    def __init__(self, castd: Castd, past: bytes, content_type: str, following: int = 0) -> None:
        self._castd = castd
        self._past = past
        self._type = content_type
        self.sent = self._first = following

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        port = int(self._castd.address.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(
                f"PUT /live HTTP/1.1\r\nHost: x\r\nContent-Type: {self._type}\r\n"
                f"Authorization: {basic('source', SOURCE_PASSWORD)}\r\n\r\n".encode()
            )
            assert b"200 OK" in await stream.receive_some(1000)
            await stream.send_all(self._past)
            task_status.started()
            begun = trio.current_time()
            while self._type == "audio/mpeg":
                await stream.send_all(frame(self.sent))
                self.sent += 1
                await trio.sleep_until(begun + (self.sent - self._first) * FRAME_SECONDS)
            await trio.sleep_forever()


def counting(castd: Castd, count: int, first: int = 0) -> Encoder:
    return Encoder(castd, b"".join(map(frame, range(first, first + count))), "audio/mpeg", first + count)


async def in_a_file(castd: Castd) -> None:
    """Wait until its mount can be rewound."""
    with trio.fail_after(30):
        while "can be rewound by" not in castd.log():  # noqa: ASYNC110
            await trio.sleep(0.1)


async def test_through_upgrades_and_a_restart(tmp_path: Path) -> None:
    """A listener a minute back hears each frame once; the next process, and the one after a stop, know the past."""
    settings = REWIND.format(seconds=300)
    async with Castd(tmp_path, settings) as castd, trio.open_nursery() as nursery:
        await nursery.start(counting(castd, 4000).run)
        await in_a_file(castd)
        async with Listener(f"{castd.address}/live?t=-45") as back, trio.open_nursery() as listening:
            listening.start_soon(back.listen)
            for _ in range(3):
                await trio.sleep(0.5)
                assert "1 mounts, 1 sources, 1 listeners" in await castd.upgrade()
            await trio.sleep(1.5)
            listening.cancel_scope.cancel()
            heard = bytes(back.reply.body)
        whole = heard[: len(heard) // FRAME_BYTES * FRAME_BYTES]
        assert 2000 < numbers(whole)[0] < 2500
        assert check_numbers(whole) - numbers(whole)[0] > 4 / FRAME_SECONDS
        nursery.cancel_scope.cancel()
    async with Castd(tmp_path, settings) as castd, trio.open_nursery() as nursery:
        await nursery.start(counting(castd, 1000, 100_000).run)
        await trio.sleep(1)
        assert "minutes from before can be heard again" in castd.log()
        async with Listener(f"{castd.address}/live?t=-60") as back:
            await back.listen(1)
        assert 1000 < numbers(bytes(back.reply.body[: 10 * FRAME_BYTES]))[0] < 5000
        nursery.cancel_scope.cancel()


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("name", ["mp3", "aac", "opus", "vorbis", "flac"])
async def test_ffmpeg_plays_what_was_on(name: str, media: Mapping[str, Media], tmp_path: Path) -> None:
    one = media[name]
    async with Castd(tmp_path, REWIND.format(seconds=300)) as castd, trio.open_nursery() as nursery:
        past = one.path.read_bytes()
        await nursery.start(Encoder(castd, past, one.format.content_type).run)
        await in_a_file(castd)
        output = ["-t", "3", "-f", "null", "-"]
        done = await trio.run_process(
            ["ffmpeg", "-nostdin", "-v", "info", "-i", f"{castd.address}/live?t=-30", *output],
            capture_stderr=True,
            check=False,
        )
        said = done.stderr.decode()
        assert done.returncode == 0, said
        assert re.search(r"time=00:00:0(2\.9|3\.0)", said), said
        assert "rror" not in said, said
        nursery.cancel_scope.cancel()


@pytest.mark.needs("mount", "umount")
async def test_a_disk_that_is_smaller_than_the_past(tmp_path: Path) -> None:
    """What fits is offered: 64 MiB are left to logs and records, and two are free beyond."""
    with small_disk(tmp_path / "castd", 67):
        async with Castd(tmp_path / "castd", REWIND.format(seconds=3600)) as castd, trio.open_nursery() as nursery:
            encoder = counting(castd, 4000)
            await nursery.start(encoder.run)
            await in_a_file(castd)
            said = re.search(r"can be rewound by (\d+) minutes, not 60: the disk has no more than 2 MiB", castd.log())
            assert said
            async with (
                Listener(f"{castd.address}/live") as live,
                Listener(f"{castd.address}/live?t=-3600") as back,
                trio.open_nursery() as both,
            ):
                both.start_soon(live.listen, 3)
                both.start_soon(back.listen, 3)
            for each in (live, back):
                check_numbers(bytes(each.reply.body[: len(each.reply.body) // FRAME_BYTES * FRAME_BYTES]))
            assert numbers(bytes(back.reply.body[: 10 * FRAME_BYTES]))[0] < 2000
            nursery.cancel_scope.cancel()

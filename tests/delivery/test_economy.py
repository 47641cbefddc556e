"""What a listener costs, counted: system calls, and memory that stays. Speeds are tests.bench's business."""

from __future__ import annotations

import gc
import sys
from math import sqrt

import pytest
import trio
import trio.testing

from castd.config import Config, Current
from castd.delivery.listener import Buffer, Listener
from castd.delivery.pump import LISTENERS_AT_ONE_SECOND, Pump
from castd.mount.mount import Clock, Mount
from tests.delivery.fakes import FakePoller, FakeSocket
from tests.mount.fakes import Encoder, settings
from tests.support import FRAME_SECONDS

TICK_FRAMES = 4
"""Of a source's write: 0.1 s."""


class Deaf(FakeSocket):
    """Takes everything and keeps nothing, so that only the server's own memory is seen."""

    def send(self, data: Buffer, /) -> int:
        self.sends += 1
        return len(data)

    def sendmsg(self, buffers: list[Buffer], /) -> int:
        self.sends += 1
        return sum(map(len, buffers))


class Load:
    """A pump, one mount, and listeners without sockets, in the virtual time of trio's clock."""

    def __init__(self, listeners: int, metaint: int = 0) -> None:
        self.poller = FakePoller()
        self.pump = Pump(Current(Config()), self.poller)
        self.mount = Mount("/live", settings(), Clock(monotonic=trio.current_time, wall=trio.current_time))
        self.encoder = Encoder(self.mount)
        self.mount.sources.append(self.encoder.source)
        self.mount._begin(self.encoder.source)
        self.encoder.feed(20)
        self.sockets = [Deaf() for _ in range(listeners)]
        for each in self.sockets:
            self.pump.add(Listener(self.mount, each, position=self.mount.ring.head, metaint=metaint))

    async def play(self, ticks: int) -> None:
        """So many of the source's writes, each at its time."""
        for _ in range(ticks):
            self.encoder.feed(TICK_FRAMES)
            self.encoder.entries.clear()  # the fake's own memory
            await trio.sleep(TICK_FRAMES * FRAME_SECONDS)


@pytest.mark.parametrize("metaint", [0, 16_000])
@pytest.mark.parametrize("listeners", [20, 1000, 4000])
async def test_system_calls_of_a_listener_in_a_second(
    autojump_clock: trio.testing.MockClock, listeners: int, metaint: int
) -> None:
    load, seconds = Load(listeners, metaint), 10.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.pump.run)
        await load.play(100)
        before = sum(each.sends for each in load.sockets)
        begun = trio.current_time()
        await load.play(round(seconds / (TICK_FRAMES * FRAME_SECONDS)))
        calls, passed = sum(each.sends for each in load.sockets) - before, trio.current_time() - begun
        nursery.cancel_scope.cancel()
    each_second = calls / listeners / passed
    # one for each write of the source while there are few, then one in each interval
    allowed = min(1 / (TICK_FRAMES * FRAME_SECONDS), sqrt(LISTENERS_AT_ONE_SECOND / listeners))
    assert 0.5 * allowed <= each_second <= 1.05 * allowed
    assert not load.poller.waiting, "nobody is watched for writability who takes everything"


async def test_ten_thousand_ticks_leave_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    load = Load(10, 16_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.pump.run)
        await load.play(2000)  # until the ring is full and the timeline as long as it gets
        gc.collect()
        before = sys.getallocatedblocks()
        await load.play(10_000)
        gc.collect()
        grown = sys.getallocatedblocks() - before
        nursery.cancel_scope.cancel()
    assert grown < 500, "blocks of Python's memory"

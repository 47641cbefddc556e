"""Bytes late, in pieces, in fits and starts, not at all, or a reset: what was sent is heard once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from castd.config import Limits
from tests.network.proxy import Proxy, Weather
from tests.support import FRAME_BYTES, Ear, Encoder, Serving, canary, configured, frames, serving, until

LIMITS = Limits(source_timeout_seconds=3.0)

WEATHERS = {
    "late": Weather(delay=0.1),
    "in pieces": Weather(piece=100),
    "late and in pieces": Weather(delay=0.01, piece=700),
}


@asynccontextmanager
async def behind_proxy() -> AsyncIterator[tuple[Serving, Proxy]]:
    """castd and a proxy to it; a canary beside it hears every byte meanwhile."""
    async with (
        serving(configured(limits=LIMITS), seconds=60) as castd,
        canary(castd),
        trio.open_nursery() as nursery,
    ):
        proxy = Proxy(castd.port)
        await nursery.start(proxy.run)
        yield castd, proxy
        nursery.cancel_scope.cancel()


async def encoder(proxy: Proxy) -> Encoder:
    return await Encoder(await trio.open_tcp_stream("127.0.0.1", proxy.port)).begin("/live")


async def ear(port: int) -> Ear:
    return await Ear(await trio.open_tcp_stream("127.0.0.1", port)).join("/live")


@pytest.mark.parametrize("weather", WEATHERS.values(), ids=WEATHERS.keys())
async def test_bad_both_ways(weather: Weather, capsys: pytest.CaptureFixture[str]) -> None:
    """An encoder and a listener behind the same bad network, through which the listener is the slower one."""
    async with behind_proxy() as (castd, proxy):
        proxy.weather = weather
        async with await encoder(proxy) as source:
            await source.push(50)
            await until(lambda: "/live" in castd.server.registry.mounts and castd.mount("/live").ring.head > 0)
            async with await ear(proxy.port) as listener:
                for _ in range(20):
                    await source.push(5)
                    await trio.sleep(0.02)
                sent = frames(0, source.next - 1)  # castd waits for what follows the last one
                heard = await listener.exactly(100 * FRAME_BYTES)
                assert len(heard) == 100 * FRAME_BYTES
                assert heard in sent
                assert sent.index(heard) % FRAME_BYTES == 0
        assert proxy.pieces > 20


async def test_an_encoder_s_network_dies_and_returns() -> None:
    """Before source_timeout_seconds, nobody notices but by silence."""
    async with behind_proxy() as (castd, proxy), await encoder(proxy) as source:
        await source.push(50)
        await until(lambda: "/live" in castd.server.registry.mounts and castd.mount("/live").ring.head > 0)
        async with await ear(castd.port) as listener:
            proxy.die()
            await source.push(50)
            await trio.sleep(1)
            proxy.revive()
            assert await listener.exactly(99 * FRAME_BYTES) == frames(0, 99)


async def test_an_encoder_s_network_dies_for_good() -> None:
    """ING-02n: who comes another way with the password is taken, and heard by who was there."""
    async with behind_proxy() as (castd, proxy), await encoder(proxy) as source:
        await source.push(50)
        await until(lambda: "/live" in castd.server.registry.mounts and castd.mount("/live").ring.head > 0)
        async with await ear(castd.port) as listener:
            assert await listener.exactly(49 * FRAME_BYTES) == frames(0, 49)
            proxy.die()
            await trio.sleep(2.2)  # castd's own idea of silence
            async with await castd.encoder("/live") as other:
                other.next = 1000
                await other.push(20)
                assert await listener.exactly(20 * FRAME_BYTES) == frames(49, 50) + frames(1000, 1019)


async def test_everything_is_reset() -> None:
    """The encoder returns, whoever listened elsewhere is still there, and castd keeps nobody who is gone."""
    async with behind_proxy() as (castd, proxy), await encoder(proxy) as source:
        await source.push(50)
        await until(lambda: "/live" in castd.server.registry.mounts and castd.mount("/live").ring.head > 0)
        near, far = await ear(castd.port), await ear(proxy.port)
        async with near, far:
            await until(lambda: len(castd.mount("/live").listeners) == 2)
            proxy.reset()
            await until(lambda: len(castd.mount("/live").listeners) == 1 and not castd.mount("/live").sources)
            async with await encoder(proxy) as again:
                again.next = 1000
                await again.push(20)
                assert await near.exactly(69 * FRAME_BYTES) == frames(0, 50) + frames(1000, 1019)

"""Networks that are slow, far away, cut everything into slices, or reset at any byte."""

from __future__ import annotations

import os
import random
import socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from castd.config import Limits, Listen
from tests.support import (
    FRAME_BYTES,
    FRAME_SECONDS,
    SOURCE,
    Client,
    bench,
    canary,
    configured,
    frames,
    head,
    serving,
    until,
)

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_an_encoder_far_away(autojump_clock: MockClock) -> None:
    """Two seconds away, give or take two, with a tenth more room than the stream needs."""
    dice = random.Random(2)
    async with bench() as castd, await castd.encoder("/live") as encoder:
        sent = 0
        for _ in range(60):
            late = dice.uniform(0, 4)
            await trio.sleep(late)
            await encoder.push(round(late / FRAME_SECONDS / 1.1) + 1)
            sent = encoder.next
        await trio.sleep(1)
        assert castd.mount("/live").source is not None, "it was dropped"
        ring = castd.mount("/live").ring
        kept = castd.ring("/live")
        assert frames(0, sent - 1).endswith(kept), "damaged on the way"
        assert ring.head >= (sent - 2) * FRAME_BYTES


async def test_an_encoder_that_stalls(autojump_clock: MockClock) -> None:
    limits = Limits(source_timeout_seconds=10.0)
    async with bench(configured(limits=limits)) as castd, await castd.encoder("/live") as encoder:
        await encoder.push(60)
        await trio.sleep(8)
        assert castd.mount("/live").source is not None, "8 s of 10 are too few to be dropped"
        await encoder.push(60)
        await trio.sleep(12)
        assert castd.mount("/live").source is None
        async with await castd.encoder("/live") as again:
            await again.push(60)
            await trio.sleep(1)
            assert castd.mount("/live").source is not None


async def test_slices_of_any_size() -> None:
    dice = random.Random(5)
    async with serving(seconds=30) as castd:
        stream = await castd.stream()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        encoder = Client(stream)

        async def send(data: bytes) -> None:
            at = 0
            while at < len(data):
                size = dice.randint(1, 20)
                await encoder.send(data[at : at + size])
                at += size

        await send(head("PUT", "/live", user=SOURCE))
        assert (await encoder.until(b"\r\n\r\n")).startswith(b"HTTP/1.0 200")
        await send(frames(0, 20))
        await until(lambda: castd.mount("/live").ring.head > 0)
        listener = Client(await castd.stream())
        for byte in head("GET", "/live"):
            await listener.send(bytes([byte]))
        await listener.until(b"\r\n\r\n")
        await send(frames(20, 60))
        heard = listener.received
        while len(heard) < 58 * FRAME_BYTES:
            heard += await listener.stream.receive_some(dice.randint(1, 20))
        assert frames(0, 60).startswith(heard)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.slow
async def test_a_reset_at_each_byte() -> None:
    """Of what an encoder sends: head and three frames; of what a listener sends, and of what it got with titles."""
    sent = head("PUT", "/reset", user=SOURCE) + frames(0, 3)
    asked = head("GET", "/canary", {"Icy-MetaData": "1"})
    async with serving(configured(limits=Limits(max_unread_heads=10_000)), seconds=60) as castd, canary(castd):
        await until(lambda: len(castd.server.registry.mounts) == 1)
        before = descriptors()
        for offset in range(0, len(sent), 2):
            async with await castd.connect() as client:
                await client.send(sent[:offset])
                client.reset()
        for offset in range(0, len(asked) + 400, 2):
            async with await castd.connect() as client:
                await client.send(asked[:offset])
                if offset > len(asked):
                    await client.exactly(offset - len(asked))
                client.reset()
        castd.streams.clear()
        await until(lambda: descriptors() <= before)
        await until(lambda: len(castd.mount("/canary").listeners) == 1)
        await until(lambda: "/reset" not in castd.server.registry.mounts or castd.mount("/reset").source is None)


@pytest.mark.slow
async def test_five_hundred_come_back_at_once() -> None:
    """After an outage. A queue for five at the door, which Icecast has, makes most of them wait for seconds."""
    async with serving(seconds=60) as castd, await castd.encoder("/live") as encoder:
        await encoder.push(100)
        await until(lambda: castd.mount("/live").begun)
        served = 0

        async def come() -> None:
            nonlocal served
            ear = await castd.ear("/live")
            await ear.exactly(FRAME_BYTES)
            served += 1

        async with trio.open_nursery() as nursery:
            for _ in range(500):
                nursery.start_soon(come)
        assert served == 500
        assert len(castd.mount("/live").listeners) == 500


async def test_one_socket_for_both() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    async with serving(configured(listen=(Listen(host="", port=0),)), seconds=20) as castd:
        for address in ("127.0.0.1", "::1"):
            try:
                stream = await trio.open_tcp_stream(address, castd.port)
            except OSError:
                assert address == "::1", "IPv4 must do"
                pytest.skip("no IPv6 at loopback")
            async with Client(stream) as client:
                assert (await client.ask(head("GET", "/status-json.xsl"))).status == 200

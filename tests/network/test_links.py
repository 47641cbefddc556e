"""Packets lost, late, in another order, or gone for good: what was sent is heard once, and who vanished is let go."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conftest import unavailable
from tests.e2e.server import ADMIN_PASSWORD, SOURCE_PASSWORD, Castd
from tests.network.link import HUB, Link, Weather
from tests.support import FRAME_BYTES, FRAME_SECONDS, Client, Ear, Encoder, frame, frames, head

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STUDIO, TRAIN, TUNNEL = "10.99.0.2", "10.99.0.3", "10.99.0.4"

SOURCE, ADMIN = ("source", SOURCE_PASSWORD), ("admin", ADMIN_PASSWORD)

BAD = Weather(loss=0.05, delay=0.1, jitter=0.05)
WORSE = Weather(loss=0.1, delay=0.05, jitter=0.05)

LIMITS = "source_timeout_seconds = 6\npeer_timeout_seconds = 4"

PATIENCE_SECONDS = 60.0


@dataclass
class Network:
    """castd at one end of a link."""

    link: Link
    castd: Castd
    port: int
    streams: list[trio.SocketStream] = field(default_factory=list)

    async def encoder(self, host: str, mount: str, first: int = 0) -> Encoder:
        """At a far host, or beside castd if it is HUB."""
        stream = await self._connect(host)
        encoder = await Encoder(stream).begin(mount, user=SOURCE)
        encoder.next = first
        return encoder

    async def ear(self, host: str, mount: str) -> Ear:
        return await Ear(await self._connect(host)).join(mount)

    async def told(self) -> dict[str, Any]:
        """What castd says of itself."""
        async with Client(await self.link.hub.connect(HUB, self.port)) as client:
            return dict(json.loads((await client.ask(head("GET", "/api/v1/admin/stats", user=ADMIN))).body))

    async def until(self, true: Callable[[dict[str, Any]], bool]) -> None:
        """castd says so."""
        with trio.fail_after(PATIENCE_SECONDS):
            while not true(await self.told()):  # noqa: ASYNC110 - nobody is there to set an event
                await trio.sleep(0.2)

    async def _connect(self, host: str) -> trio.SocketStream:
        with trio.fail_after(PATIENCE_SECONDS):
            if host == HUB:
                stream = await self.link.hub.connect(HUB, self.port)
            else:
                stream = await self.link.far.connect(HUB, self.port, source=host)
        self.streams.append(stream)
        return stream


@asynccontextmanager
async def network(folder: Path) -> AsyncIterator[Network]:
    try:
        link = Link([STUDIO, TRAIN, TUNNEL])
    except OSError as error:
        unavailable(f"no network namespaces or no /dev/net/tun: {error}")
    listen = f'[[listen]]\nhost = "{HUB}"\nport = 0'
    async with link, Castd(folder / "castd", listen, limits=LIMITS, prefix=link.hub.prefix) as castd:
        match = re.search(rf"http://{re.escape(HUB)}:(\d+)", castd.log())
        assert match
        net = Network(link, castd, int(match[1]))
        try:
            yield net
        finally:
            for stream in net.streams:
                stream.socket.close()


async def play(encoder: Encoder, done: trio.Event | None = None) -> None:
    """Send half as fast as it is heard, for ever or until it is done: a link may be too bad for more."""
    begun, first = trio.current_time(), encoder.next
    while done is None or not done.is_set():
        due = int((trio.current_time() - begun) / FRAME_SECONDS / 2) + 1
        await encoder.push(max(0, first + due - encoder.next))
        await trio.sleep(0.1)


async def hear(ear: Ear, count: int) -> list[int]:
    """The numbers of the next frames, each whole."""
    with trio.fail_after(PATIENCE_SECONDS):
        data = await ear.exactly(count * FRAME_BYTES)
    assert len(data) == count * FRAME_BYTES, "castd ended the connection"
    found = [int(data[at + 5 : at + 13]) for at in range(0, len(data), FRAME_BYTES)]
    assert data == b"".join(map(frame, found))
    return found


@asynccontextmanager
async def canary(net: Network) -> AsyncIterator[None]:
    """A mount and a listener beside castd, who must hear every frame once, whatever the link does."""
    encoder = await net.encoder(HUB, "/canary")
    await encoder.push(20)
    await net.until(lambda told: told["sources"] > 0)
    ear = await net.ear(HUB, "/canary")
    done = trio.Event()

    async def listen() -> None:
        while data := await ear.stream.receive_some(65536):
            ear.received += data

    async with encoder, ear, trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        async with trio.open_nursery() as playing:
            playing.start_soon(play, encoder, done)
            yield
            done.set()
        await encoder.push(2)
        sent = encoder.next - 1  # castd waits for what follows the last one
        with trio.fail_after(PATIENCE_SECONDS):
            while len(ear.received) < sent * FRAME_BYTES:  # noqa: ASYNC110 - the listening task is plain
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert ear.received[: sent * FRAME_BYTES] == frames(0, sent)


@pytest.mark.parametrize("weather", [BAD, WORSE], ids=["bad", "worse"])
async def test_listeners_behind_a_bad_link(weather: Weather, tmp_path: Path) -> None:
    async with network(tmp_path) as net, canary(net), trio.open_nursery() as nursery:
        net.link.weather = weather
        ears = [await net.ear(TRAIN, "/canary") for _ in range(5)]
        for _ in range(8):
            for ear in ears:
                found = await hear(ear, 20)
                assert found == list(range(found[0], found[0] + 20))
        assert all(each["jumps"] == 0 for each in await listeners(net))
        assert net.link.lost > 10
        assert net.link.delayed > 100
        net.link.weather = Weather()
        nursery.cancel_scope.cancel()


async def listeners(net: Network) -> list[dict[str, Any]]:
    async with Client(await net.link.hub.connect(HUB, net.port)) as client:
        reply = await client.ask(head("GET", "/api/v1/admin/listeners", user=ADMIN))
        return list(json.loads(reply.body)["listeners"])


@pytest.mark.parametrize("weather", [BAD, WORSE], ids=["bad", "worse"])
async def test_an_encoder_behind_a_bad_link(weather: Weather, tmp_path: Path) -> None:
    async with network(tmp_path) as net, canary(net), trio.open_nursery() as nursery:
        net.link.weather = weather
        encoder = await net.encoder(STUDIO, "/live")
        async with encoder:
            nursery.start_soon(play, encoder)
            await net.until(lambda told: len(told["mounts"]) == 2)
            ear = await net.ear(HUB, "/live")
            found = await hear(ear, 200)
            assert found == list(range(found[0], found[0] + 200))
            assert net.link.lost > 5
            net.link.weather = Weather()
            nursery.cancel_scope.cancel()


async def test_an_encoder_s_host_vanishes_and_returns_elsewhere(tmp_path: Path) -> None:
    """ING-02n: nobody tells castd, but who comes with the password is taken at once; listeners hear the one, then the
    other."""
    async with network(tmp_path) as net, canary(net), trio.open_nursery() as nursery:
        encoder = await net.encoder(STUDIO, "/live")
        await encoder.push(50)
        await net.until(lambda told: len(told["mounts"]) == 2)
        ear = await net.ear(HUB, "/live")
        assert (await hear(ear, 49))[-1] == 48
        net.link.weather.black_holes.add(STUDIO)
        await trio.sleep(2.5)  # castd's own idea of silence
        again = await net.encoder(TUNNEL, "/live", first=1000)
        nursery.start_soon(play, again)
        assert await hear(ear, 40) == [49, *range(1000, 1039)]
        assert "and is replaced by" in net.castd.log()
        nursery.cancel_scope.cancel()


async def test_an_encoder_s_host_vanishes_for_good(tmp_path: Path) -> None:
    """Without anybody else, the mount is free after source_timeout_seconds; and its listeners wait."""
    async with network(tmp_path) as net, canary(net):
        encoder = await net.encoder(STUDIO, "/live")
        await encoder.push(50)
        await net.until(lambda told: len(told["mounts"]) == 2)
        ear = await net.ear(HUB, "/live")
        first = await hear(ear, 49)
        net.link.weather.black_holes.add(STUDIO)
        await net.until(lambda told: told["sources"] == 1)
        again = await net.encoder(TUNNEL, "/live", first=1000)
        await again.push(11)
        assert first + await hear(ear, 11) == [*range(50), *range(1000, 1010)]


async def test_listeners_hosts_vanish(tmp_path: Path) -> None:
    """They are let go after peer_timeout_seconds, with that reason; others hear on."""
    async with network(tmp_path) as net, canary(net):
        for _ in range(10):
            await net.ear(TRAIN, "/canary")
        stay = [await net.ear(TUNNEL, "/canary") for _ in range(3)]
        await net.until(lambda told: told["listeners"] == 14)
        net.link.weather.black_holes.add(TRAIN)
        await net.until(lambda told: told["listeners"] == 4)
        assert net.castd.log().count("vanished") == 10
        for ear in stay:
            found = await hear(ear, 100)
            assert found == list(range(found[0], found[0] + 100))


async def test_a_tunnel(tmp_path: Path) -> None:
    """Who is back before peer_timeout_seconds has missed nothing."""
    async with network(tmp_path) as net, canary(net):
        ear = await net.ear(TRAIN, "/canary")
        first = await hear(ear, 10)
        net.link.weather.black_holes.add(TRAIN)
        await trio.sleep(2)
        net.link.weather.black_holes.clear()
        found = first + await hear(ear, 100)
        assert found == list(range(found[0], found[0] + 110))

"""A server in a process of its own, spoken to byte by byte, with a canary to listen to while it suffers."""

from __future__ import annotations

import os
import resource
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import trio

from tests.e2e.server import SOURCE_PASSWORD
from tests.support import FRAME_SECONDS, Client, Ear, Encoder, Reply, frames, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.e2e.server import Castd

USER = ("source", SOURCE_PASSWORD)

FIRST_FRAMES = 20


@dataclass
class Remote:
    """Clients of one server; leaving it closes what is still open.

    Attributes:
        castd: the server.
    """

    castd: Castd
    streams: list[trio.SocketStream] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for stream in self.streams:
            stream.socket.close()

    async def stream(self) -> trio.SocketStream:
        host, _, port = self.castd.address.removeprefix("http://").partition(":")
        self.streams.append(await trio.open_tcp_stream(host, int(port)))
        return self.streams[-1]

    async def connect(self) -> Client:
        return Client(await self.stream())

    async def ask(self, data: bytes) -> Reply:
        async with await self.connect() as client:
            return await client.ask(data)

    async def encoder(self, mount: str, fields: Mapping[str, str] | None = None) -> Encoder:
        return await Encoder(await self.stream()).begin(mount, fields, user=USER)

    async def ear(self, mount: str) -> Ear:
        return await Ear(await self.stream()).join(mount)

    def limit(self, what: int, soft: int) -> tuple[int, int]:
        """Set a limit of its process; what it was."""
        before = resource.prlimit(self.castd.pid, what)
        resource.prlimit(self.castd.pid, what, (soft, before[1]))
        return before

    def restore(self, what: int, limits: tuple[int, int]) -> None:
        resource.prlimit(self.castd.pid, what, limits)

    @property
    def descriptors(self) -> int:
        """That its process has."""
        return len(os.listdir(f"/proc/{self.castd.pid}/fd"))

    @property
    def cpu_seconds(self) -> float:
        """That its process has had."""
        with open(f"/proc/{self.castd.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def address_space(self) -> int:
        """Bytes mapped by its process."""
        with open(f"/proc/{self.castd.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")

    @asynccontextmanager
    async def canary(self, mount: str = "/canary") -> AsyncIterator[Encoder]:
        """A mount that is fed in real time, with a listener who must hear every byte while the block does its worst."""
        heard = bytearray()

        async def sing() -> None:
            while True:
                await encoder.push(1)
                await trio.sleep(FRAME_SECONDS)

        async def listen() -> None:
            while data := await ear.exactly(1):
                heard.extend(data + ear.received)
                ear.received = b""

        async with await self.encoder(mount) as encoder:
            async with await self.ear(mount) as ear, trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                await encoder.push(FIRST_FRAMES)
                async with trio.open_nursery() as singing:
                    singing.start_soon(sing)
                    yield encoder
                    singing.cancel_scope.cancel()
                await encoder.push(10)
                expected = frames(0, encoder.next - 2)  # the framer holds the newest back
                with trio.fail_after(10):
                    await until(lambda: len(heard) >= len(expected))
                nursery.cancel_scope.cancel()
            assert heard.startswith(expected), "the canary's listener lost a byte"

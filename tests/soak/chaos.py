"""What else a server meets: attackers, the curious, titles, and an operator who reloads, upgrades and stops it."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import trio

from tests.e2e.server import ADMIN_PASSWORD, SOURCE_PASSWORD
from tests.network.proxy import Weather
from tests.support import basic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.server import Castd
    from tests.network.proxy import Proxy
    from tests.soak.faults import Faults
    from tests.soak.stage import Stand

STOPPED_SECONDS = 2.0

WEATHERS = (Weather(), Weather(delay=0.5), Weather(piece=1000), Weather(delay=0.2, piece=1000))

DEAD_SECONDS = 4.0
"""For which the bad network takes nothing, at most; castd waits for longer before it gives anybody up."""

PAGES = ("/", "/status-json.xsl", "/api/v1/mounts", "/api/v1/status", "/healthz", "/nowhere")

GUESSES = 40
"""Wrong passwords in a row from one address; castd takes 30 a minute."""

ADMIN = basic("admin", ADMIN_PASSWORD)

PATIENCE_SECONDS = 20.0
"""For an answer, on a shared machine, of a castd that is stopped now and then."""


@dataclass
class Chaos:
    """Troublemakers and operators.

    Attributes:
        marks: what an operator did, and when (monotonic seconds).
        counts: of the rest.
    """

    castd: Castd
    port: int
    stands: Sequence[Stand]
    faults: Faults
    marks: list[tuple[float, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    followers: int = 0

    async def operate(self, plan: Sequence[tuple[float, str]]) -> None:
        """Do each thing of the plan at its time.

        Args:
            plan: seconds from now, and "reload", "upgrade", "stop" or "guess".
        """
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for at, what in sorted(plan):
                await trio.sleep_until(begun + at)
                self.marks.append((time.monotonic(), what))
                match what:
                    case "reload":
                        await self.reload()
                    case "upgrade":
                        await self.upgrade()
                    case "stop":
                        os.kill(self.castd.pid, signal.SIGSTOP)
                        await trio.sleep(STOPPED_SECONDS)
                        os.kill(self.castd.pid, signal.SIGCONT)
                    case "guess":
                        nursery.start_soon(self.guess)
                self.counts[what] += 1

    async def reload(self) -> None:
        """With a changed configuration."""
        text = self.castd.config.read_text()
        old, new = ("4.0", "3.0") if "burst_seconds = 4.0" in text else ("3.0", "4.0")
        self.castd.config.write_text(text.replace(f"burst_seconds = {old}", f"burst_seconds = {new}"))
        done = await self.castd.command("reload")
        if done.returncode:
            self.faults.add("reload", done.stderr.decode())

    async def upgrade(self) -> None:
        try:
            said = await self.castd.upgrade()
        except AssertionError as error:
            self.faults.add("upgrade", str(error)[-2000:])
        else:
            if "could not be handed over" in said:
                self.faults.add("upgrade", said)

    async def guess(self) -> None:
        """Wrong passwords, until castd listens to no more of them."""
        answers: Counter[bytes] = Counter()
        address = f"127.0.3.{1 + self.counts['guess'] % 250}"
        for number in range(GUESSES):
            request = f"GET /admin/listmounts HTTP/1.0\r\nAuthorization: {basic('admin', str(number))}\r\n\r\n"
            reply = await self._exchange(request.encode(), address)
            answers[reply[9:12]] += 1
        if not answers[b"401"] or not answers[b"429"] or len(answers) > 2:
            self.faults.add("guess", str(dict(answers)))

    async def attack(self, seed: int) -> None:
        """One attacker: says what no client should, and hangs up or waits; for ever."""
        chance = random.Random(seed)
        while True:
            address = f"127.0.4.{chance.randint(1, 250)}"
            with trio.move_on_after(chance.uniform(0.5, 8)):
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=address)
                    async with stream:
                        for piece in _attack(chance):
                            await stream.send_all(piece)
                            await trio.sleep(chance.choice((0, 0.1)))
                        while await stream.receive_some(65536):
                            pass
                except (OSError, trio.BrokenResourceError):
                    pass
            self.counts["attacks"] += 1
            await trio.sleep(chance.uniform(0, 2))

    async def follow(self, seed: int) -> None:
        """One follower of events, who comes and goes for ever; castd ends the stream at an upgrade."""
        chance = random.Random(seed)
        while True:
            path = chance.choice(("/api/v1/events", f"/api/v1/mounts/{quote(self.stands[0].name[1:])}/events"))
            with trio.move_on_after(chance.uniform(5, 60)):
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", self.port)
                    async with stream:
                        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n".encode())
                        head = await stream.receive_some(65536)
                        if b" 200 " not in head[:20] and b" 404 " not in head[:20]:
                            self.faults.add("events", repr(head[:200]))
                        while data := await stream.receive_some(65536):
                            self.counts["events"] += data.count(b"\nid:") + data.startswith(b"id:")
                except (OSError, trio.BrokenResourceError) as error:
                    self.faults.add("events", repr(error))
            await trio.sleep(chance.uniform(0, 2))

    async def look(self, seed: int) -> None:
        """Somebody who looks at pages, for ever."""
        chance = random.Random(seed)
        while True:
            page = chance.choice(PAGES)
            reply = await self._exchange(f"GET {page} HTTP/1.0\r\nHost: soak\r\n\r\n".encode(), "127.0.2.1")
            if reply[9:12] != (b"404" if page == "/nowhere" else b"200"):
                self.faults.add("page", f"{page}: {reply[:200]!r}")
            self.counts["pages"] += 1
            await trio.sleep(chance.uniform(0.5, 2))

    async def tell_titles(self) -> None:
        """A title on each mount in each second, over one connection for as long as castd keeps it; for ever."""
        number = 0
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", self.port)
                async with stream:
                    while True:
                        number += 1
                        begun = trio.current_time()
                        for stand in self.stands:
                            if stand.form.name != "opus" and stand.encoders:
                                await self._tell_title(stream, stand, f"soak {number} of {stand.name}")
                        await trio.sleep_until(begun + 1)
            except (OSError, trio.BrokenResourceError) as error:
                self.faults.add("title", repr(error))
                await trio.sleep(1)

    async def _tell_title(self, stream: trio.SocketStream, stand: Stand, title: str) -> None:
        query = f"mount={quote(stand.name)}&mode=updinfo&song={quote(title)}"
        fields = f"Host: soak\r\nAuthorization: {basic('source', SOURCE_PASSWORD)}\r\n"
        await stream.send_all(f"GET /admin/metadata?{query} HTTP/1.1\r\n{fields}\r\n".encode())
        reply = await _read_reply(stream)
        absent = reply[9:12] in (b"400", b"404") and stand.may_be_closed(time.monotonic() - 1)
        if reply[9:12] != b"200" and not absent:
            self.faults.add("title", f"{stand.name}: {reply[:200]!r}")
        self.counts["titles"] += reply[9:12] == b"200"

    async def change_weather(self, proxy: Proxy, seed: int) -> None:
        """A bad network, bad in changing ways; for ever."""
        chance = random.Random(seed)
        while True:
            proxy.weather = chance.choice(WEATHERS)
            await trio.sleep(chance.uniform(5, 20))
            proxy.die()
            await trio.sleep(chance.uniform(0.5, DEAD_SECONDS))
            proxy.revive()
            self.counts["dead networks"] += 1

    async def _exchange(self, request: bytes, address: str) -> bytes:
        """The reply to a request on a connection of its own; what went wrong is a fault."""
        reply = b""
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                stream = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=address)
                async with stream:
                    await stream.send_all(request)
                    while data := await stream.receive_some(65536):
                        reply += data
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            self.faults.add("page", f"{request[:60]!r}: {error!r} after {reply[:60]!r}")
        return reply


async def _read_reply(stream: trio.SocketStream) -> bytes:
    """With a Content-Length.

    Raises:
        trio.BrokenResourceError: the connection ended before.
    """
    reply = b""
    with trio.move_on_after(PATIENCE_SECONDS):
        while True:
            head, found, body = reply.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
            if found and len(body) >= (int(length[1]) if length else 0):
                return reply
            data = await stream.receive_some(65536)
            if not data:
                raise trio.BrokenResourceError(f"ended after {reply!r}")
            reply += data
    raise trio.BrokenResourceError(f"no answer but {reply!r}")


def _attack(chance: random.Random) -> list[bytes]:
    """Pieces of something that is no request, or none castd can grant."""
    noise = chance.randbytes(chance.randint(1, 4000))
    wrong = basic("source", "wrong")
    return chance.choice(
        (
            [noise],
            [b"GET / HTTP/1.1\r\n", b"X: " + b"y" * 20_000],
            [b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n"],
            [b"G", b"E", b"T", b" "],
            [],
            [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise],
            [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
            [f"PUT /m0.mp3 HTTP/1.1\r\nHost: x\r\nAuthorization: {wrong}\r\n\r\n".encode(), noise],
            [f"SOURCE /evil ICE/1.0\r\nAuthorization: {wrong}\r\n\r\n".encode(), noise],
            [b"wrong-password\r\n"],
            [b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", noise],
            [b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", noise],
            [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20],
            [b"OPTIONS * HTTP/1.1\r\nHost: \x00\r\n\r\n"],
            [b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"],
        )
    )

"""Encoders that come and go: in order, by a reset, within a frame, or falling silent; and DJs who take over."""

from __future__ import annotations

import random
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from tests.e2e.server import SOURCE_PASSWORD
from tests.soak.stage import DJ, LINGER_SECONDS
from tests.support import basic

if TYPE_CHECKING:
    from tests.soak.faults import Faults
    from tests.soak.stage import Stand
    from tests.soak.streams import Tape, Tapes

GATHER_SECONDS = 0.25
"""Of frames in one write."""

ANSWER_SECONDS = 20.0
"""For castd to take an encoder; it is stopped for seconds now and then, and the machine is shared."""

ENDINGS = ("close", "close", "reset", "torn", "silent")


@dataclass
class Encoders:
    """All of them.

    Attributes:
        port, far_port: castd's own, and of the bad network before it.
        nursery: of what outlives a session.
        sessions: begun so far.
        leaving: they shall leave, for good.
        refused: times somebody was refused because the one before was still there.
    """

    port: int
    far_port: int
    tapes: Tapes
    faults: Faults
    nursery: trio.Nursery
    sessions: int = 0
    refused: int = 0
    leaving: trio.Event = field(default_factory=trio.Event)

    async def encode(self, stand: Stand, seed: int) -> None:
        """One mount's encoder, until it is told to leave."""
        chance = random.Random(seed)
        while not self.leaving.is_set():
            stay = chance.uniform(10, 60) if stand.flaps else 1e9
            ending = chance.choice(ENDINGS)
            await self._session(stand, stay, ending, ("source", SOURCE_PASSWORD), chance)
            if self.leaving.is_set():
                return
            gone = not stand.fallback and chance.random() < 0.12
            await self._sleep(LINGER_SECONDS + chance.uniform(4, 10) if gone else chance.uniform(0.2, 6))

    async def take_over(self, stand: Stand, seed: int) -> None:
        """One mount's DJ, until told to leave."""
        chance = random.Random(seed)
        while not self.leaving.is_set():
            await self._sleep(chance.uniform(10, 40))
            if not self.leaving.is_set():
                await self._session(stand, chance.uniform(8, 25), chance.choice(ENDINGS[:4]), DJ, chance)

    async def _sleep(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.leaving.wait()

    async def _session(
        self, stand: Stand, stay: float, ending: str, user: tuple[str, str], chance: random.Random
    ) -> None:
        """Come, send and go.

        Args:
            stay: seconds.
            ending: one of ENDINGS.
        """
        stream = await self._connect(stand, user)
        if stream is None:
            return
        self.sessions += 1
        tape = self.tapes.new(stand.name, stand.form)
        stand.come()
        try:
            await self._send(stream, stand, tape, stay, chance)
            await self._end(stream, stand, tape, ending, dj=user is DJ)
        except trio.BrokenResourceError as error:
            self.faults.add("encoder", f"{stand.name}, session {tape.session} of {user[0]}, was cut off: {error!r}")
            stand.go()
            await trio.aclose_forcefully(stream)
        except trio.Cancelled:
            stream.socket.close()
            raise
        finally:
            self.tapes.over(tape)

    async def _connect(self, stand: Stand, user: tuple[str, str]) -> trio.SocketStream | None:
        until = trio.current_time() + ANSWER_SECONDS
        while True:
            try:
                with trio.fail_after(ANSWER_SECONDS):
                    stream = await trio.open_tcp_stream("127.0.0.1", self.far_port if stand.far else self.port)
                    said = await _greet(stream, stand, user)
            except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
                said = repr(error).encode()
            else:
                if b"OK" in said:
                    return stream
                await trio.aclose_forcefully(stream)
            in_use = b" 403 " in said or said.startswith(b"Mountpoint in use")  # as SHOUTcast has it
            if trio.current_time() > until or not in_use:
                self.faults.add("encoder", f"{stand.name}: {user[0]} was not taken: {said[:300]!r}")
                return None
            self.refused += 1
            await trio.sleep(1)

    async def _send(
        self, stream: trio.SocketStream, stand: Stand, tape: Tape, stay: float, chance: random.Random
    ) -> None:
        form, begun, sent = stand.form, trio.current_time(), 0
        data = form.start(tape.session)
        while not self.leaving.is_set() and (now := trio.current_time()) < begun + stay:
            due = int((now - begun) / form.seconds) + 1
            data += b"".join(form.frame(tape.session, number) for number in range(sent, due))
            sent = max(due, sent)
            tape.add(data)
            cut = chance.randrange(len(data)) if data else 0
            for piece in (data[:cut], data[cut:]):
                if piece:
                    await stream.send_all(b"%x\r\n%s\r\n" % (len(piece), piece) if stand.how == "chunked" else piece)
            data = b""
            await self._sleep(GATHER_SECONDS)

    async def _end(self, stream: trio.SocketStream, stand: Stand, tape: Tape, ending: str, *, dj: bool) -> None:
        if self.leaving.is_set():
            pass
        elif ending == "torn":
            frame = stand.form.frame(tape.session, tape.number(tape.end))[: stand.form.size // 2]
            await stream.send_all(b"%x\r\n%s" % (stand.form.size, frame) if stand.how == "chunked" else frame)
        elif ending == "reset":
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif ending == "close":
            # behind a bad network, its end may come when somebody else is there already
            tape.whole = not stand.far and (dj or stand.encoders == 1)
            if stand.how == "chunked":
                await stream.send_all(b"0\r\n\r\n")
        if ending == "silent" and not self.leaving.is_set():
            # the next connection takes the mount over, from one that has said nothing for a while
            silent = time.monotonic()
            await self._sleep(3)
            stand.go(silent)
            self.nursery.start_soon(_close_later, stream)
            return
        stand.go()
        await trio.aclose_forcefully(stream)


async def _close_later(stream: trio.SocketStream) -> None:
    try:
        await trio.sleep(20)
    finally:
        stream.socket.close()


async def _greet(stream: trio.SocketStream, stand: Stand, user: tuple[str, str]) -> bytes:
    """Ask for a mount; the answer, with OK in it if it was granted. Whatever it raises, the stream is closed."""
    said = b""
    try:
        await stream.send_all(_greeting(stand, user))
        while not (b"\n" in said and (b"OK" in said or b"HTTP/1.1 4" in said or b"HTTP/1.0 4" in said)):
            data = await stream.receive_some(4096)
            if not data:
                break
            said += data
        if b"OK" in said and stand.how == "SHOUTcast":
            await stream.send_all(f"content-type:{stand.form.content_type}\r\nicy-name:soak\r\n\r\n".encode())
    except BaseException:
        stream.socket.close()
        raise
    return said


def _greeting(stand: Stand, user: tuple[str, str]) -> bytes:
    name, password = user
    if stand.how == "SHOUTcast":
        return f"{stand.name}:{password if name == 'source' else f'{name}:{password}'}\r\n".encode()
    method, version = ("SOURCE", "1.0") if stand.how == "SOURCE" else ("PUT", "1.1")
    coding = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n" if stand.how == "chunked" else ""
    return (
        f"{method} {stand.name} HTTP/{version}\r\nHost: soak\r\nAuthorization: {basic(name, password)}\r\n{coding}"
        f"Content-Type: {stand.form.content_type}\r\nice-bitrate: 16\r\n\r\n"
    ).encode()

"""A server under attack: castd or Icecast, a canary on it, and hands that send it what they like."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import urlsplit

import trio

from tests.e2e.client import get
from tests.e2e.peers.icecast import Icecast, free_port
from tests.e2e.program import until
from tests.e2e.server import ADMIN_PASSWORD, SOURCE_PASSWORD, Castd
from tests.support import FRAME_BYTES, FRAME_SECONDS, Client, Encoder, frame, head

SOURCE = ("source", SOURCE_PASSWORD)
ADMIN = ("admin", ADMIN_PASSWORD)
WRONG = ("admin", "a guess")

CANARY = "/canary"

ANSWER_SECONDS = 20.0
"""For which an answer is waited for; Icecast lets a head that never ends go on for 15."""

PATIENCE_SECONDS = 30.0
"""For what must come, on a machine with other things to do."""

QUIET_SECONDS = 0.7
"""After the first bytes of an answer: nothing more in so long is its end, where nobody closes."""

_STATUS = re.compile(rb"(?:^|(?<=\n)|(?<=>)|(?<=\}))HTTP/1\.[01] (\d{3})[ \r]")


@dataclass(frozen=True, slots=True)
class Said:
    """What came back on one connection.

    Attributes:
        closed: the server ended it.
    """

    received: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        """Of all replies."""
        return [int(each) for each in _STATUS.findall(self.received)]

    @property
    def status(self) -> int:
        """Of the first reply; 0 where there is none."""
        return next(iter(self.statuses), 0)

    @property
    def head(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[2]


@dataclass
class Ear:
    """A listener, as it hears.

    Attributes:
        said: of its reply.
        heard: all of the body so far.
        ended: the server ended the stream.
    """

    client: Client
    said: Said
    heard: bytearray
    ended: bool = False

    @property
    def fields(self) -> dict[str, str]:
        """Of the reply's head, names in lower case."""
        lines = self.said.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    async def until(self, true: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Listen until something is so.

        Raises:
            AssertionError: it was not in time, or the stream ended.
        """
        with trio.move_on_after(seconds):
            while not true():
                data = await self.client.stream.receive_some(65536)
                self.heard += data
                if not data:
                    self.ended = True
                    break
        assert true(), f"{what}: not after {len(self.heard)} bytes{', at the end' if self.ended else ''}"

    async def bytes(self, count: int, seconds: float = PATIENCE_SECONDS) -> bytes:
        """The stream so far, of so many bytes at least."""
        await self.until(lambda: len(self.heard) >= count, f"{count} bytes", seconds)
        return bytes(self.heard)


@dataclass
class Site:
    """One server.

    Attributes:
        folder: for what a case needs on the disk.
        start: starts another server of this kind, with `environment` added to ours.
        shoutcast_port: where SHOUTcast's encoders come.
        tls_port: that speaks TLS and nothing else.
        canary: on it.
    """

    server: Castd | Icecast
    folder: Path
    start: Callable[..., AbstractAsyncContextManager[Castd | Icecast]]
    shoutcast_port: int
    tls_port: int
    canary: Canary = field(default_factory=lambda: Canary())

    def at(self, server: Castd | Icecast) -> Site:
        """The same hands at another server."""
        return replace(self, server=server, canary=Canary())

    @property
    def is_castd(self) -> bool:
        return isinstance(self.server, Castd)

    @property
    def port(self) -> int:
        return urlsplit(self.server.address).port or 0

    async def connect(self, port: int = 0) -> Client:
        """A connection, to be closed by whoever asked for it."""
        return Client(await trio.open_tcp_stream("127.0.0.1", port or self.port))

    async def send(self, data: bytes, *, seconds: float = ANSWER_SECONDS, port: int = 0) -> Said:
        """What is answered to these bytes."""
        return await self.drip([data], 0, seconds=seconds, port=port)

    async def drip(
        self, pieces: Iterable[bytes], pause: float, *, seconds: float = ANSWER_SECONDS, port: int = 0
    ) -> Said:
        """What is answered to these pieces, sent at intervals."""
        async with await self.connect(port) as client:
            received, closed = b"", False
            try:
                for piece in pieces:
                    await client.send(piece)
                    await trio.sleep(pause)
                with trio.move_on_after(seconds) as scope:
                    while data := await client.stream.receive_some(65536):
                        received += data
                        scope.deadline = min(scope.deadline, trio.current_time() + QUIET_SECONDS)
                    closed = True
            except trio.BrokenResourceError:
                closed = True
            return Said(received, closed)

    async def ask(
        self,
        target: str,
        fields: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        user: tuple[str, str] | None = None,
    ) -> Said:
        """What is answered to a request without a body."""
        return await self.send(head(method, target, {"Connection": "close", **(fields or {})}, user=user))

    @asynccontextmanager
    async def listen(
        self, mount: str, fields: Mapping[str, str] | None = None, method: str = "GET"
    ) -> AsyncIterator[Ear]:
        """A listener; its reply's head has come."""
        async with await self.connect() as client:
            await client.send(head(method, mount, fields))
            with trio.fail_after(PATIENCE_SECONDS):
                said = Said(await client.until(b"\r\n\r\n"), closed=False)
            assert said.status == 200, f"a listener of {mount} got {said.status}"
            yield Ear(client, said, bytearray(client.received))

    async def source(
        self, mount: str, fields: Mapping[str, str] | None = None, *, method: str = "SOURCE", first: bytes = b""
    ) -> Encoder:
        """A source that has its mount, to be closed by whoever asked for it.

        Args:
            first: bytes of its stream, in one segment with the head.
        """
        encoder = Encoder((await self.connect()).stream)
        await encoder.send(head(method, mount, fields, user=SOURCE) + first)
        with trio.fail_after(PATIENCE_SECONDS):
            said = Said(await encoder.until(b"\r\n\r\n"), closed=False)
        assert said.status == 200, f"a source of {mount} got {said.status}"
        return encoder

    @asynccontextmanager
    async def live(
        self, mount: str, fields: Mapping[str, str] | None = None, *, method: str = "SOURCE", wait: bool = True
    ) -> AsyncIterator[Encoder]:
        """A mount that sings numbered frames, in their time.

        Args:
            wait: until the mount is listed.
        """
        async with await self.source(mount, fields, method=method) as encoder, trio.open_nursery() as nursery:
            nursery.start_soon(sing, encoder)
            if wait:
                await self.listed(mount)
            yield encoder
            nursery.cancel_scope.cancel()

    async def listed(self, mount: str, *, there: bool = True, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until a mount is in the status, or is not."""

        async def probe() -> bool:
            return (await self.facts(mount) is not None) == there

        await until(probe, seconds=seconds, what=f"{mount} {'in' if there else 'out of'} the status")

    async def facts(self, mount: str) -> dict[str, Any] | None:
        """What the status says of a mount."""
        for source in self.sources(await self.status()):
            if urlsplit(source["listenurl"]).path == mount:
                return source
        return None

    async def status(self) -> Any:
        """The status.

        Raises:
            AssertionError: it is not JSON.
        """
        reply = await get(f"{self.server.address}/status-json.xsl")
        assert reply.status == 200, f"the status answered {reply.status}"
        try:
            return json.loads(bytes(reply.body).decode())
        except ValueError as error:
            raise AssertionError(f"the status is no JSON: {error}") from None

    @staticmethod
    def sources(status: Any) -> list[dict[str, Any]]:
        found = status["icestats"].get("source", [])
        return found if isinstance(found, list) else [found]

    def figure(self, what: str) -> int:
        """One of /proc: "fds" open, "rss" in bytes, "cpu" in ms."""
        process = Path(f"/proc/{self.server.pid}")
        if what == "fds":
            return len(list((process / "fd").iterdir()))
        if what == "rss":
            return int((process / "statm").read_text().split()[1]) * 4096
        user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) * 10


@dataclass
class Canary:
    """A healthy mount with a listener that must lose no frame, whatever is done elsewhere.

    Attributes:
        heard: frames, in order and without a hole.
        lost: why one is missing; "" as long as none is.
    """

    heard: int = 0
    lost: str = ""

    async def sing_and_listen(self, site: Site, task_status: trio.TaskStatus[None]) -> None:
        """Until cancelled, or until a frame is lost."""
        async with site.live(CANARY, wait=False), trio.open_nursery() as nursery:
            await site.listed(CANARY)
            async with site.listen(CANARY) as ear:
                task_status.started()
                try:
                    await self._listen(ear)
                except (trio.BrokenResourceError, AssertionError) as error:
                    self.lost = self.lost or f"the canary's listener was cut off: {error}"
            nursery.cancel_scope.cancel()

    async def _listen(self, ear: Ear) -> None:
        rest, following = bytes(ear.heard), -1
        while True:
            while len(rest) >= FRAME_BYTES:
                if following < 0:
                    rest = rest[max(rest.find(b"\xff\xfb\x90\x64<"), 0) :]
                    if len(rest) < FRAME_BYTES:
                        break
                    following = int(rest[5:13])
                if rest[:FRAME_BYTES] != frame(following):
                    self.lost = f"the canary lost frame {following} and heard {rest[:16]!r}"
                    return
                rest, following, self.heard = rest[FRAME_BYTES:], following + 1, self.heard + 1
            data = await ear.client.stream.receive_some(65536)
            assert data, "the stream ended"
            rest += data

    async def goes_on(self, count: int = 10) -> None:
        """Wait until the canary's listener has heard so many frames more.

        Raises:
            AssertionError: it lost one, or hears nothing.
        """
        wanted = self.heard + count

        async def probe() -> bool:
            return bool(self.lost) or self.heard >= wanted

        await until(probe, seconds=PATIENCE_SECONDS, what="the canary sings")
        assert not self.lost, self.lost


async def sing(encoder: Encoder) -> None:
    """Frames in their time, until cancelled or cut off."""
    start = trio.current_time()
    first = encoder.next
    try:
        while True:
            due = first + int((trio.current_time() - start) / FRAME_SECONDS) + 40  # a second ahead: nobody waits for it
            if due > encoder.next:
                await encoder.push(due - encoder.next)
            await trio.sleep(0.1)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


CASTD_LISTEN = """\
[[listen]]
host = "127.0.0.1"
port = {shoutcast}
shoutcast_mount = "/shoutcast"

[[listen]]
host = "127.0.0.1"
port = {tls}
tls = "on"

[[certificates]]
certificate = "{certificate}"
"""

CASTD_LIMITS = "max_wrong_passwords_per_minute = 0"
"""These tests guess a lot of passwords from one address; that guessing is slowed down is tested elsewhere."""


@asynccontextmanager
async def site(kind: str, folder: Path) -> AsyncIterator[Site]:
    """A server with its canary.

    Args:
        kind: "castd" or "icecast".
    """
    shoutcast_port, tls_port, certificate = free_port(), free_port(), make_certificate()
    main_folder = _made(folder / "main")

    def start(
        name: str, port: int | None = None, environment: Mapping[str, str] | None = None, settings: str = ""
    ) -> AbstractAsyncContextManager[Castd | Icecast]:
        where = _made(folder / name)
        if kind == "icecast":
            return Icecast(where, clients=600, environment=environment, port=port, extra=settings)
        return Castd(where, settings, port=port or 0, limits=CASTD_LIMITS, environment=environment)

    main: Castd | Icecast
    if kind == "icecast":
        socket = f"<port>{shoutcast_port}</port> <bind-address>127.0.0.1</bind-address>"
        shoutcast = f"<listen-socket> {socket} <shoutcast-mount>/shoutcast</shoutcast-mount> </listen-socket>"
        main = Icecast(main_folder, clients=600, extra=shoutcast, certificate=certificate)
        tls_port = main.tls_port
        shoutcast_port += 1  # the next one is for sources, as SHOUTcast has it
    else:
        listen = CASTD_LISTEN.format(shoutcast=shoutcast_port, tls=tls_port, certificate=certificate)
        main = Castd(main_folder, listen=listen, limits=CASTD_LIMITS)
    async with main as server, trio.open_nursery() as nursery:
        made = Site(server, folder, start, shoutcast_port, tls_port)
        await nursery.start(made.canary.sing_and_listen, made)
        yield made
        nursery.cancel_scope.cancel()
    shutil.rmtree(certificate.parent)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def make_certificate() -> Path:
    """A certificate and its key in one file, in a folder of its own: nobody, as whom Icecast runs, enters no other."""
    folder = Path(mkdtemp(prefix="castd-faults."))
    folder.chmod(0o755)
    certificate = folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", folder / "key.pem", "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    certificate.write_bytes(certificate.read_bytes() + (folder / "key.pem").read_bytes())
    certificate.chmod(0o644)
    return certificate

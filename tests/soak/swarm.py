"""Thousands of listeners in one epoll: those who stay, those who come and go, and those who behave badly.

A healthy one reads all the time, and is checked (tests.soak.hearing). Of the others, some read too slowly, so that they
are moved forward; some take nothing at all. They leave in order, by a reset, or by a FIN that castd has to notice.
"""

from __future__ import annotations

import errno
import heapq
import random
import re
import select
import socket
import struct
import time
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Literal

import trio

from tests.soak.hearing import Blocks, Hearing, Wrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.soak.faults import Faults
    from tests.soak.stage import Stand
    from tests.soak.streams import Tapes

Kind = Literal["steady", "passing", "slow", "stalled"]

SHARES: Mapping[Kind, float] = {"passing": 0.4, "slow": 0.03, "stalled": 0.03}
"""Of all listeners; the rest is steady."""

SLOW_BYTES = 1000
"""That a slow one takes in a second: half of what it should."""

ICY_SHARE = 0.25
LEAVING = ("close", "close", "close", "reset", "half-close")
"""Ways to leave, by chance."""

FAR_SHARE = 0.05
"""Of the healthy ones, behind the bad network."""

NOTICED_SECONDS = 20.0
"""In which castd has to close what its peer has half closed."""

BATCH = 256
TICK_SECONDS = 0.1

ARRIVALS = 60
"""In a second, at most."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_METAINT = re.compile(rb"icy-metaint:(\d+)")


class Ear:
    """One listener.

    Attributes:
        leave: how; "half-closed" once it has sent FIN and waits for castd's.
        head: of the reply, as far as received; None once it is complete.
    """

    __slots__ = ("begun", "blocks", "head", "hearing", "icy", "kind", "leave", "sent", "sock", "stand")

    def __init__(self, kind: Kind, stand: Stand, hearing: Hearing, sock: socket.socket, *, icy: bool) -> None:
        self.kind = kind
        self.stand = stand
        self.hearing = hearing
        self.sock = sock
        self.icy = icy
        self.begun = time.monotonic()
        self.leave = "close"
        self.sent = False
        self.head: bytes | None = b""
        self.blocks: Blocks | None = None


class Swarm:
    """All listeners.

    Args:
        port, far_port: castd's own, and of the bad network before it.
        churn: how many leave in a second.

    Attributes:
        wanted: how many there shall be.
        counts: what they met: came, left, let go, refused, jumps and so on.
        heard: bytes that were right.
    """

    def __init__(
        self,
        port: int,
        far_port: int,
        stands: Sequence[Stand],
        tapes: Tapes,
        faults: Faults,
        *,
        seed: int,
        churn: float,
    ) -> None:
        self._port = port
        self._far_port = far_port
        self._stands = stands
        self._tapes = tapes
        self._faults = faults
        self._chance = random.Random(seed)
        self._churn = churn
        self._epoll = select.epoll()
        self._ears: dict[int, Ear] = {}
        self._kinds: Counter[Kind] = Counter()
        self._leaving: list[tuple[float, int, Ear]] = []
        self._order = count()
        self._slow: dict[int, Ear] = {}
        self.wanted = 0
        self.counts: Counter[str] = Counter()
        self.heard = 0

    def __len__(self) -> int:
        return len(self._ears)

    async def run(self) -> None:
        """Listen, for ever."""
        then = slow = time.monotonic()
        while True:
            with trio.move_on_after(TICK_SECONDS):
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, events in self._epoll.poll(0, BATCH):
                ear = self._ears.get(fd)
                if ear is not None:
                    self._serve(ear, events)
            now = time.monotonic()
            if now - then >= TICK_SECONDS:
                self._come_and_go(now, now - then)
                then = now
            if now - slow >= 1:
                slow = now
                for ear in list(self._slow.values()):
                    self._receive(ear, SLOW_BYTES)
            await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Everybody leaves."""
        self.wanted = 0
        for ear in list(self._ears.values()):
            self._end(ear)

    def _come_and_go(self, now: float, passed: float) -> None:
        while self._leaving and self._leaving[0][0] <= now:
            _, _, ear = heapq.heappop(self._leaving)
            if self._ears.get(ear.sock.fileno()) is ear:
                self._leave(ear, now)
        for _ in range(min(self.wanted - len(self._ears), max(1, round(ARRIVALS * passed)))):
            self._come(now)

    def _come(self, now: float) -> None:
        lacking: Iterator[Kind] = (
            each for each, share in SHARES.items() if self._kinds[each] < round(self.wanted * share)
        )
        kind: Kind = next(lacking, "steady")
        stand = self._chance.choice(self._stands)
        healthy = kind in ("steady", "passing")
        mounts = frozenset(filter(None, (stand.name, stand.fallback)))
        hearing = Hearing(stand.form, self._tapes, mounts, stand.splices, healthy=healthy)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if kind in ("slow", "stalled"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT, ip(7)
        sock.bind((f"127.0.1.{self._chance.randint(1, 200)}", 0))
        far = healthy and self._chance.random() < FAR_SHARE
        self.counts["came by the bad network"] += far
        code = sock.connect_ex(("127.0.0.1", self._far_port if far else self._port))
        if code not in (0, errno.EINPROGRESS):
            self._faults.add("listener", f"{stand.name}: could not connect: {errno.errorcode[code]}")
            sock.close()
            return
        ear = Ear(kind, stand, hearing, sock, icy=stand.form.name != "opus" and self._chance.random() < ICY_SHARE)
        self.counts["came"] += 1
        self._kinds[kind] += 1
        self._ears[sock.fileno()] = ear
        self._epoll.register(sock.fileno(), select.EPOLLOUT)
        if kind != "steady":
            mean = self.wanted * SHARES["passing"] / self._churn if kind == "passing" else 60.0
            ear.leave = self._chance.choice(LEAVING)
            self._leave_at(ear, now + self._chance.uniform(0.1, 2 * mean))

    def _leave_at(self, ear: Ear, at: float) -> None:
        heapq.heappush(self._leaving, (at, next(self._order), ear))

    def _leave(self, ear: Ear, now: float) -> None:
        if ear.leave == "half-closed":
            self._faults.add("listener", f"{ear.stand.name}: castd kept a {ear.kind} one who had sent FIN")
        elif ear.leave == "half-close" and ear.kind == "passing" and ear.sent:
            ear.leave = "half-closed"
            self.counts["left by a FIN"] += 1
            try:
                ear.sock.shutdown(socket.SHUT_WR)
            except OSError:  # castd was faster
                return
            self._leave_at(ear, now + NOTICED_SECONDS)
            return
        self.counts["left"] += 1
        self._end(ear)

    def _end(self, ear: Ear) -> None:
        fd = ear.sock.fileno()
        del self._ears[fd]
        self._slow.pop(fd, None)
        self._kinds[ear.kind] -= 1
        self._epoll.unregister(fd)
        self.heard += ear.hearing.heard
        self.counts["moved forward"] += ear.hearing.jumps
        if ear.leave == "reset":
            ear.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ear.sock.close()

    def _serve(self, ear: Ear, events: int) -> None:
        if not ear.sent:
            self._ask(ear)
        elif ear.kind == "stalled":
            self.counts["stalled ones let go"] += 1
            self._end(ear)
        else:
            self._receive(ear, 65536)

    def _ask(self, ear: Ear) -> None:
        fields = "Icy-MetaData: 1\r\n" if ear.icy else ""
        request = f"GET {ear.stand.name} HTTP/1.1\r\nHost: soak\r\nUser-Agent: {ear.kind}\r\n{fields}\r\n".encode()
        try:
            ear.sock.send(request)
        except OSError as error:
            self._faults.add("listener", f"{ear.stand.name}: could not ask: {error!r}")
            self._end(ear)
            return
        ear.sent = True
        fd = ear.sock.fileno()
        if ear.kind == "slow":
            self._slow[fd] = ear
        self._epoll.modify(fd, {"slow": 0, "stalled": select.EPOLLRDHUP}.get(ear.kind, select.EPOLLIN))

    def _receive(self, ear: Ear, size: int) -> None:
        try:
            data = ear.sock.recv(size)
        except BlockingIOError:
            return
        except OSError as error:
            self._gone(ear, repr(error))
            return
        if not data:
            self._gone(ear, "")
            return
        try:
            self._hear(ear, data)
        except Wrong as error:
            about = f"{'ICY ' if ear.icy else ''}{ear.kind}, here for {time.monotonic() - ear.begun:.1f} s"
            self._faults.add("audio", f"{ear.stand.name} ({about}): {error}")
            self._end(ear)

    def _hear(self, ear: Ear, data: bytes) -> None:
        if ear.head is not None:
            ear.head += data
            head, found, data = ear.head.partition(b"\r\n\r\n")
            if not found:
                return
            status = _STATUS.match(head)
            if status is None or status[1] != b"200":
                self._refused(ear, head)
                return
            ear.head = None
            if metaint := _METAINT.search(head):
                ear.blocks = Blocks(int(metaint[1]))
        ear.hearing.feed(ear.blocks.strip(data) if ear.blocks else data)

    def _refused(self, ear: Ear, head: bytes) -> None:
        if head.startswith((b"HTTP/1.1 404", b"HTTP/1.0 404")) and ear.stand.may_be_closed(ear.begun):
            self.counts["refused: no such mount"] += 1
        else:
            self._faults.add("listener", f"{ear.stand.name}: refused: {head[:200]!r}")
        self._end(ear)

    def _gone(self, ear: Ear, error: str) -> None:
        """castd ended the connection."""
        after = f"{ear.kind}, after {time.monotonic() - ear.begun:.1f} s"
        if ear.leave == "half-closed":
            self.counts["left"] += 1
        elif ear.kind not in ("steady", "passing"):
            self.counts[f"{ear.kind} ones let go"] += 1
        elif error or ear.head is not None or not ear.stand.may_be_closed(ear.begun):
            self._faults.add("listener", f"{ear.stand.name} ({after}): cut off {error}")
        else:
            self.counts["let go with their mount"] += 1
            try:
                ear.hearing.finish()
            except Wrong as wrong:
                self._faults.add("audio", f"{ear.stand.name} ({after}): {wrong}")
        self._end(ear)

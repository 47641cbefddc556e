"""A light client for a thousand listeners: one epoll in a thread of its own, next to the server's loop.

Each listener checks what it hears as it comes: MP3 frames of one size that carry their mount and number. It may read
everything, take random sips, or never read.
"""

from __future__ import annotations

import random
import select
import socket
import ssl
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

FRAME_BYTES = 417
"""MPEG-1 layer III, 128 kbit/s at 44,100 Hz, no padding (ISO/IEC 11172-3 §2.4.3.1)."""

FRAME_SECONDS = 1152 / 44_100


def mp3_frame(mount: str, number: int) -> bytes:
    """A frame of the right header and length; its first bytes of payload say which it is."""
    return b"\xff\xfb\x90\x64" + f"[{mount}:{number:08d}]".encode().ljust(FRAME_BYTES - 4, b".")


class Kind(Enum):
    READS = "reads all"
    ICY = "reads all, with ICY"
    SIPS = "4 KB of receive buffer, reads some bytes now and then"
    STALLS = "never reads"


@dataclass(slots=True)
class Ear:
    """One listener's side of its connection.

    Attributes:
        name: its User-Agent, by which the server's listener is found.
        first, last: numbers of the first and newest whole frame heard.
        breaks: pairs of numbers that should be consecutive and are not.
        wrong: what it heard that no server should send.
    """

    name: str
    kind: Kind
    mount: str
    sock: socket.socket
    first: int = -1
    last: int = -1
    breaks: list[tuple[int, int]] = field(default_factory=list)
    wrong: str = ""
    metaint: int = 0
    titles: int = 0
    ended: bool = False
    _until_block: int = 0
    _head_done: bool = False
    _rest: bytes = b""
    _audio: bytes = b""

    def hear(self, data: bytes) -> None:
        self._rest += data
        if not self._head_done:
            head, found, rest = self._rest.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.0 200"):
                self.wrong = head[:100].decode("latin-1")
            for line in head.split(b"\r\n"):
                if line.startswith(b"icy-metaint:"):
                    self.metaint = self._until_block = int(line[12:])
            self._head_done, self._rest = True, rest
        self._listen()

    def _listen(self) -> None:
        while self._rest:
            if not self.metaint:
                self._audio, self._rest = self._audio + self._rest, b""
            elif self._until_block:
                audio = self._rest[: self._until_block]
                self._audio += audio
                self._until_block -= len(audio)
                self._rest = self._rest[len(audio) :]
            else:
                size = 1 + self._rest[0] * 16
                if len(self._rest) < size:
                    break
                if size > 1:
                    self.titles += 1
                    if not self._rest[1:].startswith(b"StreamTitle='"):
                        self.wrong = f"block {self._rest[1:40]!r}"
                self._rest = self._rest[size:]
                self._until_block = self.metaint
        prefix = b"\xff\xfb\x90\x64[" + self.mount.encode() + b":"
        while len(self._audio) >= FRAME_BYTES and not self.wrong:
            frame, self._audio = self._audio[:FRAME_BYTES], self._audio[FRAME_BYTES:]
            if not frame.startswith(prefix):
                self.wrong = f"after {self.last}: {frame[:40]!r}"
                return
            number = int(frame[len(prefix) : len(prefix) + 8])
            if frame != mp3_frame(self.mount, number):
                self.wrong = f"frame {number} damaged"
            if self.first < 0:
                self.first = number
            elif number != self.last + 1:
                self.breaks.append((self.last, number))
            self.last = number


class Swarm:
    """Many listeners on one thread; leaving it hangs them all up.

    Args:
        port: of the server on 127.0.0.1.
    """

    def __init__(self, port: int, seed: int = 1) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._by_fd: dict[int, Ear] = {}
        self._random = random.Random(seed)
        self._sippers: list[Ear] = []
        self.ears: list[Ear] = []

    def join(self, count: int, kind: Kind, mount: str, context: ssl.SSLContext | None = None) -> list[Ear]:
        """Connect listeners; their requests are sent, their replies not read yet.

        Args:
            context: for TLS; None for plain.
        """
        joined = []
        for _ in range(count):
            sock = socket.socket()
            if kind in (Kind.SIPS, Kind.STALLS):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", self._port))
            if context is not None:
                sock = context.wrap_socket(sock)
            name = f"ear{len(self.ears)}"
            icy = "Icy-MetaData: 1\r\n" if kind is Kind.ICY else ""
            sock.sendall(f"GET {mount} HTTP/1.1\r\nHost: x\r\nUser-Agent: {name}\r\n{icy}\r\n".encode())
            sock.setblocking(False)
            ear = Ear(name, kind, mount, sock)
            self.ears.append(ear)
            joined.append(ear)
            if kind is Kind.SIPS:
                self._sippers.append(ear)
            elif kind is not Kind.STALLS:
                self._by_fd[sock.fileno()] = ear
                self._epoll.register(sock.fileno(), select.EPOLLIN)
        return joined

    def leave(self, ears: list[Ear]) -> None:
        """Hang up; the descriptors' numbers are free for the next to join."""
        for ear in ears:
            self._by_fd.pop(ear.sock.fileno(), None)
            if ear in self._sippers:
                self._sippers.remove(ear)
            ear.ended = True
            ear.sock.close()

    def listen(self, seconds: float) -> None:
        """Read for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for fd, _ in self._epoll.poll(min(left, 0.02), 256):
                self._read(self._by_fd[fd], 65_536)
            for ear in self._random.sample(self._sippers, len(self._sippers) // 4):
                self._read(ear, self._random.randrange(1, 800))

    def drain(self, until: int, seconds: float) -> None:
        """Everybody who reads at all reads on, up to the frame of that number."""
        for ear in self._sippers:
            self._by_fd[ear.sock.fileno()] = ear
            self._epoll.register(ear.sock.fileno(), select.EPOLLIN)
        self._sippers = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(ear.last < until for ear in self._by_fd.values()):
            for fd, _ in self._epoll.poll(0.05, 256):
                self._read(self._by_fd[fd], 65_536)

    def _read(self, ear: Ear, size: int) -> None:
        try:
            data = ear.sock.recv(size)
            while isinstance(ear.sock, ssl.SSLSocket) and ear.sock.pending():  # of which epoll knows nothing
                data += ear.sock.recv(size)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        if not data:
            ear.ended = True
            self._epoll.unregister(ear.sock.fileno())
            self._by_fd.pop(ear.sock.fileno(), None)
            return
        ear.hear(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for ear in self.ears:
            ear.sock.close()
        self._epoll.close()

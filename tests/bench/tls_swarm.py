"""Many TLS listeners in one process: how fast they get in, and what they hear.

    python -m tests.bench.tls_swarm PORT COUNT AT_ONCE WARM_SECONDS SECONDS

Prints "ready" once all hear audio and were left alone for a while, and a JSON object at the end, as swarm.c does; a
handshake is counted from its first byte to its last, AT_ONCE of them at any time.
"""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import sys
import time
from dataclasses import dataclass

REQUEST = b"GET /m0 HTTP/1.0\r\nUser-Agent: swarm\r\n\r\n"


@dataclass(slots=True, eq=False)
class Ear:
    """One listener."""

    socket: ssl.SSLSocket
    begun: float
    secure: bool = False
    first: float = 0.0


class Swarm:
    """All of them.

    Attributes:
        bytes: heard so far.
        closed: listeners the server let go.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._selector = selectors.DefaultSelector()
        self.ears: list[Ear] = []
        self.bytes = 0
        self.closed = 0

    def open(self) -> None:
        """Begin one more connection."""
        plain = socket.create_connection(("127.0.0.1", self._port))
        plain.setblocking(False)
        ear = Ear(self._context.wrap_socket(plain, do_handshake_on_connect=False), time.monotonic())
        self.ears.append(ear)
        self._selector.register(ear.socket, selectors.EVENT_READ, ear)
        self._read(ear)

    def work(self, seconds: float) -> None:
        """Handle whatever comes within a time."""
        for key, _ in self._selector.select(seconds):
            self._read(key.data)

    def _read(self, ear: Ear) -> None:
        try:
            if not ear.secure:
                ear.socket.do_handshake()
                ear.secure = True
                ear.socket.send(REQUEST)
            while data := ear.socket.recv(65_536):
                ear.first = ear.first or time.monotonic()
                self.bytes += len(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            pass
        self.closed += 1
        self._selector.unregister(ear.socket)
        ear.first = ear.first or time.monotonic()

    @property
    def handshaking(self) -> int:
        return sum(1 for ear in self.ears[-200:] if not ear.secure)


def main() -> None:
    port, count, at_once = map(int, sys.argv[1:4])
    warm, seconds = map(float, sys.argv[4:6])
    swarm, begun = Swarm(port), time.monotonic()
    while len(swarm.ears) < count or swarm.handshaking:
        while len(swarm.ears) < count and swarm.handshaking < at_once:
            swarm.open()
        swarm.work(0.05)
    secure = time.monotonic()
    while not all(ear.first for ear in swarm.ears):
        swarm.work(0.05)
    while time.monotonic() < secure + warm:
        swarm.work(0.05)
    print("ready", flush=True)
    end = time.monotonic() + 0.5 + seconds
    while time.monotonic() < end - seconds:
        swarm.work(0.05)
    before = swarm.bytes
    while time.monotonic() < end:
        swarm.work(0.05)
    joins = sorted(1000 * (ear.first - ear.begun) for ear in swarm.ears)
    print(
        json.dumps(
            {
                "heard": count - swarm.closed,
                "bytes": swarm.bytes - before,
                "closed": swarm.closed,
                "handshakes_per_second": count / (secure - begun),
                "join_ms": {"p50": joins[count // 2], "p99": joins[int(count * 0.99)], "max": joins[-1]},
            }
        )
    )


if __name__ == "__main__":
    main()

"""Sockets and a poller that do what they are told, so that short sends come at any byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.delivery.listener import Buffer, Listener


class FakeSocket:
    """Takes `room` bytes in all, then would block; room None is without end.

    Attributes:
        received: what the peer has.
        sends: system calls that would have been made.
        broken: raised by the next send.
    """

    _next_fileno = 1000

    def __init__(self, room: int | None = None) -> None:
        FakeSocket._next_fileno += 1
        self._fileno = FakeSocket._next_fileno
        self.room = room
        self.received = bytearray()
        self.sends = 0
        self.broken: OSError | None = None
        self.closed = False

    def send(self, data: Buffer, /) -> int:
        self.sends += 1
        if self.broken is not None:
            raise self.broken
        taken = len(data) if self.room is None else min(self.room, len(data))
        if not taken:
            raise BlockingIOError
        self.received += data[:taken]
        if self.room is not None:
            self.room -= taken
        return taken

    def sendmsg(self, buffers: list[Buffer], /) -> int:
        return self.send(b"".join(buffers))

    owes = False

    def flush(self) -> bool:
        return True

    def getsockopt(self, level: int, option: int, /) -> int:
        return 0

    def recv(self, size: int, /) -> bytes:
        raise BlockingIOError

    def fileno(self) -> int:
        return self._fileno

    def close(self) -> None:
        self.closed = True


class FakePoller:
    """Remembers who waits to be writable; `writable` tells the pump that a listener is."""

    def __init__(self) -> None:
        self.waiting: set[Listener] = set()
        self.on_writable: Callable[[Listener], None] = lambda listener: None

    def add(self, listener: Listener) -> None:
        listener.on_gone.append(self.waiting.discard)

    def forget(self, listener: Listener) -> None:
        self.waiting.discard(listener)

    def watch_writable(self, listener: Listener) -> None:
        self.waiting.add(listener)

    def writable(self, listener: Listener) -> None:
        self.waiting.discard(listener)
        self.on_writable(listener)

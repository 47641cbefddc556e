"""Hang-ups and writability of every listener's socket, watched without a task each.

All sockets are in one epoll of our own, edge-triggered (a half-closed socket left level-triggered would spin); its
own descriptor is readable when any of them has news, so that one trio task waits for them all. A socket is closed
only after the batch of events it may appear in.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import trio

from castd.mount.party import Goodbye

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.delivery.listener import Connection


class Watched(Protocol):
    """What is watched: a listener, or whoever follows events."""

    @property
    def connection(self) -> Connection: ...
    @property
    def on_gone(self) -> list[Callable[..., None]]: ...
    def end(self, reason: Goodbye, by: str = "") -> None: ...


Who = TypeVar("Who", bound=Watched)

BATCH = 512
"""Events taken from the kernel at once."""

NOISE_BYTES = 64 * 1024
"""A listener has nothing to say after its request; one that sends more than this at once is let go."""

_WATCHED = select.EPOLLIN | select.EPOLLET


class Poller(Generic[Who]):
    """Watches connections on which nothing is said any more.

    Attributes:
        on_writable: called with a listener whose socket takes bytes again.
        wakes: times the kernel had news; tests count them.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._listeners: dict[int, Who] = {}
        self.on_writable: Callable[[Who], None] = lambda listener: None
        self.wakes = 0
        self._on_gone = self._remove  # one bound method for all listeners, for memory's sake

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Who) -> None:
        """Watch a listener until it ends.

        Raises:
            OSError: the kernel watches no more.
        """
        fd = listener.connection.fileno()
        self._epoll.register(fd, _WATCHED)
        self._listeners[fd] = listener
        listener.on_gone.append(self._on_gone)

    def forget(self, listener: Who) -> None:
        """Watch a listener no more, although it does not end."""
        self._remove(listener)

    def _remove(self, listener: Who) -> None:
        fd = listener.connection.fileno()
        del self._listeners[fd]
        self._epoll.unregister(fd)

    def watch_writable(self, listener: Who) -> None:
        """Say once when its socket takes bytes again; at once if it does already."""
        self._epoll.modify(listener.connection.fileno(), _WATCHED | select.EPOLLOUT)

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            self.poll()

    def poll(self) -> None:
        """Take one batch of events and act on them."""
        self.wakes += 1
        gone: list[tuple[Who, Goodbye]] = []
        for fd, events in self._epoll.poll(0, BATCH):
            listener = self._listeners.get(fd)
            if listener is None:  # ended by an earlier event of this batch
                continue
            reason = _goodbye(listener, events)
            if reason is not None:
                gone.append((listener, reason))
            elif events & select.EPOLLOUT:
                self.on_writable(listener)
        for listener, reason in gone:
            listener.end(reason)

    def close(self) -> None:
        self._epoll.close()


def _goodbye(listener: Watched, events: int) -> Goodbye | None:
    """Has the listener left, and how?"""
    if events & (select.EPOLLERR | select.EPOLLHUP):
        return _error(listener)
    if events & select.EPOLLIN:
        return _discard(listener)
    return None


def _error(listener: Watched) -> Goodbye:
    code = listener.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code in (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH):
        return Goodbye.VANISHED
    return Goodbye.RESET if code else Goodbye.LEFT


def _discard(listener: Watched) -> Goodbye | None:
    """Read what a listener says, for edge-triggered news come only once; unread bytes would turn a close into a
    reset."""
    said = 0
    while said < NOISE_BYTES:
        try:
            data = listener.connection.recv(8192)
        except BlockingIOError:
            return None
        except ssl.SSLError:
            return Goodbye.TLS_ERROR
        except OSError:
            return Goodbye.RESET
        if not data:
            return Goodbye.LEFT
        said += len(data)
    return Goodbye.FLOODED

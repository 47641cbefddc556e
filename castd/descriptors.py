"""File descriptors (getrlimit(2), RLIMIT_NOFILE): how many there may be, and those kept back for when there are none.

The kernel gives out the lowest number that is free. So a new one of a high number tells, at no cost, that nearly all
below it are taken; nobody has to count.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio

NONE_LEFT = (errno.EMFILE, errno.ENFILE)
"""Of this process, or of the machine."""

LIMIT = "open files"
"""What the limit is called where limits are told."""

LISTENERS_LEAVE = 100
"""Descriptors listeners do not get, beyond those they have: for sources, operators, pages and castd's own files."""

CONNECTIONS_LEAVE = 32
"""Descriptors no connection from outside gets: for rings, logs, databases, hooks, relays."""

LOW_LIMIT = 400
"""Under a lower one than this each of these is less, in proportion."""

RESERVE = 4
"""Descriptors held for nothing else than to be let go: each doorstep needs one at a time."""

TURNED_AWAY_BYTES = 65_536
"""Of a request that is turned away, what is there of it is read: a close with unread data is a reset, which can
overtake the reply."""


def limit() -> int:
    """Descriptors this process may have now."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if most == resource.RLIM_INFINITY else most


def in_use() -> int:
    """Descriptors it has; 0 where that cannot be told."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # the directory's own
    except OSError:
        return 0


def room(leave: int) -> int:
    """The lowest number that a descriptor must not have if so many are to be left; see LISTENERS_LEAVE."""
    most = limit()
    return most - min(leave, leave * most // LOW_LIMIT)


def leaves(descriptor: int, leave: int) -> bool:
    """Whether a new descriptor leaves so many to others."""
    return descriptor < room(leave)


class Reserve:
    """Descriptors that are let go when there are no others, so that whoever knocks can be answered.

    They are opened early, so that their numbers stay below a limit that is lowered later.
    """

    def __init__(self) -> None:
        self._kept: list[int] = []
        self.refill()

    def __len__(self) -> int:
        return len(self._kept)

    def refill(self) -> None:
        """Have as many again as there should be, as far as there are."""
        try:
            while len(self._kept) < RESERVE:
                self._kept.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            pass  # the next time

    def turn_away(self, door: trio.SocketListener, reply: bytes, most: int) -> int:
        """Accept connections for which there are no descriptors, answer and close them, one after the other.

        Args:
            door: where they wait.
            reply: to each, whatever it asks for.
            most: connections.

        Returns:
            How many there were.
        """
        count = 0
        sock = socket.socket(fileno=door.socket.fileno())
        try:
            while count < most and self._turn_one_away(sock, reply):
                count += 1
        finally:
            sock.detach()  # it is the door's
        return count

    def _turn_one_away(self, door: socket.socket, reply: bytes) -> bool:
        if self._kept:
            os.close(self._kept.pop())
        try:
            connection, _ = door.accept()
        except OSError:
            return False
        else:
            turn_away(connection, reply)
            return True
        finally:
            self.refill()

    def close(self) -> None:
        """Have none any more."""
        while self._kept:
            os.close(self._kept.pop())


def turn_away(connection: socket.socket, reply: bytes) -> None:
    """Answer a connection and close it; never waits."""
    connection.setblocking(False)
    try:
        connection.send(reply)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(TURNED_AWAY_BYTES)
    except OSError:  # it is gone, or has said nothing yet
        pass
    finally:
        connection.close()

"""Wrong passwords: how many an address may send, and how many of its passwords are looked at at the same moment.

To look at a password takes time: hashes are computed in threads, services on the web are asked. So no more are looked
at at once than wrong ones are left to an address, else all that come before the first refusal would be free; the others
wait for their turn. Who sends right ones waits at worst, however many share the address.

An address counts as castd.access.networks.share has it: IPv6 by its /64.
"""

from __future__ import annotations

import math

import trio

from castd.access.crowd import Arrivals
from castd.access.networks import share
from castd.errors import ClientError


class Guesses:
    """Gives turns: await `begin`, look at the password, `end` whatever came of it."""

    def __init__(self) -> None:
        self._wrong = Arrivals()
        self._desks: dict[str, _Desk] = {}

    async def begin(self, address: str, most: int) -> None:
        """Wait for the turn of a password from an address.

        Args:
            most: wrong ones that it may send a minute; 0 means any number.

        Raises:
            ClientError: 429: it has sent them.
        """
        if not most:
            return
        desk = self._desks.setdefault(share(address), _Desk())
        desk.here += 1
        try:
            if desk.queue and not self._refuses(address, most):
                await desk.queue.park()
            while not self._refuses(address, most) and desk.busy >= self._left(address, most):
                await desk.queue.park()
            self._require_some_left(address, most)
        except BaseException:
            self._leave(address, desk, most)
            raise
        desk.busy += 1
        self._go_on(address, desk, most)

    def end(self, address: str, most: int, *, wrong: bool) -> None:
        """A password for which `begin` gave a turn was looked at, or is not any more.

        Args:
            most: as it was then, even if another number is in force now.
        """
        if not most:
            return
        desk = self._desks[share(address)]
        desk.busy -= 1
        if wrong:
            self._wrong.admit(address, most, trio.current_time())
        self._leave(address, desk, most)

    def _leave(self, address: str, desk: _Desk, most: int) -> None:
        desk.here -= 1
        if not desk.here:
            del self._desks[share(address)]
        self._go_on(address, desk, most)

    def _go_on(self, address: str, desk: _Desk, most: int) -> None:
        """Have the next one come, if there is something for it; each who comes has the next one come."""
        if self._refuses(address, most) or desk.busy < self._left(address, most):
            desk.queue.unpark()

    def _refuses(self, address: str, most: int) -> bool:
        return self._wrong.wait(address, most, trio.current_time()) > 0

    def _left(self, address: str, most: int) -> int:
        return max(1, self._wrong.left(address, most, trio.current_time()))

    def _require_some_left(self, address: str, most: int) -> None:
        if wait := self._wrong.wait(address, most, trio.current_time()):
            seconds = math.ceil(wait)
            raise ClientError(429, f"too many wrong passwords; wait {seconds} s", (("Retry-After", str(seconds)),))


class _Desk:
    """Where the passwords of one address are looked at.

    Attributes:
        here: who waits or is looked at; the desk goes with the last.
        busy: that are looked at now.
        queue: who waits.
    """

    def __init__(self) -> None:
        self.here = self.busy = 0
        self.queue = trio.lowlevel.ParkingLot()

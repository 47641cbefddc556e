"""Those who wait for the next of something: woken when it is there and not before, and so many at a time.

Thousands wait for the same part of a mount. Were they all woken at once, all of them would be answered before the loop
came to anything else, such as the audio of other mounts; and were all woken at each change, nobody but they would have
a turn.
"""

from __future__ import annotations

from typing import TypeAlias

import trio

Place: TypeAlias = tuple[int, int]
"""In a session: a segment's number, and of how many of its parts."""

ANY: Place = (-1, 0)
"""Reached at each change."""

SLICE = 32
"""Woken at a time; the next of them when these have had their turn. An answer takes some tenths of a millisecond."""


class Changes:
    """What one segmenter tells."""

    def __init__(self) -> None:
        self._lots: dict[Place, trio.lowlevel.ParkingLot] = {}
        self._due = trio.lowlevel.ParkingLot()
        self._woken = 0

    async def wait(self, place: Place = ANY) -> None:
        """Wait for the next change at which a place is reached, or at which all are to look."""
        await self._lots.setdefault(place, trio.lowlevel.ParkingLot()).park()
        self._woken -= 1
        if not self._woken:
            self._wake()

    def tell(self, reached: Place | None = None) -> None:
        """Something changed.

        Args:
            reached: whoever waits for that or what was before it is woken; None for everybody.
        """
        for place in [each for each in self._lots if reached is None or each <= reached]:
            self._lots.pop(place).repark_all(self._due)
        if not self._woken:
            self._wake()

    def _wake(self) -> None:
        self._woken = len(self._due.unpark(count=SLICE))

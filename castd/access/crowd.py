"""How much each client address takes: its connections, how often it makes new ones, and whom it keeps waiting for.

An address counts as castd.access.networks.share has it: IPv6 by its /64. All counts are of sets, so none can go astray.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar

from castd.access.networks import share

Who = TypeVar("Who", bound=Hashable)

MINUTE_SECONDS = 60.0

REMEMBERED = 65_536
"""Addresses whose new connections are remembered, at most; some 200 bytes each."""


class Crowd:
    """Who is connected from where."""

    def __init__(self) -> None:
        self._address_of: dict[Hashable, str] = {}
        self._at: dict[str, set[Hashable]] = {}

    def __len__(self) -> int:
        return len(self._address_of)

    @property
    def addresses(self) -> list[str]:
        """Of all that are here, in order."""
        return sorted(self._address_of.values())

    def address(self, who: Hashable) -> str | None:
        """Where somebody is from; None if not here."""
        return self._address_of.get(who)

    def enter(self, who: Hashable, address: str) -> None:
        """Count somebody at an address, and at no other any more."""
        self.leave(who)
        self._address_of[who] = address
        self._at.setdefault(share(address), set()).add(who)

    def leave(self, who: Hashable) -> None:
        """Count somebody no more. Twice does no harm."""
        address = self._address_of.pop(who, None)
        if address is not None:
            there = self._at[share(address)]
            there.discard(who)
            if not there:
                del self._at[share(address)]

    def count(self, address: str) -> int:
        """How many are here from an address, or from its /64."""
        return len(self._at.get(share(address), ()))

    def fullest(self) -> tuple[str, int]:
        """The address, or /64, with most, and how many; ("", 0) if nobody is here."""
        return max(((each, len(there)) for each, there in self._at.items()), key=lambda pair: pair[1], default=("", 0))


class Arrivals:
    """New connections from each address: `most` at once, then one each 60 / `most` seconds.

    For each address one number is kept: the time at which it will have made good for all it had (the generic cell rate
    algorithm, ITU-T I.371 §5.4.1).
    """

    def __init__(self) -> None:
        self._good_at: dict[str, float] = {}

    def admit(self, address: str, most: int, now: float) -> float:
        """Take note of a new connection, if it may be.

        Args:
            most: a minute; 0 means any number.
            now: monotonic seconds.

        Returns:
            Seconds after which it may be; 0 if it may now.
        """
        if not most:
            return 0.0
        key, interval = share(address), MINUTE_SECONDS / most
        wait = self.wait(address, most, now)
        good_at = max(now, self._good_at.pop(key, now))
        # back in at the end, so that the dict begins with who came longest ago
        self._good_at[key] = good_at if wait else good_at + interval
        if len(self._good_at) > REMEMBERED:
            del self._good_at[next(iter(self._good_at))]
        return wait

    def wait(self, address: str, most: int, now: float) -> float:
        """Seconds after which a new connection may be, as `admit` says; nothing is noted."""
        if not most:
            return 0.0
        wait = max(now, self._good_at.get(share(address), now)) - now + MINUTE_SECONDS / most - MINUTE_SECONDS
        return wait if wait > 1e-6 else 0.0

    def left(self, address: str, most: int, now: float) -> int:
        """New connections that may be now.

        Args:
            most: as for `admit`; not 0.
        """
        owed = max(0.0, self._good_at.get(share(address), now) - now)
        return int(most - owed * most / MINUTE_SECONDS + 1e-6)

    def fullest(self, most: int, now: float) -> tuple[str, int]:
        """The address, or /64, that has used up most of what it may have, and how much of it; ("", 0) if nobody has."""
        if not most or not self._good_at:
            return "", 0
        key, good_at = max(self._good_at.items(), key=lambda pair: pair[1])
        used = math.ceil(max(0.0, good_at - now) * most / MINUTE_SECONDS)
        return (key, used) if used else ("", 0)


class Waiting(Generic[Who]):
    """Those who hold one of a number of places while nothing is known of them yet, whom it is fair to send away.

    When all places are taken, whoever has most of them gives one up, the one held longest. So an address that takes
    them all keeps nobody else out, and where everybody has one, the newcomers, who are about to speak, come in.
    """

    def __init__(self) -> None:
        self._share_of: dict[Who, str] = {}
        self._at: dict[str, dict[Who, int]] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._share_of)

    def __contains__(self, who: Who) -> bool:
        return who in self._share_of

    def enter(self, who: Who, address: str | None, most: int) -> list[Who]:
        """Give somebody a place.

        Args:
            address: where it is from; None for one of whom nobody knows that, who shares with nobody.
            most: places there are.

        Returns:
            Those who have none any more: it may be the newcomer itself.
        """
        key = f"{id(who)}" if address is None else share(address)
        self._share_of[who] = key
        self._at.setdefault(key, {})[who] = next(self._numbers)
        sent_away = []
        while len(self._share_of) > most:
            largest = max(self._at, key=lambda each: (len(self._at[each]), -next(iter(self._at[each].values()))))
            # of one that has most of them the newcomer goes, else one that would have spoken by now
            sent_away.append(who if largest == key else next(iter(self._at[largest])))
            self.leave(sent_away[-1])
        return sent_away

    def leave(self, who: Who) -> None:
        """Take somebody's place away. Twice does no harm."""
        key = self._share_of.pop(who, None)
        if key is not None:
            del self._at[key][who]
            if not self._at[key]:
                del self._at[key]

    def fullest(self) -> tuple[str, int]:
        """The address, or /64, with most places, and how many; ("", 0) if none is taken."""
        return max(((each, len(held)) for each, held in self._at.items()), key=lambda pair: pair[1], default=("", 0))

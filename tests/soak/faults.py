"""What went wrong, counted by kind, with the first few in words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

TOLD = 10
"""Of each kind, in words."""


class Faults:
    """What a report lists; a soak without faults has none.

    Args:
        say: is told of each that is kept in words.

    Attributes:
        told: seconds since the beginning, kind and words.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.told: list[tuple[float, str, str]] = []

    def add(self, kind: str, words: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= TOLD:
            self.told.append((round(time.monotonic() - self._begun, 1), kind, words))
            self._say(f"{kind}: {words}")

    def __bool__(self) -> bool:
        return bool(self.counts)

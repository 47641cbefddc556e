"""From samples to a level in dBFS: decibels below full scale, which is 1.0."""

from __future__ import annotations

from math import log10
from operator import mul
from typing import TYPE_CHECKING

from castd.mount.sound import NOTHING_DBFS

if TYPE_CHECKING:
    from collections.abc import Sequence

STRIDE = 11
"""Every so manieth sample is looked at: in a second that tells the power to 0.1 dB, and adding up all would cost more
than decoding. Odd, so that channels take turns where their samples do, and no divisor of a block's length, so that a
tone is not met at the same place of its wave each time."""


class Loudness:
    """Of some audio, added up.

    Attributes:
        seconds: how much that is.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._squares = self._peak = 0.0
        self._count = 0

    def add(self, samples: Sequence[float], seconds: float) -> None:
        """Take some more.

        Args:
            samples: of one channel, or of several in turn.
            seconds: they last; 0 for further channels of what was counted already.
        """
        some = samples[::STRIDE]
        self._squares += sum(map(mul, some, some))
        self._count += len(some)
        self._peak = max(self._peak, max(some, default=0.0), -min(some, default=0.0))
        self.seconds += seconds

    @property
    def level_dbfs(self) -> float:
        """Root mean square of it all."""
        return _decibels(10, self._squares / self._count if self._count else 0.0)

    @property
    def peak_dbfs(self) -> float:
        """Of the loudest sample looked at."""
        return _decibels(20, self._peak)


def _decibels(factor: int, ratio: float) -> float:
    """Rounded; NOTHING_DBFS for what is not louder than that, nor a number."""
    level = factor * log10(ratio) if ratio > 0 else NOTHING_DBFS
    return round(max(level, NOTHING_DBFS), 1)

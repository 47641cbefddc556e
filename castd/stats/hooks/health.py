"""How a hook is: what operators see of it."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """Counted since the server began.

    Attributes:
        told: parcels delivered, or programs that ended well.
        failed: tries that were in vain.
        last_failure: in words; "" if there was none.
        last_failure_wall: when that was, seconds since 1970.
    """

    told: int = 0
    failed: int = 0
    last_failure: str = ""
    last_failure_wall: float = 0.0

    def fail(self, why: str) -> None:
        """Count a try in vain."""
        self.failed += 1
        self.last_failure, self.last_failure_wall = why, time.time()

"""How steadily a source sends: what castd.stats.samples keeps of one, beside it, so that the next process goes on with
it."""

from __future__ import annotations

import msgspec


class Steadiness(msgspec.Struct):
    """Of one source.

    Attributes:
        turn: wall time at which it last began to feed the ring, as the mount's `started`; 0 before it was looked at.
        begun: monotonic seconds, and media time of its mount, when it was first looked at since.
        received: its bytes at the last sample, and monotonic seconds then.
        bitrates: measured, in bit/s, the newest last.
        gaps: times it sent nothing for long.
        in_gap: it sends nothing now.
    """

    turn: float = 0.0
    begun: tuple[float, float] = (0.0, 0.0)
    received: tuple[int, float] = (0, 0.0)
    bitrates: list[int] = msgspec.field(default_factory=list)
    gaps: int = 0
    in_gap: bool = False

    def later(self, seconds: float) -> None:
        """Have its monotonic times so much later."""
        self.begun = (self.begun[0] + seconds, self.begun[1])
        self.received = (self.received[0], self.received[1] + seconds)

"""What of a mount's stream waits to be encoded: bounded, and in pieces of which each goes to one decoder."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from castd.transcode.messages import Piece

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.mount.party import Source
    from castd.wire.framer import Run

ROOM_BYTES = 4 * 1024 * 1024
"""That may wait: headers with a picture, and ROOM_SECONDS of any encoder but those of lossless sound."""

ROOM_SECONDS = 10.0
"""Of audio beyond the burst that it began with: who is later than this does not catch up."""


@dataclass(slots=True)
class _Waiting:
    """A piece to be, and the wall time at which its last bytes came."""

    format: str
    begins: bool
    start: float
    end: float
    wall: float = 0.0
    data: list[bytes] = field(default_factory=list)


class Backlog:
    """Of one mount.

    Args:
        of: the mount.
        burst_seconds: how much more than ROOM_SECONDS may wait.

    Attributes:
        lost_seconds: of audio that found no room, since anybody looked.
    """

    def __init__(self, of: Mount, burst_seconds: float) -> None:
        self._of = of
        self._most_seconds = ROOM_SECONDS + burst_seconds
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._source: Source | None = None
        self._begins = True
        self.lost_seconds = 0.0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, run: Run, wall: float) -> None:
        """Frames have come, at a wall time. Where that of another source begins, or after a loss, so does a piece."""
        if run.start is None or run.end is None:
            return
        if self._of.source is not self._source:
            self._source, self._begins = self._of.source, True
        if self._waiting and self._is_full(run):
            self.lost_seconds += self._waiting[-1].end - self._waiting[0].start
            self._waiting.clear()
            self._bytes, self._begins = 0, True
        if self._begins or not self._waiting:
            waiting = _Waiting(self._of.format, self._begins, run.start, run.end)
            head = self._of.timeline.head_at(self._of.ring.head)
            if self._begins and head is not None:
                waiting.data.append(head.data)
            self._waiting.append(waiting)
            self._begins = False
        waiting = self._waiting[-1]
        waiting.data.append(run.data)
        waiting.end, waiting.wall = run.end, wall
        self._bytes += len(run.data)

    def _is_full(self, run: Run) -> bool:
        assert run.end is not None
        return self._bytes + len(run.data) > ROOM_BYTES or run.end - self._waiting[0].start > self._most_seconds

    def take(self) -> tuple[Piece, float]:
        """The next piece, and the wall time that media time 0 would have had when it came; there must be one."""
        waiting = self._waiting.popleft()
        data = b"".join(waiting.data)
        self._bytes = sum(len(part) for each in self._waiting for part in each.data)
        return Piece(waiting.format, waiting.begins, waiting.start, data), waiting.wall - waiting.end

"""From frames in a buffer to runs with media time."""

from __future__ import annotations

from castd.wire.framer import ENTRY_SECONDS, RUN_BYTES, Entry, Run

TICKS_PER_SECOND = 28_224_000
"""The media clock: the least common multiple of all sample rates of MPEG audio and AAC (7,350 to 96,000 Hz), so that a
sample of any of them is a whole number of ticks and a change of rate needs no rounding."""

_ENTRY_TICKS = round(ENTRY_SECONDS * TICKS_PER_SECOND)


class RunBuilder:
    """Joins frames that follow each other in the buffer into runs, and keeps the media clock."""

    def __init__(self) -> None:
        self._clock = 0  # ticks
        self._entry_due = 0
        self._start = self._end = -1
        self._start_clock = 0
        self._entries: list[Entry] = []
        self._done: list[Run] = []

    def add(self, buffer: bytearray, at: int, length: int, ticks: int) -> None:
        """Add the frame at `at`, which lasts `ticks`."""
        end = at + length
        if at != self._end or end - self._start > RUN_BYTES:
            self._close(buffer)
            self._start, self._start_clock = at, self._clock
        if self._clock >= self._entry_due:
            self._entries.append(Entry(at - self._start, self._clock / TICKS_PER_SECOND))
            self._entry_due = self._clock + _ENTRY_TICKS
        self._clock += ticks
        self._end = end

    def take(self, buffer: bytearray) -> list[Run]:
        """The runs added since the last call. Offsets into the buffer are forgotten: it may be cut now."""
        self._close(buffer)
        done, self._done = self._done, []
        return done

    def _close(self, buffer: bytearray) -> None:
        if self._end > self._start:
            with memoryview(buffer) as view:
                data = bytes(view[self._start : self._end])
            start, end = self._start_clock / TICKS_PER_SECOND, self._clock / TICKS_PER_SECOND
            self._done.append(Run(data, start, end, tuple(self._entries)))
            self._entries.clear()
        self._start = self._end = -1

"""How things went: looked at every ten seconds, kept for hours, in little memory. Numbers here are for people; what
counts is counted where it happens."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import trio

from castd.stats.process import ProcessFacts, read_cpu_seconds, read_process
from castd.stats.snapshot import SoundFacts, sound_facts

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry

SAMPLE_SECONDS = 10.0

BITRATES = 90
"""Of a source: a quarter of an hour."""

STEP_SECONDS = 60
"""Between two listener counts that are kept."""

COUNTS = 360
"""Of a mount: six hours."""

GAP_SECONDS = 2.0
"""A source that sends nothing for so long has a gap; looked at every second."""


@dataclass(frozen=True, slots=True)
class Health:
    """How steadily a source sends; see castd.api.shapes.Health."""

    bitrates: list[int]
    gaps: int
    drift_seconds: float
    last_frame_seconds: float
    sound: SoundFacts | None


class Samples:
    """Looks at mounts, sources and the process.

    Attributes:
        step_seconds: between two of `listeners`.
    """

    step_seconds = STEP_SECONDS

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._listeners: WeakKeyDictionary[Mount, deque[int]] = WeakKeyDictionary()
        self._bytes: WeakKeyDictionary[Mount, tuple[int, int]] = WeakKeyDictionary()
        self._cpu = (registry.clock.monotonic(), read_cpu_seconds())
        self._cpu_percent = self._sent_mbit = self._received_mbit = 0.0
        self._seconds = 0

    async def run(self) -> None:
        """Look every second, for ever; most looks are short."""
        while True:
            self.look()
            await trio.sleep(1)

    def look(self) -> None:
        """One second's look."""
        mounts, now = list(self._registry.mounts.values()), self._registry.clock.monotonic()
        for mount in mounts:
            self._look_for_gaps(mount, now)
            if self._seconds % STEP_SECONDS == 0:
                self._listeners.setdefault(mount, deque(maxlen=COUNTS)).append(len(mount.listeners))
        if self._seconds % int(SAMPLE_SECONDS) == 0:
            self._measure(mounts, now)
        self._seconds += 1

    def listeners(self, mount: Mount) -> list[int]:
        """How many listened, minute by minute, and now."""
        return [*self._listeners.get(mount, ()), len(mount.listeners)]

    def health(self, mount: Mount) -> Health | None:
        """Of the source that feeds a mount; None while there is none, or it has not been looked at."""
        source = mount.source
        if source is None or source.steadiness.turn != mount.started:
            return None
        kept, now = source.steadiness, mount.clock.monotonic()
        since, media = kept.begun
        return Health(
            bitrates=list(kept.bitrates),
            gaps=kept.gaps,
            drift_seconds=round((mount.timeline.end - media) - (mount.appended - since), 3),
            last_frame_seconds=round(now - mount.appended, 3),
            sound=sound_facts(mount, source),
        )

    def process(self) -> ProcessFacts:
        """What the server takes of its machine."""
        uptime = self._registry.clock.monotonic() - self._registry.started_monotonic
        return read_process(uptime, self._cpu_percent, self._sent_mbit, self._received_mbit)

    def _look_for_gaps(self, mount: Mount, now: float) -> None:
        source = mount.source
        if source is None or not mount.begun:
            return
        kept = source.steadiness
        if kept.turn != mount.started:
            kept.turn, kept.begun = mount.started, (mount.appended, mount.timeline.end)
            kept.received, kept.in_gap = (source.bytes_received, now), False
            return
        silent = now - mount.appended >= GAP_SECONDS
        kept.gaps += silent and not kept.in_gap
        kept.in_gap = silent

    def _measure(self, mounts: list[Mount], now: float) -> None:
        sent = received = 0
        for mount in mounts:
            before = self._bytes.get(mount, (mount.bytes_sent, mount.bytes_received))
            self._bytes[mount] = (mount.bytes_sent, mount.bytes_received)
            sent += mount.bytes_sent - before[0]
            received += mount.bytes_received - before[1]
            source = mount.source
            if source is not None and source.steadiness.turn == mount.started:
                kept = source.steadiness
                (size, at), kept.received = kept.received, (source.bytes_received, now)
                if now - at >= SAMPLE_SECONDS / 2:  # it may have begun to feed the mount a moment ago
                    kept.bitrates = [*kept.bitrates, round((source.bytes_received - size) * 8 / (now - at))][-BITRATES:]
        cpu, (before_at, before_cpu) = read_cpu_seconds(), self._cpu
        if now - before_at >= SAMPLE_SECONDS / 2:  # the first look comes at once
            self._cpu_percent = round(100 * (cpu - before_cpu) / (now - before_at), 1)
            self._sent_mbit = round(sent * 8e-6 / (now - before_at), 3)
            self._received_mbit = round(received * 8e-6 / (now - before_at), 3)
        self._cpu = (now, cpu)

"""Mounts without a server: a clock set by hand, and frames that carry their mount and number."""

from __future__ import annotations

import re

from castd.config import MountSettings
from castd.mount.mount import Clock, Mount
from castd.mount.party import Description, Source
from castd.wire.framer import Entry, Head, Run

FRAME_SECONDS = 0.025
FRAME = re.compile(rb"\[(?P<mount>[^:\]]*):(?P<number>\d{8})\]\.*;")


class HandClock:
    """Time stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.clock = Clock(monotonic=lambda: self.now, wall=lambda: self.now + 1e9)


def frame(mount: str, number: int, size: int = 400) -> bytes:
    """A frame no other frame looks like; its number can be read back from any whole copy of it."""
    return f"[{mount}:{number:08d}]".encode().ljust(size - 1, b".") + b";"


def frames_of(received: bytes) -> list[tuple[str, int]]:
    """The frames in some bytes, which must consist of whole frames.

    Raises:
        AssertionError: a byte is no part of a whole frame.
    """
    found, at = [], 0
    while at < len(received):
        match = FRAME.match(received, at)
        assert match is not None, f"no frame at {at} of {len(received)}: {received[at : at + 60]!r}"
        found.append((match["mount"].decode(), int(match["number"])))
        at = match.end()
    return found


class Encoder:
    """Feeds a mount with numbered frames, an entry at every `entry_every`th.

    Args:
        sizes: bytes of each frame, by number, cyclic.
    """

    def __init__(self, mount: Mount, *, sizes: tuple[int, ...] = (400,), entry_every: int = 4) -> None:
        self.mount = mount
        self.sizes = sizes
        self.entry_every = entry_every
        self.number = 0
        self.source = source()
        self.entries: set[int] = {0}

    def run(self, count: int, head: Head | None = None) -> Run:
        """The next frames as one run."""
        data, entries, first = b"", [], self.number
        for number in range(first, first + count):
            if number % self.entry_every == 0:
                entries.append(Entry(len(data), number * FRAME_SECONDS))
                self.entries.add(number)
            data += frame(self.mount.name, number, self.sizes[number % len(self.sizes)])
        self.number += count
        return Run(data, first * FRAME_SECONDS, self.number * FRAME_SECONDS, tuple(entries), head)

    def feed(self, count: int = 1, head: Head | None = None) -> None:
        self.mount.append(self.source, self.run(count, head))


def source(content_type: str = "audio/mpeg", *, priority: int = 0) -> Source:
    """A source without a connection."""
    return Source(
        address="127.0.0.1",
        agent="fake",
        user="source",
        protocol="PUT",
        description=Description(content_type),
        connected=1000.0,
        stop=lambda: None,
        priority=priority,
    )


def settings(
    *,
    burst_seconds: float = 4.0,
    burst_bytes: int = 0,
    ring_seconds: float = 60.0,
    ring_bytes: int = 1 << 20,
    lag_seconds: float = 20.0,
    lag_policy: str = "jump",
    linger_seconds: float = 30.0,
    send_interval_max_seconds: float = 1.0,
) -> MountSettings:
    """Settings of a mount, default but for what is given."""
    assert lag_policy in ("jump", "drop")
    return MountSettings(
        burst_seconds=burst_seconds,
        burst_bytes=burst_bytes,
        ring_seconds=ring_seconds,
        ring_bytes=ring_bytes,
        lag_seconds=lag_seconds,
        lag_policy="drop" if lag_policy == "drop" else "jump",
        linger_seconds=linger_seconds,
        send_interval_max_seconds=send_interval_max_seconds,
    )

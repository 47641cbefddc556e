"""A mount as another process can go on with it. Monotonic times are of the process that tells them."""

from __future__ import annotations

import msgspec

from castd.mount.party import Description, SourceState
from castd.mount.ring import RingState
from castd.mount.shape import Shape
from castd.mount.timeline import TimelineState, Title
from castd.wire.ogg_unchain import UnchainerState
from castd.wire.picture import Picture
from castd.wire.tags import StreamInfo


class MountState(msgspec.Struct):
    """See castd.mount.mount.Mount for what the fields mean; the ring's memory goes beside it."""

    name: str
    ring: RingState
    timeline: TimelineState
    pictures: list[tuple[str, Picture]]
    sources: list[SourceState]
    description: Description | None
    shape: Shape
    begun: bool
    info: StreamInfo | None
    started: float
    appended: float
    lost: float | None
    listener_peak: int
    visits: int
    slow_listeners: int
    bytes_received: int
    chosen_fallback: str | None
    encoder_title: Title | None
    told_title: Title | None
    bytes_sent_to_departed: int
    base: float | None
    timed: bool
    joining: bool
    heard: dict[str, int] = msgspec.field(default_factory=dict)
    unchainer: UnchainerState | None = None
    on_file: bool = False
    alike_from: int = 0

    def later(self, seconds: float) -> None:
        """Have all monotonic times so much later."""
        self.appended += seconds
        if self.lost is not None:
            self.lost += seconds
        if self.base is not None and not self.timed:  # its source has no times but the clock's
            self.base -= seconds
        for source in self.sources:
            source.later(seconds)

"""A listener as another process can go on with it. Monotonic times are of the process that tells them."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from castd.delivery.pace import Pace
from castd.http.routes import StayState
from castd.http.state import RequestState
from castd.stats.visits import Arrival


class ListenerState(msgspec.Struct):
    """See castd.delivery.listener.Listener for what the fields mean.

    Attributes:
        intro: number of the intro it has begun, as they are told beside; 0 for none.
        intro_left: bytes it has not had yet of that.
        metaint, until, told: see IcyState; metaint is 0 where there are no ICY blocks.
        bound_for: the name of a mount.
    """

    id: int
    position: int
    pending: bytes
    intro: int
    intro_left: int
    metaint: int
    until: int
    told: tuple[str, str] | None
    protocol: str
    address: str
    agent: str
    user: str
    connected: float
    most_seconds: float
    bytes_sent: int
    bytes_elsewhere: int
    jumps: int
    worst_lag_seconds: float
    stuck_at: int
    blocked: bool
    bound_for: str | None
    since: Arrival
    player: str
    begins: float
    request: RequestState | None
    stay: StayState | None
    pace: Pace | None = None

    def later(self, seconds: float) -> None:
        """Have all monotonic times so much later."""
        self.connected += seconds
        self.since = replace(self.since, at=self.since.at + seconds)
        if self.pace is not None:
            self.pace = replace(self.pace, since=self.pace.since + seconds)
        if self.stay is not None:
            self.stay.begun += seconds

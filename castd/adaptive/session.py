"""One listener by segments, and how another process is told of it; castd.adaptive.sessions knows them all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from castd.http.routes import StayState
from castd.stats.visits import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.http.routes import Stay
    from castd.mount.mount import Mount
    from castd.mount.party import Goodbye

TOLD = (
    "token", "id", "address", "agent", "user", "protocol", "connected", "seen", "bytes_sent", "bytes_elsewhere",
    "position", "most_seconds", "since", "uses_token", "claim",
    "group", "allowed",
)  # fmt: skip
"""Fields of SessionState that a session has as they are."""


class SessionState(msgspec.Struct):
    """A session, for another process; see Session. Monotonic times are of the process that tells them."""

    token: str
    id: int
    address: str
    agent: str
    user: str
    protocol: str
    connected: float
    seen: float
    bytes_sent: int
    bytes_elsewhere: int
    position: int
    most_seconds: float
    since: Arrival | None
    uses_token: bool
    stay: StayState | None
    claim: str = ""
    group: str = ""
    allowed: tuple[str, ...] = ()
    more_stays: list[StayState] = msgspec.field(default_factory=list)

    def later(self, seconds: float) -> None:
        """Have all monotonic times so much later."""
        self.connected += seconds
        self.seen += seconds
        if self.since is not None:
            self.since = replace(self.since, at=self.since.at + seconds)
        for stay in (self.stay, *self.more_stays):
            if stay is not None:
                stay.begun += seconds


class Player(NamedTuple):
    """What a player is known by that shows no token of ours.

    Attributes:
        mount: its name; of who listens to a group, the group's.
        claim: the token that it shows.
    """

    mount: str
    protocol: str
    address: str
    agent: str
    claim: str = ""


class Session:
    """One listener; see castd.mount.party.Listener for what is not here.

    Attributes:
        token: that its URLs carry; "" where it is known by address and agent.
        claim: a token that it shows and that was not made for it; "" for none.
        seen: monotonic time of its last request.
        most_seconds: for which it may listen, whatever its mount allows; 0 means no limit of its own.
        since: where and when it was counted in; None before.
        stay: what it was let in by, to be told when it leaves; None for nothing.
        uses_token: it has asked for something with its token.
        group: name of the group that it listens to; "" for the mount alone.
        allowed: names of that group's mounts to which it may listen.
        more_stays: as `stay`, where it was let in to more than one of those mounts.
        on_gone: called with it when it has left.
    """

    def __init__(
        self, mount: Mount, listener_id: int, address: str, agent: str, user: str, protocol: str, token: str
    ) -> None:
        self.mount = mount
        self.token = token
        self.id = listener_id
        self.address = address
        self.agent = agent
        self.user = user
        self.protocol = protocol
        self.connected = self.seen = mount.clock.monotonic()
        self.bytes_sent = 0
        self.bytes_elsewhere = 0
        self.position = mount.ring.head
        self.jumps = 0
        self.worst_lag_seconds = 0.0
        self.gone: Goodbye | None = None
        self.ended_by = ""
        self.most_seconds = 0.0
        self.since: Arrival | None = None
        self.stay: Stay | None = None
        self.uses_token = False
        self.claim = ""
        self.group = ""
        self.allowed: tuple[str, ...] = ()
        self.more_stays: list[Stay] = []
        self.on_gone: Callable[[Session], None] = lambda session: None

    @property
    def hears_past(self) -> bool:
        """Nobody knows: what it has fetched it hears later."""
        return False

    @property
    def player(self) -> Player:
        """What it is known by without its token."""
        return Player(self.group or self.mount.name, self.protocol, self.address, self.agent)

    @property
    def claimant(self) -> Player:
        """As `player`, by the token it shows."""
        return self.player._replace(claim=self.claim)

    def covers(self, mount: str) -> bool:
        """Whether it was let in to a mount."""
        return mount == self.mount.name or mount in self.allowed

    def state(self) -> SessionState:
        """All of it, for another process."""
        return SessionState(
            **{name: getattr(self, name) for name in TOLD},
            stay=self.stay.state() if self.stay is not None else None,
            more_stays=[each.state() for each in self.more_stays],
        )

    def end(self, reason: Goodbye, by: str = "") -> None:
        """See castd.mount.party.Listener. Twice does no harm; the first reason stands."""
        if self.gone is None:
            self.gone, self.ended_by = reason, by
            self.mount.leave(self)
            self.on_gone(self)

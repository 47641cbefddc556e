"""Visits: what is kept of a listener or source when it has gone."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from secrets import token_bytes
from typing import TYPE_CHECKING, Literal, TypeAlias

from castd.mount.party import Goodbye, Source

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.mount.party import Listener
    from castd.mount.timeline import Timeline
    from castd.tcp import TcpState

Kind: TypeAlias = Literal["listener", "source"]

LAST_TITLES = 5
"""Titles kept with a visit."""

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit, ended.

    Attributes:
        id: that of the listener or source.
        address: as config sessions.addresses has it kept: hashed, plain, or "".
        agent, user, protocol: as castd.mount.party has them.
        started, ended: wall time, seconds since 1970.
        seconds: between the two, by the monotonic clock.
        bytes: sent to a listener, received from a source.
        worst_lag_seconds: how far a listener was behind the live end, at most; 0 for a source.
        jumps: times a listener was moved forward.
        titles: how many were on while it was there.
        last_titles: the newest of them, in order.
        reason: code of its goodbye (castd.mount.party.Goodbye).
        ended_by: who ended it, where somebody did.
        tcp: its connection at the end; None if there was none to ask any more.
    """

    id: int
    kind: Kind
    mount: str
    address: str
    agent: str
    user: str
    protocol: str
    started: float
    ended: float
    seconds: float
    bytes: int
    worst_lag_seconds: float
    jumps: int
    titles: int
    last_titles: tuple[str, ...]
    reason: str
    ended_by: str
    tcp: TcpState | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """What has to be remembered of a visit from its beginning.

    Attributes:
        position: in the ring, of the first byte that was for it or from it.
        titles: how many there had been by then.
        at: monotonic seconds.
    """

    position: int
    titles: int
    at: float


def arrival(mount: Mount, position: int) -> Arrival:
    """Note where a visit begins, or goes on at another mount."""
    return Arrival(position, mount.timeline.titles_up_to(position), mount.clock.monotonic())


def departure(
    mount: Mount,
    party: Listener | Source,
    since: Arrival,
    pseudonyms: Pseudonyms,
    tcp: TcpState | None,
    reason: Goodbye | None = None,
) -> Visit:
    """The visit of a listener or source that leaves now; of a listener who is to go on at another mount, up to now."""
    kind: Kind
    if isinstance(party, Source):
        kind, size, lag, jumps, position = "source", party.bytes_received, 0.0, 0, mount.ring.head
    else:
        kind, size, lag, jumps, position = (
            "listener", party.bytes_sent - party.bytes_elsewhere, party.worst_lag_seconds, party.jumps, party.position,
        )  # fmt: skip
    titles, last_titles = _titles(mount.timeline, since, position)
    seconds, now = mount.clock.monotonic() - since.at, mount.clock.wall()
    return Visit(
        id=party.id,
        kind=kind,
        mount=mount.name,
        address=pseudonyms.of(party.address, now),
        agent=party.agent,
        user=party.user,
        protocol=party.protocol,
        started=round(now - seconds, 3),
        ended=round(now, 3),
        seconds=round(seconds, 3),
        bytes=size,
        worst_lag_seconds=round(lag, 3),
        jumps=jumps,
        titles=titles,
        last_titles=last_titles,
        reason=(reason or party.gone or Goodbye.FAILED).value,
        ended_by=party.ended_by,
        tcp=tcp,
    )


def _titles(timeline: Timeline, since: Arrival, end: int) -> tuple[int, tuple[str, ...]]:
    """How many titles were heard, the one that was on at the beginning among them, and the last of them."""
    if end <= since.position:
        return 0, ()
    count = timeline.titles_up_to(end - 1) - since.titles + (1 if since.titles else 0)
    heard = timeline.titles_heard(since.position, end)
    return count, tuple(title.text for title in heard if title.text)[-LAST_TITLES:]


class Pseudonyms:
    """What stands for addresses in records.

    Hashed, one address has one pseudonym from midnight to midnight UTC. The key of a day is kept nowhere, so that
    nobody can tell afterwards whose it was; a restart begins with a new one.

    Attributes:
        style: config sessions.addresses.
    """

    def __init__(self, style: Literal["hashed", "plain", "none"]) -> None:
        self.style = style
        self._day = -1
        self._key = b""

    def of(self, address: str, wall: float) -> str:
        """What is recorded of an address at a wall time."""
        if self.style == "plain" or not address:
            return address
        if self.style == "none":
            return ""
        day = int(wall // DAY_SECONDS)
        if day != self._day:
            self._day, self._key = day, token_bytes(32)
        return blake2b(address.encode(), key=self._key, digest_size=8).hexdigest()

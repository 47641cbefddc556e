"""Listeners by segments: no connection tells when one comes and goes, so each has a session.

The first answer of a player, the multivariant playlist or the manifest, sends it on to URLs with a token. Who asks for
a playlist with that counts as a listener, until nothing was asked for IDLE_SECONDS; who only looks at the first answer
does not. Without a token a player is known by its address and what it calls itself, where everybody may listen. The
token is also what lets a player in once it was let in: a service that decides about listeners is asked once.

Segments have no token in their URLs, so that one copy serves everybody; the bytes of those are counted for the session
of that address and player that asked last.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from secrets import token_urlsafe
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from castd.errors import ClientError
from castd.http.messages import Response
from castd.http.routes import Grant, StayState
from castd.mount.party import Goodbye, closing_words, next_id
from castd.stats.visits import Arrival, arrival

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.access.crowd import Crowd
    from castd.config import Current
    from castd.delivery.room import Room
    from castd.http.messages import Request
    from castd.http.routes import Stay
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.stats.records import Records

log = logging.getLogger(__name__)

TOKEN = "session"
"""The argument of URLs; what is called so is left out of logs (castd.http.masking)."""

TOKEN_TEXT = re.compile(r"[A-Za-z0-9_-]{16,64}")

IDLE_SECONDS = 20.0
"""Playlists are asked for every few seconds; a player that fell asleep comes back as another listener."""

UNHEARD_SECONDS = 60.0
"""For who has a token and asks for nothing with it."""

UNHEARD = 10_000
"""Such tokens, at most: the oldest go."""

REMEMBERED_SECONDS = 300.0
"""For which the token of somebody who was told to go is good for nothing."""

REMEMBERED = 10_000
"""Such tokens, at most: the oldest go. Who only ever asks for first answers shall not fill the memory with them."""

ASLEEP = (Goodbye.LEFT, Goodbye.SOURCE_ENDED)
"""Who left so may come back with the same token."""

_TOLD = (
    "token", "id", "address", "agent", "user", "protocol", "connected", "seen", "bytes_sent", "bytes_elsewhere",
    "position", "most_seconds", "since", "uses_token",
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

    def later(self, seconds: float) -> None:
        """Have all monotonic times so much later."""
        self.connected += seconds
        self.seen += seconds
        if self.since is not None:
            self.since = replace(self.since, at=self.since.at + seconds)
        if self.stay is not None:
            self.stay.begun += seconds


class Player(NamedTuple):
    """What a player is known by that shows no token."""

    mount: str
    protocol: str
    address: str
    agent: str


class Session:
    """One listener; see castd.mount.party.Listener for what is not here.

    Attributes:
        token: that its URLs carry; "" where it is known by address and agent.
        seen: monotonic time of its last request.
        most_seconds: for which it may listen, whatever its mount allows; 0 means no limit of its own.
        since: where and when it was counted in; None before.
        stay: what it was let in by, to be told when it leaves; None for nothing.
        uses_token: it has asked for something with its token.
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
        self.on_gone: Callable[[Session], None] = lambda session: None

    @property
    def player(self) -> Player:
        """What it is known by without its token."""
        return Player(self.mount.name, self.protocol, self.address, self.agent)

    def state(self) -> SessionState:
        """All of it, for another process."""
        return SessionState(
            **{name: getattr(self, name) for name in _TOLD}, stay=self.stay.state() if self.stay is not None else None
        )

    def end(self, reason: Goodbye, by: str = "") -> None:
        """See castd.mount.party.Listener. Twice does no harm; the first reason stands."""
        if self.gone is None:
            self.gone, self.ended_by = reason, by
            self.mount.leave(self)
            self.on_gone(self)


class Sessions:
    """All of them.

    Args:
        audience: counts listeners by address.
        guarded: whether not everybody may listen to a mount.
        go_on_with_stay: makes a stay of what another process told of it.
    """

    def __init__(
        self,
        current: Current,
        registry: Registry,
        room: Room,
        records: Records,
        audience: Crowd,
        guarded: Callable[[str], bool],
        go_on_with_stay: Callable[[StayState], Stay],
    ) -> None:
        self._current = current
        self._registry = registry
        self._room = room
        self._records = records
        self._audience = audience
        self._guarded = guarded
        self._go_on_with_stay = go_on_with_stay
        self._by_token: dict[str, Session] = {}
        self._by_player: dict[Player, Session] = {}
        self._heard: dict[Session, None] = {}  # those that are counted
        self._unheard: dict[Session, None] = {}
        self._gone: dict[str, Session] = {}

    def guarded(self, mount: Mount) -> bool:
        """Whether not everybody may listen to a mount."""
        return self._guarded(mount.name)

    def holder(self, request: Request, mount: str) -> Grant | None:
        """What the token of a request is good for at a mount; None if it has none, or one that nobody knows.

        Raises:
            ClientError: 403: whose it was has been told to go.
        """
        given = request.argument(TOKEN)
        if given is None:
            return None
        gone, session = self._gone.get(given), self._by_token.get(given)
        if gone is not None and gone.mount.name == mount:
            if gone.gone not in ASLEEP:
                raise ClientError(403, f"this session is over: it {(gone.gone or Goodbye.FAILED).words}")
            # it fell asleep; a service that was told of that, or that set a limit, wants to be asked again
            if gone.stay is None and not gone.most_seconds:
                return Grant(gone.user)
        return Grant(session.user) if session is not None and session.mount.name == mount else None

    def welcome(self, request: Request, mount: Mount, grant: Grant, protocol: str) -> Session | Response:
        """A new session, that counts for nothing yet; or the way to go.

        Raises:
            ClientError: 503: there is no room.
        """
        found = self._room.find(mount)
        if isinstance(found, Response):
            return found
        session = self._new(found, request, grant, protocol, token_urlsafe(12))
        if found is mount:
            session.stay = grant.keep()
            self._by_token[session.token] = session
            self._by_player.setdefault(session.player, session)
            self._unheard[session] = None
            if len(self._unheard) > UNHEARD:
                next(iter(self._unheard)).end(Goodbye.LEFT)
        return session

    def attend(self, request: Request, mount: Mount, grant: Grant, protocol: str) -> Session:
        """The session of a player that asks for a playlist; counted in, if it was not.

        Raises:
            ClientError: 503: there is no room.
        """
        token = request.argument(TOKEN) or ""
        session = self._by_token.get(token)
        if session is not None:
            session.uses_token = True
        if session is None or session.mount is not mount:
            session = self._by_player.get(Player(mount.name, protocol, request.address, request.agent))
            if session is None or token:
                # one that is unknown, as after a restart, is as good as a new one, where everybody may listen
                session = self._new(mount, request, grant, protocol, token if TOKEN_TEXT.fullmatch(token) else "")
                session.stay = grant.keep()
        session.seen = mount.clock.monotonic()
        if session.since is None:
            self._count_in(session)
        self._by_player[session.player] = session
        return session

    def returns(self, request: Request, mount: Mount, protocol: str) -> bool:
        """Whether a player asks for the first answer again that makes no use of its token."""
        session = self._by_player.get(Player(mount.name, protocol, request.address, request.agent))
        return session is not None and not session.uses_token

    def credit(self, request: Request, mount: Mount, protocol: str, sent_bytes: int) -> None:
        """Count what a player was sent that has no token in its URL."""
        session = self._by_player.get(Player(mount.name, protocol, request.address, request.agent))
        if session is not None:
            session.bytes_sent += sent_bytes

    def _new(self, mount: Mount, request: Request, grant: Grant, protocol: str, token: str) -> Session:
        number = grant.listener_id or next_id()
        session = Session(mount, number, request.address, request.agent, grant.user, protocol, token)
        session.most_seconds = grant.seconds
        session.on_gone = self._forget
        return session

    def _count_in(self, session: Session) -> None:
        mount, most = session.mount, self._current.config.limits.max_connections_per_address
        if most and self._audience.count(session.address) >= most:
            raise ClientError(429, "too many connections from this address", (("Retry-After", "5"),))
        self._room.make_way(mount, session.user)
        if self._room.find(mount) is not mount:
            raise ClientError(503, "max listeners reached")
        self._unheard.pop(session, None)
        session.connected = session.seen
        session.since = arrival(mount, session.position)
        self._keep(session)
        self._registry.totals.listeners += 1
        mount.join(session)
        log.info("%s: listener %d from %s (%s) joined, %s",
                 mount.name, session.id, session.address, session.agent, session.protocol)  # fmt: skip

    def _keep(self, session: Session) -> None:
        if session.token:
            self._by_token[session.token] = session
        self._heard[session] = None
        self._audience.enter(session, session.address)

    def go_on_with(self, state: SessionState, mount: Mount) -> None:
        """Have somebody listen on who listened in another process."""
        session = Session(mount, state.id, state.address, state.agent, state.user, state.protocol, state.token)
        for name in _TOLD:
            setattr(session, name, getattr(state, name))
        session.stay = self._go_on_with_stay(state.stay) if state.stay else None
        session.on_gone = self._forget
        if session.since is None:
            self._by_token[session.token] = session
            self._unheard[session] = None
            return
        self._keep(session)
        self._by_player[session.player] = session
        mount.keep(session)

    def states(self, mount: Mount) -> list[SessionState]:
        """Those of a mount, for another process."""
        return [each.state() for each in (*self._heard, *self._unheard) if each.mount is mount]

    def part_with(self) -> None:
        """Another process goes on with everybody."""
        for held in (self._heard, self._unheard, self._by_token, self._by_player, self._gone):
            held.clear()

    def tidy(self) -> None:
        """End those who ask for nothing any more, and whose time is over."""
        now = self._registry.clock.monotonic()
        for session in list(self._unheard):
            if now - session.seen > UNHEARD_SECONDS:
                session.end(Goodbye.LEFT)
        for session in list(self._heard):
            limits = (session.most_seconds, session.mount.settings.max_listener_seconds)
            most = min((each for each in limits if each), default=0.0)
            if now - session.seen > IDLE_SECONDS:
                session.end(Goodbye.LEFT)
            elif most and now - session.connected > most:
                session.end(Goodbye.LIMIT)
        for token, session in list(self._gone.items()):
            if now - session.seen > REMEMBERED_SECONDS:
                del self._gone[token]

    def end_all(self, reason: Goodbye) -> None:
        """End everybody."""
        for session in (*self._unheard, *self._heard):
            session.end(reason)

    def _forget(self, session: Session) -> None:
        """It has left."""
        self._unheard.pop(session, None)
        self._heard.pop(session, None)
        holder = self._by_token.get(session.token)
        if holder is session:  # not another's, at a mount that was opened again
            del self._by_token[session.token]
            self._gone[session.token] = session
            session.seen = self._registry.clock.monotonic()
            if len(self._gone) > REMEMBERED:
                del self._gone[next(iter(self._gone))]
        if self._by_player.get(session.player) is session:
            del self._by_player[session.player]
        self._audience.leave(session)
        if session.stay is not None:
            session.stay.end()
        if session.since is not None:
            log.info("%s: listener %d closed: %s, %.1f s, %d bytes", session.mount.name, session.id,
                     closing_words(session.gone, session.ended_by),
                     self._registry.clock.monotonic() - session.connected, session.bytes_sent)  # fmt: skip
            self._records.departed(session.mount, session, session.since, None)

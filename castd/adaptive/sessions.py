"""Listeners by segments: no connection tells when one comes and goes, so each has a session.

The first answer of a player, the multivariant playlist or the manifest, sends it on to URLs with a token. Who asks for
a playlist with that counts as a listener, until nothing was asked for IDLE_SECONDS; who only looks at the first answer
does not. Without a token a player is known by its address and what it calls itself, where everybody may listen. The
token is also what lets a player in once it was let in: a service that decides about listeners is asked once.

A token that was not made here, or is no more remembered, as after a restart, lets nobody in. Where everybody may
listen, its player goes on with it, so that two of one address are two.

Segments have no token in their URLs, so that one copy serves everybody; the bytes of those are counted for the session
of that address and player that asked last.

Who listens to a group of mounts is one session, which goes from mount to mount as its player does: by HLS that asks for
the playlist of another one, by DASH for its segments.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from castd.access.crowd import Crowd
from castd.adaptive.session import TOLD, Player, Session, SessionState
from castd.errors import ClientError
from castd.http.messages import Response
from castd.http.routes import Grant, StayState
from castd.mount.party import Goodbye, closing_words, next_id
from castd.stats.visits import arrival

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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

RETRY_SECONDS = 5
"""When somebody whose address has as many listeners as it may have may find a place."""

ASLEEP = (Goodbye.LEFT, Goodbye.SOURCE_ENDED)
"""Who left so may come back with the same token."""

SENT_AWAY = (Goodbye.KICKED, Goodbye.LIMIT)
"""Who has no token and left so begins anew; all others go on when they ask again, since nothing tells them that."""


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
        self._gone: dict[str | Player, Session] = {}  # by token; those without by what else they are known by
        self._here = Crowd()

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
        if gone is not None and gone.covers(mount):
            _refuse_told(gone)
            # it fell asleep; a service that was told of that, or that set a limit, wants to be asked again
            if gone.stay is None and not gone.more_stays and not gone.most_seconds:
                return Grant(gone.user)
        return Grant(session.user) if session is not None and session.covers(mount) else None

    def find(self, request: Request) -> Session | None:
        """Whose token a request has, here or gone lately."""
        token = request.argument(TOKEN) or ""
        return self._by_token.get(token) or self._gone.get(token)

    def has_room(self, mount: Mount) -> bool:
        """Whether one more may listen to a mount itself."""
        try:
            return self._room.find(mount) is mount
        except ClientError:
            return False

    def welcome(
        self,
        request: Request,
        mount: Mount,
        grant: Grant,
        protocol: str,
        group: str = "",
        allowed: tuple[str, ...] = (),
    ) -> Session | Response:
        """A new session, that counts for nothing yet; or the way to go.

        Args:
            group, allowed: see Session.

        Raises:
            ClientError: 503: there is no room.
        """
        found = self._room.find(mount)
        if isinstance(found, Response):
            return found
        session = self._new(found, request, grant, protocol, token_urlsafe(12))
        if found is mount:
            session.group, session.allowed = group, allowed
            self._gone.pop(session.player, None)
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
        if session is not None and session.mount is not mount and mount.name in session.allowed:
            self.go_to(session, mount)
        if session is not None and session.mount is mount:
            session.uses_token = True
        else:
            session = self._without_token(request, mount, grant, protocol, token)
        is_new = session.since is None and not session.uses_token and session not in self._unheard
        self.note(session)
        if is_new:  # and not before: whom there is no room for was not let in
            session.stay = grant.keep()
        return session

    def note(self, session: Session) -> None:
        """It asks for something; counted in, if it was not.

        Raises:
            ClientError: 503: there is no room.
        """
        session.seen = session.mount.clock.monotonic()
        if session.since is None:
            self._count_in(session)
        self._by_player[session.player] = session
        if session.claim:
            self._by_player[session.claimant] = session

    def go_to(self, session: Session, mount: Mount) -> None:
        """Have a player of a group go on with another of its mounts.

        Raises:
            ClientError: 503: there is no room.
        """
        left = session.mount
        if session.since is not None:
            self._room.make_way(mount, session.user)
            del left.listeners[session.id]  # else it would count against the server's limits itself
            try:
                there = self._room.find(mount)
            finally:
                left.listeners[session.id] = session
            if there is not mount:
                raise ClientError(503, "max listeners reached")
            log.info("%s: listener %d goes on with %s", left.name, session.id, mount.name)
            self._records.departed(left, session, session.since, None, Goodbye.MOVED)
            left.hand_over(session, mount)
            session.since = arrival(mount, mount.ring.head)
        session.mount, session.position = mount, mount.ring.head

    def _without_token(self, request: Request, mount: Mount, grant: Grant, protocol: str, token: str) -> Session:
        """The session of a player whose token, if it has one, is not one of a session that is here.

        Raises:
            ClientError: 403: it has been told to go.
        """
        asleep = self._gone.get(token)
        if asleep is not None and asleep.covers(mount.name):
            session = self._new(mount, request, grant, protocol, token)
            session.group, session.allowed = asleep.group, asleep.allowed
        else:
            claim = claim_of(request)
            player = Player(mount.name, protocol, request.address, request.agent, claim)
            found = self._by_player.get(player)
            if found is not None:
                return found
            if player in self._gone:
                _refuse_told(self._gone[player])
            session = self._new(mount, request, grant, protocol, "")
            session.claim = claim
        return session

    def known(self, request: Request, name: str, protocol: str) -> Session | None:
        """The session of a player that shows no token that was made for it.

        Args:
            name: of the mount or the group that it listens to.
        """
        claim = claim_of(request)
        return self._by_player.get(Player(name, protocol, request.address, request.agent, claim))

    def returns(self, request: Request, name: str, protocol: str) -> bool:
        """Whether a player asks for the first answer of a mount or group again and makes no use of its token."""
        session = self.known(request, name, protocol)
        return session is not None and not session.uses_token

    def credit(self, request: Request, mount: Mount, protocol: str, sent_bytes: int, groups: Iterable[str]) -> None:
        """Count what a player was sent that has no token in its URL.

        Args:
            groups: names of those that the mount is in. By DASH, a player of a group listens to the mount whose audio
                it asks for.
        """
        found = filter(None, (self.known(request, name, protocol) for name in (mount.name, *groups)))
        if (session := next(found, None)) is not None:
            session.bytes_sent += sent_bytes
            if session.group and protocol == "dash" and session.mount is not mount and session.covers(mount.name):
                with suppress(ClientError):  # there is no room to count it there
                    self.go_to(session, mount)

    def _new(self, mount: Mount, request: Request, grant: Grant, protocol: str, token: str) -> Session:
        number = grant.listener_id or next_id()
        session = Session(mount, number, request.address, request.agent, grant.user, protocol, token)
        session.most_seconds = grant.seconds
        session.on_gone = self._forget
        return session

    def _count_in(self, session: Session) -> None:
        mount, limits = session.mount, self._current.config.limits
        self._require_fewer(self._audience, session, "max_connections_per_address", limits.max_connections_per_address)
        self._require_fewer(self._here, session, "max_sessions_per_address", limits.max_sessions_per_address)
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

    def _require_fewer(self, crowd: Crowd, session: Session, name: str, most: int) -> None:
        """Raises ClientError: 429: a crowd has as many of an address as it may have."""
        if most and crowd.count(session.address) >= most:
            self._registry.observer.limit_reached(f"limits.{name}", most)
            what = "connections" if crowd is self._audience else "listeners by HLS or DASH"
            raise ClientError(429, f"too many {what} from this address", (("Retry-After", f"{RETRY_SECONDS}"),))

    def _keep(self, session: Session) -> None:
        if session.token:
            self._by_token[session.token] = session
        self._heard[session] = None
        self._audience.enter(session, session.address)
        self._here.enter(session, session.address)

    def go_on_with(self, state: SessionState, mount: Mount) -> None:
        """Have somebody listen on who listened in another process."""
        session = Session(mount, state.id, state.address, state.agent, state.user, state.protocol, state.token)
        for name in TOLD:
            setattr(session, name, getattr(state, name))
        session.stay = self._go_on_with_stay(state.stay) if state.stay else None
        session.more_stays = [self._go_on_with_stay(each) for each in state.more_stays]
        session.on_gone = self._forget
        if session.since is None:
            self._by_token[session.token] = session
            self._unheard[session] = None
            return
        self._keep(session)
        self._by_player[session.player] = self._by_player[session.claimant] = session
        mount.keep(session)

    def states(self, mount: Mount) -> list[SessionState]:
        """Those of a mount, for another process."""
        return [each.state() for each in (*self._heard, *self._unheard) if each.mount is mount]

    def part_with(self) -> None:
        """Another process goes on with everybody."""
        for held in (self._heard, self._unheard, self._by_token, self._by_player, self._gone):
            held.clear()
        self._here = Crowd()

    @property
    def fullest(self) -> int:
        """Listeners of the address that has most of them."""
        return self._here.fullest()[1]

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
            self._remember(session.token, session)
        elif not session.token and session.gone in SENT_AWAY:
            self._remember(session.claimant, session)
        for player in (session.player, session.claimant):
            if self._by_player.get(player) is session:
                del self._by_player[player]
        self._audience.leave(session)
        self._here.leave(session)
        for stay in (session.stay, *session.more_stays):
            if stay is not None:
                stay.end()
        if session.since is not None:
            log.info("%s: listener %d closed: %s, %.1f s, %d bytes", session.mount.name, session.id,
                     closing_words(session.gone, session.ended_by),
                     self._registry.clock.monotonic() - session.connected, session.bytes_sent)  # fmt: skip
            self._records.departed(session.mount, session, session.since, None)

    def _remember(self, key: str | Player, session: Session) -> None:
        self._gone[key] = session
        session.seen = self._registry.clock.monotonic()
        if len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]


def claim_of(request: Request) -> str:
    """The token that a request shows, whoever made it; "" for none."""
    token = request.argument(TOKEN) or ""
    return token if TOKEN_TEXT.fullmatch(token) else ""


def _refuse_told(session: Session) -> None:
    """Raises ClientError: 403: it has been told to go; it fell not just asleep."""
    if session.gone not in ASLEEP:
        raise ClientError(403, f"this session is over: it {(session.gone or Goodbye.FAILED).words}")

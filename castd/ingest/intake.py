"""An encoder takes its mount: whether it may have it now, and what is kept of its visit.

One mount has a list of sources by priority; the highest feeds the ring, the others are read and stand by. Of equal
priority there is one: a newcomer replaces it if it is dead, and is refused if it is not.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from castd.errors import RETRY_AFTER, ClientError
from castd.hold import Hold
from castd.http.connection import Body
from castd.http.state import RequestState
from castd.ingest.session import Session
from castd.ingest.state import VisitState
from castd.log import warn_rarely
from castd.mount.party import Goodbye, Source, closing_words
from castd.stats.visits import arrival
from castd.tcp import descriptor, read_tcp_state

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.party import Description
    from castd.mount.registry import Registry
    from castd.stats.records import Records
    from castd.stats.visits import Arrival
    from castd.tcp import TcpState

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Visiting:
    """An encoder that is here.

    Attributes:
        stream: its connection.
        body: what is read; None where it comes by many connections.
        request: that brought it.
        since: see castd.stats.visits.
        exchange: the request with all that belongs to it; None if another process took it.
    """

    mount: Mount
    source: Source
    session: Session
    stream: trio.abc.HalfCloseableStream
    body: Body | None
    request: Request
    since: Arrival
    exchange: Exchange | None = None

    def state(self, address: str) -> VisitState:
        """For another process; None of it may be read meanwhile.

        Args:
            address: that the connection is counted at.
        """
        assert self.body is not None
        return VisitState(
            self.mount.name, self.source.id, self.session.state(), self.body.state(), RequestState.of(self.request),
            self.source.user, address, self.since,
        )  # fmt: skip


DEAD_SECONDS = 2.0
"""A source silent for so long is dead if somebody with the same right waits for its mount."""

WATCH_SECONDS = 0.05
"""How often a waiting newcomer looks whether the source there is alive after all."""


class Intake:
    """Takes encoders' streams, whatever protocol brings them.

    Attributes:
        visiting: the encoders that are here, by their connections.
        hold: their sessions read through it.
    """

    def __init__(self, current: Current, registry: Registry, records: Records) -> None:
        self._current = current
        self._registry = registry
        self._records = records
        self.visiting: dict[Hashable, Visiting] = {}
        self.hold = Hold()

    async def feed(
        self,
        exchange: Exchange,
        call: Call,
        description: Description,
        receive: Callable[[], Awaitable[bytes]],
        *,
        protocol: str,
        greet: Callable[[], Awaitable[None]],
        metaint: int = 0,
        body: Body | None = None,
    ) -> None:
        """Take a source's stream until it ends; it is authorised already.

        Args:
            description: what it says of its stream.
            receive: see castd.ingest.session.Session.
            protocol: as records show it.
            greet: tells the encoder that it may send; awaited once it has its mount.
            metaint: bytes between the ICY blocks the source itself sends, 0 if it sends none.
            body: of which `receive` gives the bytes; None where they come by many connections.

        Raises:
            ClientError: 403: the mount is busy, or there are too many sources; 503: no resources.
        """
        request = exchange.request
        with trio.CancelScope() as scope:
            source = Source(
                address=request.address,
                agent=request.agent,
                user=call.user,
                protocol=protocol,
                description=description,
                connected=self._registry.clock.monotonic(),
                stop=scope.cancel,
                priority=self.priority(call.user),
            )
            mount = await self.take(call.mount, source.priority, source.address)
            # it may have waited its turn, and is no older than its claim
            source.connected = source.received = self._registry.clock.monotonic()
            self._registry.totals.sources += 1
            with mount.claim(source):
                since = arrival(mount, mount.ring.head)
                log.info("%s: source %d from %s (%s) connected by %s, %s%s", mount.name, source.id, source.address,
                         source.agent, source.protocol, source.description.content_type,
                         "" if mount.encoder is source else ", and stands by")  # fmt: skip
                session = self._session(mount, source, receive, metaint)
                source.stop = session.flushed_by(scope.cancel)
                visiting = Visiting(mount, source, session, exchange.stream, body, request, since, exchange)
                await self._accompany(visiting, greet)
        self._registry.reap()  # at once where nothing lingers

    def _session(self, mount: Mount, source: Source, receive: Callable[[], Awaitable[bytes]], metaint: int) -> Session:
        return Session(mount, source, receive, self._current, lambda: len(self._registry.mounts), metaint, self.hold)

    async def _accompany(self, visiting: Visiting, greet: Callable[[], Awaitable[None]]) -> None:
        """Greet an encoder, read all it sends, and say goodbye."""
        source = visiting.source
        try:
            await greet()
            self.visiting[visiting.stream] = visiting
            reason = await visiting.session.run()
            source.gone = source.gone or reason
        except (trio.BrokenResourceError, trio.TooSlowError):  # it was gone before it had our reply
            source.gone = source.gone or Goodbye.RESET
        except trio.Cancelled:
            source.gone = source.gone or Goodbye.DRAINED
            raise
        finally:
            self.visiting.pop(visiting.stream, None)
            if source.gone is not Goodbye.HANDED_OVER:
                tcp = read_tcp_state(descriptor(visiting.stream))
                self._say_goodbye(visiting.mount, source, visiting.since, tcp)

    def adopt(
        self, state: VisitState, mount: Mount, source: Source, stream: trio.abc.HalfCloseableStream, *, alike: bool
    ) -> Visiting:
        """An encoder whose stream another process has read so far; `go_on_with` goes on.

        Args:
            source: in the mount's list.
            alike: see Session.go_on_from.

        Raises:
            ValueError: it cannot be gone on with.
        """
        body = Body.of(state.body, stream)
        session = self._session(mount, source, body.receive, 0)
        session.go_on_from(state.session, alike=alike)
        return Visiting(mount, source, session, stream, body, state.request.request, state.since)

    async def go_on_with(self, visiting: Visiting) -> None:
        """Read an adopted encoder's stream to its end."""
        mount, source = visiting.mount, visiting.source
        with trio.CancelScope() as scope:
            source.stop = visiting.session.flushed_by(scope.cancel)
            try:
                if source.gone is None:
                    await self._accompany(visiting, trio.lowlevel.checkpoint)
            finally:
                mount.release(source)
                if source.gone is not Goodbye.HANDED_OVER:
                    seconds = self._registry.clock.monotonic() - source.connected
                    self._records.answered(visiting.request, source.user, 200, 0, seconds)
        self._registry.reap()

    def priority(self, user: str) -> int:
        """Of a user's sources."""
        return next((dj.priority for dj in self._current.config.djs if dj.user == user), 0)

    async def take(self, name: str, priority: int, address: str) -> Mount:
        """The mount, free to be claimed. A source of the same priority that is dead is replaced; one alive is not.

        Raises:
            ClientError: 403; 503.
        """
        clock = self._registry.clock.monotonic
        heard_before: dict[int, float] = {}
        while there := self._rival(name, priority):
            if there.received > heard_before.setdefault(there.id, there.received):
                raise ClientError(403, "Mountpoint in use")
            silent = clock() - there.received
            if silent >= DEAD_SECONDS:
                log.warning("%s: source %d sent nothing for %.1f s and is replaced by %s",
                            name, there.id, silent, address)  # fmt: skip
                there.end(Goodbye.REPLACED)
                self._registry.mounts[name].release(there)
            else:
                await trio.sleep(min(WATCH_SECONDS, DEAD_SECONDS - silent))
        if (group := self._current.config.groups.get(name)) is not None:
            raise ClientError(403, f"{name} is a group of mounts; feed one of them: {', '.join(group.mounts)}")
        if self._registry.sources >= self._current.config.limits.max_sources:
            self._registry.observer.limit_reached("limits.max_sources", self._current.config.limits.max_sources)
            raise ClientError(403, "too many sources connected")
        try:
            return self._registry.open(name)
        except (OSError, MemoryError) as error:
            warn_rarely(f"{name}: no memory or descriptor for its ring: {error or 'no memory'}")
            raise ClientError(503, "the server has no resources for another mount", RETRY_AFTER) from None

    def _rival(self, name: str, priority: int) -> Source | None:
        mount = self._registry.get(name)
        return (
            next((each for each in mount.sources if each.priority == priority and not each.fallback), None)
            if mount
            else None
        )

    def _say_goodbye(self, mount: Mount, source: Source, since: Arrival, tcp: TcpState | None) -> None:
        log.info("%s: source %d closed: %s, %.1f s, %d bytes, %d skipped", mount.name, source.id,
                 closing_words(source.gone, source.ended_by), mount.clock.monotonic() - source.connected,
                 source.bytes_received, source.skipped_bytes)  # fmt: skip
        self._records.departed(mount, source, since, tcp)

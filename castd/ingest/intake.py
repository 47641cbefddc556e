"""An encoder takes its mount: whether it may have it now, and what is kept of its visit.

One mount has a list of sources by priority; the highest feeds the ring, the others are read and stand by. Of equal
priority there is one: a newcomer replaces it if it is dead, and is refused if it is not.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from castd.errors import ClientError
from castd.ingest.session import Session
from castd.mount.party import Goodbye, Source, closing_words
from castd.stats.visits import arrival
from castd.tcp import descriptor, read_tcp_state

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.party import Description
    from castd.mount.registry import Registry
    from castd.stats.records import Records
    from castd.stats.visits import Arrival
    from castd.tcp import TcpState

log = logging.getLogger(__name__)

DEAD_SECONDS = 2.0
"""A source silent for so long is dead if somebody with the same right waits for its mount."""

WATCH_SECONDS = 0.05
"""How often a waiting newcomer looks whether the source there is alive after all."""


class Intake:
    """Takes encoders' streams, whatever protocol brings them."""

    def __init__(self, current: Current, registry: Registry, records: Records) -> None:
        self._current = current
        self._registry = registry
        self._records = records

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
    ) -> None:
        """Take a source's stream until it ends; it is authorised already.

        Args:
            description: what it says of its stream.
            receive: see castd.ingest.session.Session.
            protocol: as records show it.
            greet: tells the encoder that it may send; awaited once it has its mount.
            metaint: bytes between the ICY blocks the source itself sends, 0 if it sends none.

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
                try:
                    await greet()
                    reason = await Session(
                        mount, source, receive, self._current, lambda: len(self._registry.mounts), metaint
                    ).run()
                    source.gone = source.gone or reason
                except (trio.BrokenResourceError, trio.TooSlowError):  # it was gone before it had our reply
                    source.gone = source.gone or Goodbye.RESET
                except trio.Cancelled:
                    source.gone = source.gone or Goodbye.DRAINED
                    raise
                finally:
                    self._say_goodbye(mount, source, since, read_tcp_state(descriptor(exchange.stream)))
        self._registry.reap()  # at once where nothing lingers

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
        if self._registry.sources >= self._current.config.limits.max_sources:
            self._registry.observer.limit_reached("limits.max_sources", self._current.config.limits.max_sources)
            raise ClientError(403, "too many sources connected")
        try:
            return self._registry.open(name)
        except OSError as error:
            log.error("%s: no memory or descriptor for its ring: %s", name, error)
            raise ClientError(503, "the server has no resources for another mount", (("Retry-After", "5"),)) from None

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

"""Mounts that are pulled from other servers: named one by one, or all that a master has.

A relay is a source of its mount like an encoder, behind every encoder that comes by itself. It is pulled all the time,
or while somebody listens; it tries its addresses in order, and again, ever more slowly, for as long as the server runs.
"""

from __future__ import annotations

import logging
import random
import re
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import trio

from castd.config import Relay
from castd.config.names import mount_name
from castd.errors import ClientError
from castd.http.messages import TRAIL
from castd.http.post import default_context
from castd.ingest.icecast import describe, read_metaint
from castd.ingest.session import Session
from castd.ingest.upstream import Unavailable, Upstream, pull
from castd.mount.party import Goodbye, Source, closing_words
from castd.stats.visits import arrival
from castd.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.config import Config, Current
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.stats.records import Records

log = logging.getLogger(__name__)

PRIORITY = -1001
"""Behind every encoder's; see castd.config.model.Dj."""

ANSWER_SECONDS = 10.0
"""For another server to answer."""

SUMMON_SECONDS = 10.0
"""For which a listener waits for a relay on demand."""

IDLE_SECONDS = 10.0
"""After the last listener's leave a relay on demand goes on for so long."""

RETRY_SECONDS = (1.0, 60.0)
"""Between two tries: the shortest, then twice as long each time, up to the longest."""

SETTLED_SECONDS = 30.0
"""A stream that lasted for so long is no failure when it ends: the wait is the shortest again."""

LIST_BYTES = 1024 * 1024
"""Of a master's list, at most."""

MASTER_MOUNTS = 1000
"""Taken from it, at most."""


class Relays:
    """All of them.

    Attributes:
        server_id: of this process, in trails.
    """

    def __init__(self, current: Current, registry: Registry, records: Records) -> None:
        self._current = current
        self._registry = registry
        self._records = records
        self._pulled: dict[Relay, _Pulled] = {}
        self._of_master: tuple[Relay, ...] = ()
        self._nursery: trio.Nursery | None = None
        self._master_changed = trio.Event()
        registry.on_feed.append(self._fed)
        self.server_id = token_hex(8)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Pull until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._settle()
            self._nursery.start_soon(self._follow_master)
            task_status.started()
            await trio.sleep_forever()

    def prepare(self, config: Config) -> Callable[[], None]:
        """See castd.reload.Part."""

        def commit() -> None:
            self._settle()
            self._master_changed.set()

        return commit

    async def summon(self, name: str) -> bool:
        """Have a relay on demand pulled, for somebody who wants to listen.

        Returns:
            Whether there is something to hear at the mount now.
        """
        pulled = self._on_demand(name)
        if pulled is None:
            return False
        pulled.wanted.set()
        with trio.move_on_after(SUMMON_SECONDS):
            await pulled.settled.wait()
        mount = self._registry.get(name)
        return mount is not None and mount.begun

    def _on_demand(self, name: str) -> _Pulled | None:
        return next((each for relay, each in self._pulled.items() if relay.mount == name and relay.on_demand), None)

    def _fed(self, mount: Mount) -> None:
        """See castd.mount.mount.Mount.on_feed: those who wait for a mount can have it."""
        if mount.begun and (pulled := self._on_demand(mount.name)):
            pulled.settled.set()

    def trail(self, mount: Mount) -> tuple[str, ...]:
        """What a mount's stream came through, this server last."""
        source = mount.source
        return (*(source.trail if source is not None else ()), f"{self.server_id}{quote(mount.name)}")

    def _settle(self) -> None:
        """Begin and end, so that those are pulled that are to be."""
        taken = self._current.config.groups
        wanted = {each.mount: each for each in (*self._of_master, *self._configured) if each.mount not in taken}
        for relay in [each for each in self._pulled if each not in wanted.values()]:
            self._pulled.pop(relay).scope.cancel()
        for relay in wanted.values():
            if relay not in self._pulled and self._nursery is not None:
                pulled = self._pulled[relay] = _Pulled(relay)
                self._nursery.start_soon(self._pull_for_ever, pulled)

    @property
    def _configured(self) -> tuple[Relay, ...]:
        return self._current.config.relays

    async def _pull_for_ever(self, pulled: _Pulled) -> None:
        shortest, longest = RETRY_SECONDS
        wait = shortest
        with pulled.scope:
            while True:
                if pulled.relay.on_demand:
                    await pulled.wanted.wait()
                began = trio.current_time()
                try:
                    await self._try_all(pulled)
                except Exception:  # a bug; it may cost this relay, and nobody else
                    log.exception("%s: its relay failed", pulled.relay.mount)
                idle = pulled.idle
                pulled.settle()
                if idle:
                    wait = shortest
                    continue  # the next who wants it need not wait: nothing was wrong
                if trio.current_time() - began >= SETTLED_SECONDS:
                    wait = shortest
                await trio.sleep(wait * random.uniform(0.8, 1.2))
                wait = min(wait * 2, longest)

    async def _try_all(self, pulled: _Pulled) -> None:
        """Pull from the first address that has something."""
        relay = pulled.relay
        for url in relay.urls:
            why = f"did not answer within {ANSWER_SECONDS:g} s"
            upstream = None
            with trio.move_on_after(ANSWER_SECONDS):
                try:
                    upstream = await pull(url, (relay.user, relay.password), self._fields(relay), default_context())
                except Unavailable as error:
                    why = str(error)
            if upstream is not None:
                try:
                    await self._feed(pulled, upstream)
                    return
                except Unavailable as error:
                    why = str(error)
                finally:
                    await upstream.close()
            if pulled.complaints.get(url) != why:
                pulled.complaints[url] = why
                log.warning("%s: %s %s", relay.mount, _shown(url), why)

    def _fields(self, relay: Relay) -> dict[str, str]:
        return {TRAIL: self.server_id, **({"Icy-MetaData": "1"} if relay.titles else {})}

    async def _feed(self, pulled: _Pulled, upstream: Upstream) -> None:
        """Feed the mount until the stream ends.

        Raises:
            Unavailable: it is none that could be relayed.
        """
        relay, headers = pulled.relay, upstream.head.headers
        trail = tuple(re.findall(r"[!-~]+", headers.get(TRAIL, "")))  # it goes into heads of ours
        if f"{self.server_id}{quote(relay.mount)}" in trail:
            raise Unavailable("has its stream from this mount: it would go round in a circle")
        try:
            description = describe(lambda name: headers.get(name, ""))
            metaint = read_metaint(headers.get("icy-metaint", ""))
        except ClientError as error:
            raise Unavailable(f"sends what cannot be relayed: {error}") from None
        with trio.CancelScope() as scope:
            try:
                mount = self._registry.open(relay.mount)
            except (OSError, MemoryError) as error:
                raise Unavailable(f"has a stream for which there is no memory or descriptor here: {error}") from None
            source = Source(
                address=urlsplit(upstream.url).hostname or "",
                agent=one_line(headers.get("server", ""), 256),
                user=relay.user,
                protocol="relay",
                description=description,
                connected=self._registry.clock.monotonic(),
                stop=scope.cancel,
                priority=PRIORITY,
                trail=trail,
            )
            pulled.complaints.clear()
            self._registry.totals.relays += 1
            async with trio.open_nursery() as nursery:
                if relay.on_demand:
                    nursery.start_soon(self._end_when_idle, mount, source, pulled)
                with mount.claim(source):
                    since = arrival(mount, mount.ring.head)
                    log.info("%s: relayed from %s, %s", mount.name, _shown(upstream.url), description.content_type)
                    try:
                        count = lambda: len(self._registry.mounts)  # noqa: E731
                        session = Session(mount, source, upstream.receive, self._current, count, metaint)
                        source.stop = session.flushed_by(scope.cancel)
                        reason = await session.run()
                        source.gone = source.gone or reason
                    except trio.Cancelled:
                        source.gone = source.gone or Goodbye.DRAINED
                        raise
                    finally:
                        log.info("%s: relayed no more from %s: %s, %d bytes", mount.name, _shown(upstream.url),
                                 closing_words(source.gone, source.ended_by), source.bytes_received)  # fmt: skip
                        self._records.departed(mount, source, since, None)
                nursery.cancel_scope.cancel()

    async def _end_when_idle(self, mount: Mount, source: Source, pulled: _Pulled) -> None:
        idle = 0.0
        while idle < IDLE_SECONDS:
            await trio.sleep(1.0)
            idle = 0.0 if mount.listeners or mount.taps else idle + 1.0
        log.info("%s: nobody listens any more", mount.name)
        pulled.idle = True
        source.end(Goodbye.FINISHED)

    async def _follow_master(self) -> None:
        """Keep to the list of the master, where there is one."""
        complaint = ""
        while True:
            master = self._current.config.master
            self._master_changed = trio.Event()
            if not master.url:
                self._of_master = ()
                self._settle()
                await self._master_changed.wait()
                continue
            try:
                names = await self._list(master.url, (master.user, master.password))
            except Unavailable as error:
                if str(error) != complaint:
                    complaint = str(error)
                    log.warning("the master %s %s; what it had before is relayed on", _shown(master.url), complaint)
            else:
                complaint = ""
                base = master.url.rstrip("/")
                self._of_master = tuple(
                    Relay(mount=name, urls=(base + quote(name),), on_demand=master.on_demand) for name in names
                )
                self._settle()
            with trio.move_on_after(master.update_seconds):
                await self._master_changed.wait()

    async def _list(self, url: str, login: tuple[str, str]) -> list[str]:
        """The mounts a master has.

        Raises:
            Unavailable: it did not say.
        """
        found, body = None, b""
        with trio.move_on_after(ANSWER_SECONDS) as deadline:
            found = await pull(f"{url.rstrip('/')}/admin/streamlist.txt", login, {}, default_context())
            try:
                while len(body) <= LIST_BYTES and (data := await found.receive()):
                    body += data
            except trio.BrokenResourceError:
                raise Unavailable("broke the connection off") from None
            finally:
                await found.close()
        if deadline.cancelled_caught:
            raise Unavailable(f"did not answer within {ANSWER_SECONDS:g} s")
        if len(body) > LIST_BYTES:
            raise Unavailable(f"lists more than {LIST_BYTES} bytes")
        names: dict[str, None] = {}
        for line in filter(None, map(str.strip, body.decode("utf-8", "replace").splitlines())):
            try:
                names[mount_name(urlsplit(line).path)] = None
            except ValueError as error:
                log.warning("the master's mount %.100s is not relayed: its name %s", line, error)
        return list(names)[:MASTER_MOUNTS]


@dataclass(eq=False)
class _Pulled:
    """A relay at work.

    Attributes:
        wanted: somebody wants to listen, where it is on demand.
        settled: there is something to hear, or there was nothing to be had.
        idle: it was ended since nobody listened any more.
        complaints: what was said of each address last, so that it is said once.
    """

    relay: Relay
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    wanted: trio.Event = field(default_factory=trio.Event)
    settled: trio.Event = field(default_factory=trio.Event)
    idle: bool = False
    complaints: dict[str, str] = field(default_factory=dict)

    def settle(self) -> None:
        """A try is over: tell those who wait for it, and wait for the next who wants it."""
        self.settled.set()
        self.wanted, self.settled, self.idle = trio.Event(), trio.Event(), False


def _shown(url: str) -> str:
    """For logs: without a query, which may hold a secret."""
    return url.partition("?")[0]

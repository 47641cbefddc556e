"""Server-sent events (HTML, §9.2): what happens at mounts, for everybody's pages.

A stream begins with how things are (`mounts`, or `mount` for one), and goes on with what changes. Whoever comes back
with Last-Event-ID gets what it missed, or how things are if that is not known any more. Nobody's address is in here.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any

import trio

from castd import descriptors, tls
from castd.api import shapes
from castd.api.describe import describe_mount, is_public, mount_fields, public_mounts
from castd.api.operation import describes, encode
from castd.delivery.followers import Follower, Followers
from castd.errors import ClientError
from castd.http.heads import SERVER
from castd.http.links import public_url
from castd.tcp import descriptor

if TYPE_CHECKING:
    from castd.access.crowd import Crowd
    from castd.config import Current
    from castd.config.events import EventName
    from castd.http.connection import Exchange
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.stats.events import Event, Events

log = logging.getLogger(__name__)

PASSED_ON: tuple[EventName, ...] = (
    "mount.opened",
    "source.connected",
    "source.returned",
    "fallback.started",
    "fallback.ended",
    "title",
    "source.lost",
    "mount.closed",
)
"""Events that everybody may know, by their names in docs/hooks.md."""

PUBLIC_FIELDS = frozenset(
    {"reason", "fallback", "away_seconds", "linger_seconds", "listeners"}
    | {"text", "artist", "title", "album", "url", "art", "duration_seconds", "position", "media_seconds", "wall"}
)
"""Of their fields, those that tell nothing of a client."""

ROOM = 5000
"""Events that may wait to be made into messages."""

LOOK_SECONDS = 1.0
"""How often it is looked whether a mount's facts, or its number of listeners, have changed."""

SEND_BUFFER_BYTES = 16 * 1024

RETRY_MS = 2000
"""A browser that lost the stream comes back after so long."""

HEAD = (
    "HTTP/1.1 200 OK\r\n"
    f"Server: {SERVER}\r\n"
    "Content-Type: text/event-stream; charset=utf-8\r\n"
    "Cache-Control: no-cache, no-store\r\n"
    "X-Accel-Buffering: no\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Access-Control-Allow-Origin: *\r\n"
    "Connection: close\r\n"
    "\r\n"
).encode()


class EventStreams:
    """Makes messages of events, and takes on those who follow them.

    Args:
        crowd: counts connections by address, together with listeners.
    """

    def __init__(self, current: Current, registry: Registry, events: Events, crowd: Crowd) -> None:
        self._current = current
        self._registry = registry
        self._crowd = crowd
        self._subscription = events.subscribe("the event streams", ROOM, PASSED_ON)
        self._boot = secrets.token_hex(4)  # numbers begin anew with each process
        self._facts: dict[str, tuple[Any, ...]] = {}
        self._public: set[str] = set()
        self._counts: dict[str, int] = {}
        self.followers = Followers()

    async def run(self) -> None:
        """Pass on what happens, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.followers.run)
            nursery.start_soon(self._look)
            while True:
                self._pass_on(await self._subscription.receive())

    @describes(
        "What happens at all public mounts, as server-sent events", media_type="text/event-stream", errors=(503,)
    )
    async def everything(self, exchange: Exchange, call: Call) -> None:
        """GET /api/v1/events."""
        config = self._current.config
        base = public_url(config, exchange.request)
        await self._follow(
            exchange,
            "",
            lambda: (
                "mounts",
                shapes.Mounts(mounts=[describe_mount(mount, base, config) for mount in public_mounts(self._registry)]),
            ),
        )

    @describes("What happens at one mount, as server-sent events", media_type="text/event-stream")
    async def of_mount(self, exchange: Exchange, call: Call) -> None:
        """GET /api/v1/mounts/{name}/events: also of one that is not there yet, and begins with `absent` then."""
        mount, config = self._registry.get(call.mount), self._current.config
        base = public_url(config, exchange.request)
        if mount is None or mount.description is None:
            await self._follow(exchange, call.mount, lambda: ("absent", {"mount": call.mount}))
        else:
            await self._follow(exchange, mount.name, lambda: ("mount", describe_mount(mount, base, config)))

    async def _follow(self, exchange: Exchange, topic: str, how_things_are: Any) -> None:
        if exchange.request.method == "HEAD":
            await exchange.send_raw(HEAD)
            return
        most = self._current.config.limits.max_event_streams
        if len(self.followers) >= most:
            self._registry.observer.limit_reached("limits.max_event_streams", most)
            raise ClientError(503, "too many event streams", (("Retry-After", "10"),))
        if not descriptors.leaves(descriptor(exchange.stream), descriptors.LISTENERS_LEAVE):
            self._registry.observer.limit_reached(descriptors.LIMIT, descriptors.limit())
            raise ClientError(503, "no file descriptors are left for event streams", (("Retry-After", "10"),))
        position = self.followers.next
        last = self._number(exchange.request.header("last-event-id"))
        missed = None if last is None else self.followers.since(topic, last + 1)
        if missed is None:
            name, value = how_things_are()
            missed = self._message(position - 1, name, encode(value))
        begin = b"retry: %d\n\n" % RETRY_MS + missed
        exchange.answered, exchange.status = True, 200
        address = exchange.request.address
        connection = tls.take_socket(exchange.stream, SEND_BUFFER_BYTES)
        follower = Follower(connection, address, topic, position, HEAD + begin)
        self._crowd.enter(follower, address)
        follower.on_gone.append(self._crowd.leave)
        self.followers.add(follower)

    def _number(self, last_event_id: str) -> int | None:
        """The number of a message of this process; None for any other."""
        boot, _, number = last_event_id.partition("-")
        return (
            int(number) if boot == self._boot and number.isascii() and number.isdigit() and len(number) < 16 else None
        )

    def _message(self, number: int, name: str, data: bytes) -> bytes:
        return b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (self._boot.encode(), number, name.encode(), data)

    def _publish(self, mount: str, public: bool, name: str, value: Any) -> None:
        self.followers.publish(mount, public, self._message(self.followers.next, name, encode(value)))

    def _pass_on(self, event: Event) -> None:
        mount = self._registry.get(event.mount)
        # a mount that is closed is in no registry any more
        public = is_public(mount) if mount is not None else event.mount in self._public
        fields = {name: value for name, value in event.fields.items() if name in PUBLIC_FIELDS}
        self._publish(event.mount, public, event.name, {"mount": event.mount, "time": event.moment} | fields)
        if event.name == "mount.closed":
            self._facts.pop(event.mount, None)
            self._public.discard(event.mount)
            self._counts.pop(event.mount, None)
        elif mount is not None and event.name != "title":
            self._tell_facts(mount)

    async def _look(self) -> None:
        while True:
            await trio.sleep(LOOK_SECONDS)
            for mount in list(self._registry.mounts.values()):
                if mount.description is not None:
                    self._tell_facts(mount)
                    self._tell_count(mount)

    def _tell_facts(self, mount: Mount) -> None:
        """What everybody may know of a mount, if any of it is news."""
        if mount.description is None:
            return
        source, info, said = mount.source, mount.info, mount.description
        config = self._current.config
        state = (
            source.id if source else 0, info, said, mount.settings, mount.chosen_fallback, config.group_of(mount.name),
        )  # fmt: skip
        if self._facts.get(mount.name) != state:
            self._facts[mount.name] = state
            (self._public.add if is_public(mount) else self._public.discard)(mount.name)
            self._publish(mount.name, is_public(mount), "mount", shapes.Mount(**mount_fields(mount, config)))

    def _tell_count(self, mount: Mount) -> None:
        count = len(mount.listeners)
        if self._counts.get(mount.name, 0) != count:
            self._counts[mount.name] = count
            told = {"mount": mount.name, "listeners": count, "listener_peak": mount.listener_peak}
            self._publish(mount.name, is_public(mount), "listeners", told)

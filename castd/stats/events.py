"""What happens, as values, for whoever in this process wants to hear of it: hooks, and event streams.

Publishing is synchronous, waits for nobody and never raises. Each subscriber has a queue of its own, of bounded length;
what does not fit is dropped, counted, and told once in a while.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeAlias

import trio

from castd.config.events import EVENT_NAMES, EventName
from castd.log import warn_rarely

Value: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; docs/hooks.md lists the fields of each.

    Attributes:
        name: one of castd.config.events.EVENT_NAMES.
        time: wall time, seconds since 1970.
        mount: the name of the mount it happened at; "" for none.
        fields: the rest, as JSON knows it.
        at: monotonic time, in seconds.
    """

    name: EventName
    time: float
    mount: str
    fields: Mapping[str, Value]
    at: float = field(default_factory=monotonic, compare=False)

    @property
    def moment(self) -> str:
        """Its time as RFC 3339 has it, to the millisecond: `2026-11-23T05:48:18.250Z`."""
        return rfc3339(self.time)

    def as_json(self) -> dict[str, Any]:
        """The event as hooks and streams show it."""
        return {"event": self.name, "time": self.moment, "mount": self.mount, "fields": dict(self.fields)}


def rfc3339(wall: float) -> str:
    """Seconds since 1970 as RFC 3339 has them, to the millisecond."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class Events:
    """Where everything that happens is published.

    Args:
        wall: seconds since 1970.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._subscriptions: tuple[Subscription, ...] = ()

    def publish(self, name: EventName, mount: str, fields: Mapping[str, Value]) -> None:
        """Tell all subscribers who want events of this name."""
        if not self._subscriptions:
            return
        event = Event(name, self._wall(), mount, fields)
        for subscription in self._subscriptions:
            subscription.offer(event)

    def subscribe(self, who: str, room: int, names: Collection[EventName] = EVENT_NAMES) -> Subscription:
        """Hear of what happens from now on.

        Args:
            who: the subscriber, for the log.
            room: events that may wait for it.
            names: of the events it wants.
        """
        subscription = Subscription(who, room, names, self._unsubscribe)
        self._subscriptions += (subscription,)
        return subscription

    def _unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions = tuple(each for each in self._subscriptions if each is not subscription)


class Subscription:
    """One subscriber's queue; close it, or use it as a context manager.

    Attributes:
        dropped: events that found no room.
    """

    def __init__(
        self, who: str, room: int, names: Collection[EventName], on_close: Callable[[Subscription], None]
    ) -> None:
        self._who = who
        self._names = frozenset(names)
        self._on_close = on_close
        self._send, self._receive = trio.open_memory_channel[Event](room)
        self.dropped = 0

    def offer(self, event: Event) -> None:
        """Queue an event, if it is wanted and there is room."""
        if event.name not in self._names:
            return
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self.dropped += 1
            warn_rarely(f"{self._who} is too slow: events are dropped")

    async def receive(self) -> Event:
        """The next event.

        Raises:
            trio.EndOfChannel: it is closed, and everything queued before was received.
        """
        return await self._receive.receive()

    def close(self) -> None:
        """Hear of nothing more; what is queued can still be received."""
        self._on_close(self)
        self._send.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

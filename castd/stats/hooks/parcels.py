"""What is told at once: one event, or the comings and goings of listeners in a few seconds."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from secrets import token_hex
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from castd.stats.events import Event, Subscription

PARCEL_EVENTS = 500
"""Events told at once; each is about 300 bytes of JSON."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """Events that are told at once.

    Attributes:
        events: at least one.
        batch: they were gathered: told as a list, even if it is only one.
        id: unique; stays the same however often it is tried.
    """

    events: tuple[Event, ...]
    batch: bool = False
    id: str = field(default_factory=lambda: token_hex(16))

    @property
    def names(self) -> str:
        """The names of its events, each once: `listener.connected, listener.ended`."""
        return ", ".join(dict.fromkeys(event.name for event in self.events))

    @property
    def body(self) -> bytes:
        """Its events as JSON, in ASCII."""
        told = [event.as_json() for event in self.events]
        return json.dumps(told if self.batch else told[0]).encode()


class Gatherer:
    """Makes parcels of the events of one subscription.

    Args:
        batch_seconds: for which events of listeners are gathered; 0 means each is told by itself.
        tell: takes a parcel; nothing is gathered meanwhile.
    """

    def __init__(
        self, subscription: Subscription, batch_seconds: float, tell: Callable[[Parcel], Awaitable[None]]
    ) -> None:
        self._subscription = subscription
        self._batch_seconds = batch_seconds
        self._tell = tell
        self._batch: list[Event] = []
        self._due = inf

    async def run(self) -> None:
        """Gather and tell until the subscription is closed, and then what is left."""
        while True:
            event = None
            with trio.move_on_at(self._due):
                try:
                    event = await self._subscription.receive()
                except trio.EndOfChannel:
                    await self._tell_batch()
                    return
            if event is None:
                await self._tell_batch()
            elif self._batch_seconds and event.name.startswith("listener."):
                await self._gather(event)
            else:
                await self._tell(Parcel((event,)))

    async def _gather(self, event: Event) -> None:
        if not self._batch:
            self._due = trio.current_time() + self._batch_seconds
        self._batch.append(event)
        if len(self._batch) >= PARCEL_EVENTS:
            await self._tell_batch()

    async def _tell_batch(self) -> None:
        events, self._batch, self._due = tuple(self._batch), [], inf
        if events:
            await self._tell(Parcel(events, batch=True))

"""The pump: one clock that serves every listener of every mount.

At each turn it walks only the mounts with new bytes whose time has come, and gives each of their ready listeners one
non-blocking send of all that is new. What a listener costs is the number of its sends, so the interval between two
walks grows with the square root of their number, within the configured bounds: that is where a longer interval would
cost as much in delay as it saves in work. A listener holds seconds of burst; a second between two sends is inaudible.
Waking up costs as much as dozens of sends; so a mount that is due waits, for a little, for the wake-up that its source
causes anyway.

`turn` is synchronous and takes the time as an argument; `run` gives it turns and sleeps in between.
"""

from __future__ import annotations

from collections import deque
from math import floor, inf, sqrt
from typing import TYPE_CHECKING, Protocol

import trio

from castd.delivery.outlet import Outlet
from castd.mount.party import Goodbye

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.config import Current
    from castd.delivery.listener import Listener
    from castd.mount.mount import Mount

LISTENERS_AT_ONE_SECOND = 5000
"""Listeners for whom the interval is one second. A send costs 7-15 us, so they take 4-8 % of a core; 100 listeners, at
0.14 s, take 0.7 %."""

PATIENCE_SECONDS = 0.1
"""For the next bytes of a source, when a mount is due: encoders write ten times a second, or more often."""

SLICE = 256
"""Listeners served between two checkpoints: about 3 ms, so that accepting and ingest stay prompt."""


class Watcher(Protocol):
    """What the pump needs of castd.delivery.poller.Poller."""

    on_writable: Callable[[Listener], None]

    def add(self, listener: Listener) -> None: ...
    def forget(self, listener: Listener) -> None: ...
    def watch_writable(self, listener: Listener) -> None: ...


class Pump:
    """Serves the listeners of all mounts.

    Attributes:
        turns: how many there were; with `Listener.bytes_sent` what tests count work by.
        served: listeners walked in all those turns.
    """

    def __init__(self, current: Current, poller: Watcher) -> None:
        self._current = current
        self._poller = poller
        self._news: set[Outlet] = set()
        self._walking: deque[tuple[Outlet, int, list[Listener]]] = deque()
        self._woken = trio.Event()
        self._sleeps_until = inf
        self._outlets: dict[Mount, Outlet] = {}
        self.turns = 0
        self.served = 0
        self._on_leave = self._leave  # one bound method for all listeners, for memory's sake
        poller.on_writable = self._writable

    def outlet(self, mount: Mount) -> Outlet:
        """The outlet of a mount, made at the first call."""
        outlet = self._outlets.get(mount)
        if outlet is None:
            outlet = self._outlets[mount] = Outlet(
                mount,
                on_news=self._on_news,
                on_blocked=self._poller.watch_writable,
                on_leave=self._go_on,
                on_close=self._forget,
            )
            mount.outlet = outlet
        return outlet

    def _forget(self, outlet: Outlet) -> None:
        self._outlets.pop(outlet.mount, None)
        self._news.discard(outlet)

    def add(self, listener: Listener) -> None:
        """Take a listener on: make its first send and serve it from now on.

        Raises:
            OSError: the kernel watches no more sockets; the listener is not taken on.
        """
        self._poller.add(listener)
        listener.mount.join(listener)
        listener.on_gone.append(self._on_leave)
        self.outlet(listener.mount).add(listener)

    def go_on_with(self, listener: Listener) -> None:
        """Take on one who listened in another process.

        Raises:
            OSError: as `add`.
        """
        self._poller.add(listener)
        listener.mount.keep(listener)
        listener.on_gone.append(self._on_leave)
        outlet = self.outlet(listener.mount)
        outlet.floor = min(outlet.floor, listener.position)
        outlet.keep(listener)
        outlet.news()

    def part_with(self, listener: Listener) -> None:
        """Another process goes on with a listener: forget it, and close our end without a word."""
        self._poller.forget(listener)
        self.outlet(listener.mount).forget(listener)
        listener.gone = Goodbye.HANDED_OVER
        listener.connection.close()

    @property
    def everybody(self) -> list[Listener]:
        """All listeners of all mounts."""
        return [listener for outlet in self._outlets.values() for listener in outlet.everybody]

    def _leave(self, listener: Listener) -> None:
        self.outlet(listener.mount).forget(listener)

    def move(self, listener: Listener, to: Mount) -> None:
        """Have a listener go on with another mount, of a shape that fits: at once if it has everything of the one it
        is at, else as soon as it has, or has to do without the rest.

        Args:
            to: the mount it is at now revokes an earlier move that has not come about.
        """
        listener.bound_for = None if to is listener.mount else to
        if listener.bound_for is not None and not listener.blocked:
            self.outlet(listener.mount).serve(listener)

    def on_the_way(self, to: Mount) -> list[Listener]:
        """Those who are to go on with a mount, and are still at another."""
        return [
            listener for outlet in self._outlets.values() for listener in outlet.everybody if listener.bound_for is to
        ]

    def _go_on(self, listener: Listener) -> None:
        assert listener.bound_for is not None
        here, to = self.outlet(listener.mount), self.outlet(listener.bound_for)
        here.forget(listener)
        listener.go_on(to.mount, to.mount.clock.monotonic())
        to.add(listener)

    def end_overdue(self, now: float) -> None:
        """End those who have listened for as long as they may; see Outlet.end_overdue."""
        for outlet in list(self._outlets.values()):
            outlet.end_overdue(now)

    def remind(self) -> None:
        """Have those served who went back: their time goes on while no source sends anything."""
        for outlet in list(self._outlets.values()):
            if outlet.rewound:
                self._on_news(outlet)

    def _plan(self, outlet: Outlet, now: float, listeners: int) -> None:
        """Say when a mount served now is next served, with that many listeners in all."""
        longest = outlet.mount.settings.send_interval_max_seconds
        shortest = self._current.config.delivery.send_interval_min_seconds
        interval = max(shortest, min(sqrt(listeners / LISTENERS_AT_ONE_SECOND), longest))
        grid = shortest / 4  # mounts whose times lie close together share a turn
        outlet.due = floor((now + interval) / grid) * grid
        latest = max(interval, min(interval + min(interval, PATIENCE_SECONDS), longest))
        outlet.latest = round((now + latest) / grid) * grid

    def _on_news(self, outlet: Outlet) -> None:
        self._news.add(outlet)
        if outlet.due <= outlet.mount.clock.monotonic() or outlet.latest < self._sleeps_until:
            self._woken.set()

    def _writable(self, listener: Listener) -> None:
        if listener.blocked:
            listener.note_lag()
            self.outlet(listener.mount).serve(listener)

    def turn(self, now: float) -> float:
        """Serve a slice of what is due.

        Args:
            now: monotonic seconds.

        Returns:
            The time of the next turn, if no source writes before: `now` if this one was cut short, infinity if nothing
            is new.
        """
        self.turns += 1
        due = [each for each in self._news if each.due <= now]
        listeners_in_all = sum(len(each.ready) for each in self._outlets.values()) if due else 0
        for outlet in due:
            self._news.discard(outlet)
            self._plan(outlet, now, listeners_in_all)
            self._walking.append((outlet, outlet.mount.ring.head, outlet.to_walk))
        budget = SLICE
        while self._walking and budget:
            outlet, head, listeners = self._walking[0]
            count = min(budget, len(listeners))
            for _ in range(count):
                outlet.serve(listeners.pop())
            budget -= count
            self.served += count
            if not listeners:
                self._walking.popleft()
                outlet.walked(head)
        if self._walking:
            return now
        return min((each.latest for each in self._news), default=inf)

    async def run(self) -> None:
        """Turn for ever; sleeps while nothing is due."""
        while True:
            now = trio.current_time()
            self._woken = trio.Event()
            self._sleeps_until = self.turn(now)
            if self._sleeps_until > now:
                with trio.move_on_at(self._sleeps_until):
                    await self._woken.wait()
                # mounts whose times lie close together share a turn
                await trio.sleep_until(now + self._current.config.delivery.send_interval_min_seconds / 4)
            else:
                await trio.lowlevel.checkpoint()

    async def drain(self) -> None:
        """Bring everybody to the head of the ring; the caller sets a deadline."""
        while True:
            for outlet in self._outlets.values():
                outlet.flush()
            if all(outlet.caught_up for outlet in self._outlets.values()):
                return
            await trio.sleep(self._current.config.delivery.send_interval_min_seconds)

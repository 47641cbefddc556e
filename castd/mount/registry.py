"""All mounts of the server, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from castd.mount.mount import Mount
from castd.mount.observer import Observer
from castd.mount.party import Goodbye

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.config import Config, Current
    from castd.mount.mount import Clock
    from castd.mount.state import MountState


@dataclass(slots=True)
class Totals:
    """What there ever was since the server began."""

    connections: int = 0
    listeners: int = 0
    sources: int = 0
    relays: int = 0
    files: int = 0


class Registry:
    """The mounts; totals are counted from the sets they count, never kept beside them.

    Attributes:
        mounts: by name.
        totals: of all that came and went.
        clock: of all mounts.
        started: wall time at which the server began.
        observer: is told what happens, at mounts opened from now on, and of limits that turned somebody away.
        on_feed: each is called as castd.mount.mount.Mount says.
        on_open: each is called with a mount that is new, before anybody else knows of it.
    """

    def __init__(self, current: Current, clock: Clock) -> None:
        self._current = current
        self.clock = clock
        self.started = clock.wall()
        self.started_monotonic = clock.monotonic()
        self.totals = Totals()
        self.mounts: dict[str, Mount] = {}
        self.observer = Observer()
        self.on_feed: list[Callable[[Mount], None]] = []
        self.on_open: list[Callable[[Mount], None]] = []

    def prepare(self, config: Config) -> Callable[[], None]:
        """See castd.reload.Part."""

        def commit() -> None:
            for mount in self.mounts.values():
                mount.reconfigure(config.mount(mount.name))

        return commit

    @property
    def sources(self) -> int:
        """Encoders, those that stand by included."""
        return sum(not source.fallback for mount in self.mounts.values() for source in mount.sources)

    @property
    def listeners(self) -> int:
        return sum(len(mount.listeners) for mount in self.mounts.values())

    def get(self, name: str) -> Mount | None:
        """The mount of that name, if a source is or was there and it has not been closed since."""
        return self.mounts.get(name)

    def open(self, name: str) -> Mount:
        """The mount of that name, made if there is none."""
        mount = self.mounts.get(name)
        if mount is None:
            settings = self._current.config.mount(name)
            mount = self.mounts[name] = Mount(name, settings, self.clock, self.observer, self._fed)
            for callback in self.on_open:
                callback(mount)
            self.observer.mount_opened(mount)
        return mount

    def adopt(self, state: MountState, descriptor: int) -> Mount:
        """A mount that another process had, its sources in its list and no listeners yet; see Mount.go_on_from."""
        mount = Mount(state.name, self._current.config.mount(state.name), self.clock, self.observer, self._fed)
        mount.go_on_from(state, descriptor)
        self.mounts[state.name] = mount
        return mount

    def _fed(self, mount: Mount) -> None:
        for callback in self.on_feed:
            callback(mount)

    def is_over(self, mount: Mount) -> bool:
        """Its source has been away for its linger time: it is there for those who went back, and for nobody new."""
        return mount.lost is not None and self.clock.monotonic() - mount.lost >= mount.settings.linger_seconds

    def reap(self) -> list[Mount]:
        """Close the mounts whose source has been away for their linger time, when those who went back have heard what
        is held; that is no longer than `rewind_seconds`.

        Returns:
            The mounts closed.
        """
        now = self.clock.monotonic()
        over = [
            mount
            for mount in self.mounts.values()
            if self.is_over(mount)
            and not (
                now - (mount.lost or 0.0) < mount.settings.linger_seconds + mount.settings.rewind_seconds
                and mount.wind_up()
            )
        ]
        for mount in over:
            del self.mounts[mount.name]
            mount.close(Goodbye.SOURCE_ENDED)
        return over

"""Whether there is room for another listener, and what those who find none are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd.errors import ClientError
from castd.http.messages import Response, quote_mount
from castd.stats.snapshot import mount_facts

if TYPE_CHECKING:
    from castd.config import Current
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry

RETRY_SECONDS = 30

BITS_PER_MBIT = 1_000_000


def audience_mbit(mount: Mount) -> float:
    """Mbit/s that a mount's listeners take: its bitrate, as frames or its source tell it or as measured, for each."""
    return len(mount.listeners) * mount_facts(mount).bitrate / BITS_PER_MBIT


class Room:
    """Asks the limits of the mount and of the server."""

    def __init__(self, current: Current, registry: Registry) -> None:
        self._current = current
        self._registry = registry

    def turn_away(self, mount: Mount) -> Response | None:
        """The way to go for a listener who finds no room; None if there is room.

        Raises:
            ClientError: 503: there is none, and nowhere to go.
        """
        reached = self._reached(mount)
        if reached is None:
            return None
        what, limit, words = reached
        self._registry.observer.limit_reached(what, limit, mount.name if what.startswith("mounts.") else "")
        if target := mount.settings.full_redirect:
            location = target.replace("{mount}", quote_mount(mount.name))
            return Response(302, f"{words}; try {location}\n".encode(), headers=(("Location", location),))
        raise ClientError(503, words, (("Retry-After", str(RETRY_SECONDS)),))

    def _reached(self, mount: Mount) -> tuple[str, float, str] | None:
        """The key of a limit, its value, and the answer in words."""
        settings, limits = mount.settings, self._current.config.limits
        if settings.max_listeners and len(mount.listeners) >= settings.max_listeners:
            return "mounts.max_listeners", settings.max_listeners, "max listeners reached"
        if self._registry.listeners >= limits.max_listeners:
            return "limits.max_listeners", limits.max_listeners, "the server's listener limit is reached"
        if settings.max_bandwidth_mbit or limits.max_bandwidth_mbit:
            one = mount_facts(mount).bitrate / BITS_PER_MBIT
            if settings.max_bandwidth_mbit and audience_mbit(mount) + one > settings.max_bandwidth_mbit:
                return "mounts.max_bandwidth_mbit", settings.max_bandwidth_mbit, "the mount's bandwidth is used up"
            if limits.max_bandwidth_mbit and self.used_mbit + one > limits.max_bandwidth_mbit:
                return "limits.max_bandwidth_mbit", limits.max_bandwidth_mbit, "the server's bandwidth is used up"
        return None

    @property
    def used_mbit(self) -> float:
        """By all listeners."""
        return sum(audience_mbit(mount) for mount in self._registry.mounts.values() if mount.listeners)

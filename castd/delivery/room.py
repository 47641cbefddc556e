"""Whether there is room for another listener, and what those who find none are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd import descriptors
from castd.errors import ClientError
from castd.http.messages import Response, quote_mount
from castd.mount.party import Goodbye
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

    def find(self, mount: Mount, descriptor: int = -1) -> Mount | Response:
        """The mount where there is room for a listener of this one: itself or, where its operator wants it so, its
        fallback; or the way to go.

        Args:
            descriptor: of the listener's connection, -1 if it has none.

        Raises:
            ClientError: 503: there is no room, and nowhere to go.
        """
        reached = self._reached(mount)
        if not descriptors.leaves(descriptor, descriptors.LISTENERS_LEAVE):
            reached = descriptors.LIMIT, descriptors.limit(), "no file descriptors are left for listeners"
        if reached is None:
            return mount
        what, limit, words = reached
        own = what.startswith("mounts.")
        self._registry.observer.limit_reached(what, limit, mount.name if own else "")
        if own and (other := self._fallback(mount)):
            return other
        if target := mount.settings.full_redirect:
            location = target.replace("{mount}", quote_mount(mount.name))
            return Response(302, f"{words}; try {location}\n".encode(), headers=(("Location", location),))
        raise ClientError(503, words, (("Retry-After", str(RETRY_SECONDS)),))

    def make_way(self, mount: Mount, user: str) -> None:
        """Before a user listens to a mount: end the oldest of theirs there, if they have as many as they may.

        The newest goes on: a player that lost its connection must not wait until its old one is found dead.
        """
        most = mount.settings.max_sessions_per_user
        if not user or not most:
            return
        theirs = sorted(
            (each for each in mount.listeners.values() if each.user == user), key=lambda each: each.connected
        )
        for each in theirs[: max(0, len(theirs) - most + 1)]:
            each.end(Goodbye.LIMIT, user)

    def _fallback(self, mount: Mount) -> Mount | None:
        """The first with room in the chain of fallbacks."""
        seen = {mount.name}
        while mount.settings.fallback_when_full and mount.fallback not in seen:
            seen.add(mount.fallback)
            other = self._registry.get(mount.fallback)
            if other is None or not other.begun:
                return None
            if self._reached(other) is None:
                return other
            mount = other
        return None

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

"""What a mount and its registry tell while it happens, to whoever wants to pass it on.

A mount knows no statistics; app gives the registry an observer that does (castd.stats.announcer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.mount.party import Goodbye, Listener, Source
    from castd.mount.timeline import Title


class Observer:
    """Hears of everything and does nothing. What stands in for it may neither wait nor raise."""

    def mount_opened(self, mount: Mount) -> None:
        """A mount was made."""

    def mount_adopted(self, mount: Mount) -> None:
        """A mount goes on that another process had; what it knows of itself is there already."""

    def mount_closed(self, mount: Mount, reason: Goodbye) -> None:
        """A mount is gone, and everybody there; `reason` is what they were told."""

    def source_connected(self, mount: Mount, source: Source) -> None:
        """A source has claimed the mount and is in its list."""

    def source_ended(self, mount: Mount, source: Source) -> None:
        """A source has left the mount and its list."""

    def source_silent(self, mount: Mount, source: Source) -> None:
        """A source has been too quiet for as long as its mount allows; its `sound` says how quiet."""

    def source_sounding(self, mount: Mount, source: Source) -> None:
        """A silent source can be heard again."""

    def title_set(self, mount: Mount, title: Title) -> None:
        """A title was put on the timeline, maybe the same as before."""

    def listener_connected(self, mount: Mount, listener: Listener) -> None:
        """A listener was counted in."""

    def listener_ended(self, mount: Mount, listener: Listener) -> None:
        """A listener was counted out."""

    def listener_moved(self, mount: Mount, to: Mount, listener: Listener) -> None:
        """A listener was counted out at one mount and in at another."""

    def limit_reached(self, what: str, limit: float, mount: str = "") -> None:
        """Somebody was turned away because of a limit.

        Args:
            what: the limit, as the configuration calls it, such as "limits.max_listeners".
            limit: its value.
            mount: the name of the mount it is about, if it is about one.
        """

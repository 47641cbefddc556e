"""The names of events, in the order in which one meets them; what each carries is in docs/hooks.md."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias, get_args

EventName: TypeAlias = Literal[
    "mount.opened",
    "source.connected",
    "source.returned",
    "source.silent",
    "source.sounding",
    "fallback.started",
    "fallback.ended",
    "title",
    "listener.connected",
    "listener.moved",
    "listener.ended",
    "limit.reached",
    "source.ended",
    "source.lost",
    "mount.closed",
]

EVENT_NAMES: tuple[EventName, ...] = get_args(EventName)


def matching(patterns: Iterable[str]) -> frozenset[EventName]:
    """The names that any of the patterns matches: "title", "source.*", "*"."""
    return frozenset(name for name in EVENT_NAMES for pattern in patterns if fnmatchcase(name, pattern))

"""What a token may be for."""

from __future__ import annotations

SCOPES = {
    "read": "see mounts, sources, listeners and past visits",
    "title": "set titles",
    "clip": "download what was on",
    "kick": "disconnect sources and listeners",
    "move": "move listeners, choose fallbacks",
    "ban": "see and make bans",
    "server": "see limits, hooks and the log; read the configuration again",
}
"""What a token may be for; `admin` is for everything."""

EVERYTHING = "admin"

OF_MOUNTS = frozenset({"read", "title", "clip", "kick", "move"})
"""Scopes that a token may have for some mounts only."""

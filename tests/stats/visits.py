"""Visits to fill databases and sentences with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from castd.stats.visits import Visit
from castd.tcp import TcpState

TCP = TcpState("established", 0.042, 3, 17, 31.0)

LISTENER = Visit(
    id=17,
    kind="listener",
    mount="/live",
    address="192.0.2.7",
    agent="VLC/3.0.18",
    user="",
    protocol="icy",
    started=1_795_417_200.0,
    ended=1_795_417_400.5,
    seconds=200.5,
    bytes=3_355_443,
    worst_lag_seconds=0.0,
    jumps=0,
    titles=2,
    last_titles=("Ärtist - Sông", "News"),
    reason="left",
    ended_by="",
    tcp=TCP,
)


def visit(id: int = 17, **fields: Any) -> Visit:
    """A visit like LISTENER but for some fields."""
    return replace(LISTENER, id=id, **fields)

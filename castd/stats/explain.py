"""A visit in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from castd.mount.party import Goodbye

if TYPE_CHECKING:
    from castd.stats.visits import Visit
    from castd.tcp import TcpState

SILENCE_SECONDS = 2.0
"""A last acknowledgement older than this says something: audio flows every second."""

NETWORK_REASONS = {each.value for each in (Goodbye.RESET, Goodbye.VANISHED, Goodbye.FELL_BEHIND, Goodbye.SILENT)}
"""Reasons that the connection's state may shed light on."""

MEBIBYTE = 1 << 20
MINUTE, HOUR, DAY = 60, 3600, 86_400


def explain(visit: Visit) -> str:
    """One sentence, or two where the network had a part in it, that a person understands."""
    who = f"Listener {visit.id}" if visit.kind == "listener" else f"Source {visit.id}"
    with_what = f" ({visit.agent})" if visit.agent else ""
    where = f" from {visit.address}" if visit.address else ""
    when = datetime.fromtimestamp(visit.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    did = f"listened to {visit.mount}" if visit.kind == "listener" else f"fed {visit.mount}"
    moved = f"{'received' if visit.kind == 'listener' else 'sent'} {_size(visit.bytes)}"
    parts = [f"{who}{with_what}{where} {did} for {_duration(visit.seconds)} from {when}", moved]
    if visit.jumps:
        parts.append(f"was moved forward {_times(visit.jumps)}, being up to {visit.worst_lag_seconds:.0f} s behind")
    elif visit.worst_lag_seconds >= 1:
        parts.append(f"was up to {visit.worst_lag_seconds:.0f} s behind")
    return f"{', '.join(parts)}, and {_goodbye(visit)}.{_network(visit)}"


def _goodbye(visit: Visit) -> str:
    try:
        words = Goodbye(visit.reason).words
    except ValueError:  # recorded by another version of castd
        words = f"left ({visit.reason})"
    return f"{words} by {visit.ended_by}" if visit.ended_by else words


def _network(visit: Visit) -> str:
    """What its connection tells of the end, "" where that is nothing."""
    if visit.tcp is None or visit.reason not in NETWORK_REASONS:
        return ""
    signs = _signs(visit.tcp)
    return f" Its connection: {', '.join(signs)}." if signs else ""


def _signs(tcp: TcpState) -> list[str]:
    signs = []
    if tcp.last_ack_seconds >= SILENCE_SECONDS:
        signs.append(f"nothing was acknowledged for {_duration(tcp.last_ack_seconds)}")
    if tcp.unacked:
        signs.append(f"{tcp.unacked} segments were under way")
    if tcp.retransmits:
        signs.append(f"{tcp.retransmits} had to be sent again")
    if signs:
        signs.append(f"round trips took {tcp.rtt_seconds * 1000:.0f} ms")
    return signs


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    steps = (("d", whole // DAY), ("h", whole % DAY // HOUR), ("min", whole % HOUR // MINUTE), ("s", whole % MINUTE))
    return " ".join([f"{count} {unit}" for unit, count in steps if count][:2])


def _size(count: int) -> str:
    if count < 10_000:
        return f"{count} bytes"
    return f"{count / 1024:.0f} KiB" if count < MEBIBYTE else f"{count / MEBIBYTE:.1f} MiB"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"

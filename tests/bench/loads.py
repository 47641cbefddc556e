"""The loads, and what each is to reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.support import FRAME_SECONDS

Result = Mapping[str, Any]
"""Of one server under one load: tests.bench.swarm's figures and the server's own."""

Found = Mapping[str, Mapping[str, Sequence[Result]]]
"""All results, in the order of their pairs, by server, by load."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a server is made to do.

    Attributes:
        listeners, mounts: how many; they spread evenly.
        stalled: of the listeners, read nothing.
        first: of the listeners, are there before the others arrive all at once; 0 means that all come one by one.
        icy: all ask for titles.
        ramp_us: between two arrivals.
        stream: what the source sends; "numbered" is MP3 that tells what was lost and how late it is.
        frames_at_once: in one write of the source.
        tls: all listeners come by TLS.
        congestion: the kernel's congestion control for the time of it; "" means as found.
        alone: Icecast is not asked.
    """

    name: str
    listeners: int
    mounts: int = 1
    stalled: int = 0
    first: int = 0
    icy: bool = False
    ramp_us: int = 2000
    stream: Literal["numbered", "aac", "vorbis"] = "numbered"
    frames_at_once: int = 4
    tls: bool = False
    congestion: str = ""
    alone: bool = False


LOADS = (
    Load("5,000 listeners", 5000),
    Load("5,000 listeners, cubic", 5000, congestion="cubic"),
    Load("5,000 listeners, ICY titles", 5000, icy=True),
    Load("1,000 listeners", 1000),
    Load("100 listeners", 100),
    Load("1 listener", 1, frames_at_once=1),
    Load("12,000 listeners", 12_000, ramp_us=500, alone=True),
    Load("100 mounts of 50 listeners", 5000, mounts=100),
    Load("500 mounts of 1 listener", 500, mounts=500),
    Load("1,000 there, 5,000 arrive at once", 6000, first=1000),
    Load("3,000 listeners", 3000, alone=True),
    Load("3,000 listeners, 300 stalled", 3000, stalled=300, alone=True),
    Load("1,000 stalled listeners", 1001, stalled=1000, alone=True),
    Load("1,000 arriving, MP3", 1000, ramp_us=5000),
    Load("1,000 arriving, AAC", 1000, ramp_us=5000, stream="aac"),
    Load("1,000 arriving, Ogg Vorbis", 1000, ramp_us=5000, stream="vorbis"),
    Load("1,000 TLS listeners", 1000, tls=True),
)


@dataclass(frozen=True, slots=True)
class Target:
    """Something to be reached.

    Attributes:
        load: the name of the load it is about.
        what: it is, with its unit.
        limit: the most it may be.
        figure: of one pair: from castd's result, Icecast's, and everything found.
        least: `limit` is the least it may be.
    """

    load: str
    what: str
    limit: float
    figure: Callable[[Result, Result, Found], float]
    least: bool = False

    def values(self, found: Found) -> list[float]:
        """Of each pair, sorted; empty if a load it needs was not run."""
        servers = found.get(self.load, {})
        ours, theirs = servers.get("castd", ()), servers.get("icecast2") or servers.get("castd", ())
        try:
            return sorted(self.figure(one, other, found) for one, other in zip(ours, theirs, strict=False))
        except KeyError:
            return []

    def reached(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit


def _cpu_per_byte(ours: Result, theirs: Result, found: Found) -> float:
    return float((ours["cpu"] / ours["bytes"]) / (theirs["cpu"] / theirs["bytes"]))


def _ours(*path: str) -> Callable[[Result, Result, Found], float]:
    def figure(ours: Result, theirs: Result, found: Found) -> float:
        value: Any = ours
        for key in path:
            value = value[key]
        return float(value)

    return figure


def _lost(ours: Result, theirs: Result, found: Found) -> float:
    return float(sum(ours[key] for key in ("missing", "repeated", "broken", "closed")))


def _ratio_to(load: str, *path: str) -> Callable[[Result, Result, Found], float]:
    """The figure's ratio to the same figure of castd's first run under another load."""

    def figure(ours: Result, theirs: Result, found: Found) -> float:
        value = _ours(*path)
        return value(ours, ours, found) / value(found[load]["castd"][0], ours, found)

    return figure


def _delay_from_append(ours: Result, theirs: Result, found: Found) -> float:
    """Without what no server can spare: the frame itself, and the next one's header, which tells where it ends."""
    return float(ours["delay_ms"]["p99"] - 2000 * FRAME_SECONDS)


def _memory_slope(ours: Result, theirs: Result, found: Found) -> float:
    return float((ours["rss_mb"] - found["100 listeners"]["castd"][0]["rss_mb"]) / 4.9)


def _handshakes(ours: Result, theirs: Result, found: Found) -> float:
    return float(ours["handshakes_per_second"] / theirs["handshakes_per_second"])


RATIO = "CPU per byte, ratio to Icecast's"
LOST = "frames missing, repeated, broken; listeners lost"
DELAY = "delay of a frame p99, ms"
JOIN = "request to audio p99, ms"

TARGETS = (
    Target("5,000 listeners", RATIO, 0.33, _cpu_per_byte),
    Target("5,000 listeners", DELAY, 1200, _ours("delay_ms", "p99")),
    Target("5,000 listeners", LOST, 0, _lost),
    Target("5,000 listeners", "resident memory for each 1,000, MB", 2, _memory_slope),
    Target("5,000 listeners, cubic", RATIO, 0.33, _cpu_per_byte),
    Target("5,000 listeners, ICY titles", RATIO, 0.45, _cpu_per_byte),
    Target("5,000 listeners, ICY titles", LOST, 0, _lost),
    Target("100 listeners", RATIO, 2, _cpu_per_byte),
    Target("100 listeners", DELAY, 250, _ours("delay_ms", "p99")),
    Target("1 listener", "delay from the source's write p99, ms", 60, _delay_from_append),
    Target("1 listener", "resident memory, MB", 45, _ours("rss_mb")),
    Target("12,000 listeners", "CPU, percent of a core", 40, _ours("cpu_percent")),
    Target("12,000 listeners", "longest time without audio p99, ms", 2000, _ours("gap_ms", "p99")),
    Target("12,000 listeners", LOST, 0, _lost),
    Target("100 mounts of 50 listeners", RATIO, 0.7, _cpu_per_byte),
    Target("500 mounts of 1 listener", RATIO, 1.2, _cpu_per_byte),
    Target("1,000 there, 5,000 arrive at once", "request to audio, the slowest, ms", 5000, _ours("join_ms", "max")),
    Target(
        "1,000 there, 5,000 arrive at once",
        "longest time without audio of those there, ms",
        1500,
        _ours("first_gap_ms"),
    ),
    Target(
        "3,000 listeners, 300 stalled",
        "time without audio p99, ratio to none stalled",
        1.1,
        _ratio_to("3,000 listeners", "gap_ms", "p99"),
    ),
    Target("1,000 stalled listeners", "kernel memory of all sockets, MB", 150, _ours("socket_mb")),
    Target("1,000 arriving, MP3", JOIN, 25, _ours("join_ms", "p99")),
    Target("1,000 arriving, AAC", JOIN, 25, _ours("join_ms", "p99")),
    Target("1,000 arriving, Ogg Vorbis", JOIN, 25, _ours("join_ms", "p99")),
    Target("1,000 TLS listeners", RATIO, 1, _cpu_per_byte),
    Target("1,000 TLS listeners", "handshakes per second, ratio to Icecast's", 1, _handshakes, least=True),
)

"""What a server costs, read from /proc."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Reading:
    """Of one moment.

    Attributes:
        at: monotonic seconds.
        cpu_seconds: of all threads so far, to the nanosecond (schedstat, not ticks).
        rss_mb, socket_mb: resident memory; what all TCP sockets of the machine hold in the kernel.
    """

    at: float
    cpu_seconds: float
    rss_mb: float
    socket_mb: float


def read(pid: int) -> Reading:
    """The reading of a process now."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    cpu = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    (tcp,) = (line.split() for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    pages = int(tcp[tcp.index("mem") + 1])
    return Reading(time.monotonic(), cpu / 1e9, int(status["VmRSS"].split()[0]) / 1024, pages * 4096 / 1e6)

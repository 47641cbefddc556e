"""What the server takes of its machine, as Linux tells (proc(5))."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

import trio


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """See castd.api.shapes.Process."""

    uptime_seconds: float
    cpu_percent: float
    memory_bytes: int
    descriptors: int
    max_descriptors: int
    tasks: int
    threads: int
    sent_mbit: float
    received_mbit: float


def read_cpu_seconds() -> float:
    """Seconds of a core that this process has had, in the kernel and out of it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def read_process(uptime: float, cpu_percent: float, sent_mbit: float, received_mbit: float) -> ProcessFacts:
    """What can be read now, beside what was measured over time."""
    try:
        memory = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        descriptors = len(os.listdir("/proc/self/fd"))
        threads = len(os.listdir("/proc/self/task"))
    except OSError:  # no /proc, or no descriptor left to look with
        memory = descriptors = threads = 0
    return ProcessFacts(
        uptime_seconds=round(uptime, 3),
        cpu_percent=cpu_percent,
        memory_bytes=memory,
        descriptors=descriptors,
        max_descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        tasks=trio.lowlevel.current_statistics().tasks_living,
        threads=threads,
        sent_mbit=sent_mbit,
        received_mbit=received_mbit,
    )

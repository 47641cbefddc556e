"""What castd takes of the machine and what it says of itself, each second."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.e2e.client import get
from tests.e2e.server import ADMIN_PASSWORD

if TYPE_CHECKING:
    from tests.e2e.server import Castd


@dataclass(frozen=True, slots=True)
class Sample:
    """Of one moment.

    Attributes:
        at: monotonic seconds.
        pid: of the process that serves.
        rss_kb: resident memory; of it anon_kb are the process's own, the rest files and rings (shared memory).
        cpu_seconds: that the process has had.
        tasks, listeners, sources, followers, mounts: as castd counts them; -1 where it did not answer in time.
    """

    at: float
    pid: int
    rss_kb: int
    anon_kb: int
    descriptors: int
    threads: int
    cpu_seconds: float
    tasks: int = -1
    listeners: int = -1
    sources: int = -1
    followers: int = -1
    mounts: int = -1


def look(pid: int) -> Sample | None:
    """Of the process alone, from outside (proc(5)); None if it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except (FileNotFoundError, ProcessLookupError):
        return None
    status = dict(line.split(":", 1) for line in lines)
    if "VmRSS" not in status:  # it ended, and waits for its parent
        return None
    return Sample(
        at=time.monotonic(),
        pid=pid,
        rss_kb=int(status["VmRSS"].split()[0]),
        anon_kb=int(status["RssAnon"].split()[0]),
        descriptors=descriptors,
        threads=int(status["Threads"]),
        cpu_seconds=sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"),
    )


def descriptors(pid: int) -> Counter[str]:
    """What a process has open, by kind or path."""
    found: Counter[str] = Counter()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[re.sub(r"\[\d+\]$", "", str(each.readlink()))] += 1
        except OSError:  # closed meanwhile
            pass
    return found


async def sample(castd: Castd) -> Sample | None:
    """Of the process and of its own counts."""
    seen = look(castd.pid)
    if seen is None:
        return None
    try:
        with trio.move_on_after(5):
            reply = await get(f"{castd.address}/api/v1/admin/stats", ("admin", ADMIN_PASSWORD))
            told = json.loads(reply.body)
            return replace(
                seen,
                tasks=told["process"]["tasks"],
                listeners=told["listeners"],
                sources=told["sources"],
                followers=told["followers"],
                mounts=len(told["mounts"]),
            )
    except (OSError, trio.BrokenResourceError, AssertionError, ValueError):
        pass
    return seen

"""docs/performance.md, made from the figures."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from tests.bench.loads import LOADS, TARGETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.loads import Found, Result

HEAD = """\
# Performance

Made by `make bench`: castd from this checkout and Debian's icecast2, each with its default settings, under the same
load in turn. A paced source sends MP3 of 128 kbit/s with a number in every frame; a swarm of listeners, in C and in a
process of its own, checks the numbers. CPU is the server's own, of all its threads, from `/proc/PID/task/*/schedstat`.
Speeds are compared within a pair of runs only, so that what else the machine does falls on both servers.

![CPU of both servers](performance.svg)

"""


def page(machine: Mapping[str, str], found: Found) -> str:
    """The report.

    Args:
        machine: what the figures depend on.
        found: the results.
    """
    names = [load.name for load in LOADS if load.name in found]
    lines = [f"* {name}: {value}" for name, value in machine.items()]
    lines += ["", "## What was to be reached", "", "Minimum / median / maximum of the pairs.", ""]
    lines += ["| load | what | to reach | castd | pairs | |", "|---|---|---|---|---|---|"]
    for target in TARGETS:
        if values := target.values(found):
            middle = median(values)
            shown = " / ".join(_short(value) for value in (values[0], middle, values[-1]))
            verdict = "reached" if target.reached(middle) else "**not reached**"
            sign = ">=" if target.least else "<="
            lines.append(
                f"| {target.load} | {target.what} | {sign} {target.limit:g} | {shown} | {len(values)} | {verdict} |"
            )
    lines += [
        "", "## Both servers", "", "Medians. Delay: of a frame, from its moment at the source; it holds the 0.1 s for "
        "which the source gathers frames (for 1 listener it gathers none). Gap: a listener's longest time without "
        "audio. Kernel memory: of all TCP sockets of the machine, the swarm's and the source's, too.", "",
        "| load | server | CPU % | delay p50 / p99 ms | gap p99 ms | request to audio p50 / p99 / max ms | RSS MB "
        "| kernel MB | lost |", "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in names:
        lines += [_row(name, server, results) for server, results in found[name].items() if results]
    return HEAD + "\n".join([*lines, ""])


def _row(name: str, server: str, results: Sequence[Result]) -> str:
    def middle(*path: str) -> str:
        values: list[Any] = list(results)
        for key in path:
            values = [(value or {}).get(key) for value in values]
        return "-" if None in values else _short(median(values))

    lost = median(sum(result.get(key, 0) for key in ("missing", "repeated", "broken", "closed")) for result in results)
    return (
        f"| {name} | {server} | {middle('cpu_percent')} | {middle('delay_ms', 'p50')} / {middle('delay_ms', 'p99')} | "
        f"{middle('gap_ms', 'p99')} | {middle('join_ms', 'p50')} / {middle('join_ms', 'p99')} / "
        f"{middle('join_ms', 'max')} | {middle('rss_mb')} | {middle('socket_mb')} | {_short(lost)} |"
    )


def _short(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"

"""docs/soak.md and docs/soak.svg, made from an outcome."""

from __future__ import annotations

import platform
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from castd import __version__
from tests.soak.plot import Panel, draw
from tests.soak.run import MEMORY_KB

if TYPE_CHECKING:
    from tests.soak.run import Outcome
    from tests.soak.sampler import Sample

HEAD = """\
# Soak

Made by `make soak`: castd as its users start it, and in another process everything that may happen to it at once.
Encoders of MP3, AAC and Ogg Opus (16 kbit/s, by PUT, SOURCE, chunked and as SHOUTcast) come and go: in order, by a
reset, within a frame, or falling silent. Every second mount has another that stands in for it; on half of them a DJ
takes over now and then; titles change each second. Listeners come and go, in order, by a reset or by a FIN; some read
too slowly, some take nothing. Some encoders and listeners are behind a network that brings bytes late, in pieces, or
for seconds not at all. Attackers say what no client should; others look at pages and follow events. An operator
reloads, upgrades, stops the process for two seconds, and somebody guesses passwords.

Each frame says which session of an encoder sent it, and counts. Every byte that a healthy listener receives (all but
the slow and the stalled) is compared with what was sent: no frame is missing, none comes twice, none is broken; where
a mount goes from one session to another, all its listeners go from the same frame to the same one, and hear a session
that ended in order to its last frame. Whoever is refused, or cut off, without reason is a fault; so is an error in the
log.

![Memory, descriptors, listeners](soak.svg)

"""


def write(outcome: Outcome, out: Path) -> Path:
    """The page and its picture; where the page is."""
    out.mkdir(exist_ok=True)
    (out / "soak.svg").write_text(_picture(outcome))
    path = out / "soak.md"
    path.write_text(HEAD + "\n".join(_lines(outcome)) + "\n")
    return path


def _picture(outcome: Outcome) -> str:
    samples = outcome.samples
    start = samples[0].at if samples else 0.0
    told = [each for each in samples if each.listeners >= 0]
    panels = [
        Panel("Memory, MB", {
            "resident": [(each.at - start, each.rss_kb / 1024) for each in samples],
            "its own": [(each.at - start, each.anon_kb / 1024) for each in samples],
        }),
        Panel("Descriptors", {"descriptors": [(each.at - start, each.descriptors) for each in samples]}),
        Panel("Listeners", {"listeners": [(each.at - start, each.listeners) for each in told]}),
        Panel("Tasks, threads, sources", {
            "tasks": [(each.at - start, each.tasks) for each in told],
            "threads": [(each.at - start, each.threads) for each in samples],
            "sources": [(each.at - start, each.sources) for each in told],
        }),
    ]  # fmt: skip
    marks = [(at - start, what) for at, what in outcome.marks]
    return draw(panels, marks, (0.0, samples[-1].at - start if samples else 1.0))


def _lines(outcome: Outcome) -> list[str]:
    options, faults = outcome.options, outcome.faults
    minutes = (outcome.ended - outcome.begun) / 60
    verdict = "Nothing went wrong." if not faults else f"**{sum(faults.counts.values())} faults**, listed below."
    lines = [
        f"{verdict} {minutes:.0f} minutes of {options.listeners:,} listeners and {options.sources} mounts, a source "
        f"each; castd {__version__}, Python {platform.python_version()}, Linux {platform.release()}.",
        "",
        "## What is left when all have gone",
        "",
        "Before: after a warm-up in which all of it happened once, an upgrade, too. After: when everybody has left "
        "again. Both are of a process that took over from another, with nobody there.",
        "",
        "| | before | most | after | |",
        "|---|---|---|---|---|",
    ]
    lines += _left(outcome)
    lines += [
        "",
        "## The last process",
        "",
        *_growth(outcome),
        "",
        "## What happened",
        "",
        "| what | how often |",
        "|---|---|",
    ]
    lines += [f"| {name} | {number:,} |" for name, number in sorted(outcome.counts.items())]
    lines += ["", "Warnings in the log, numbers as N:", ""]
    lines += [f"* {number:,} x `{text}`" for text, number in sorted(outcome.log.items())] or ["* none"]
    if faults:
        lines += ["", "## Faults", "", *(f"* {kind}: {number}" for kind, number in sorted(faults.counts.items())), ""]
        lines += [f"* {at} s, {kind}: `{' '.join(words.split())[:300]}`" for at, kind, words in faults.told]
    return lines


def _left(outcome: Outcome) -> list[str]:
    before, after = outcome.before, outcome.after
    if before is None or after is None:
        return ["| nothing was measured | | | | |"]
    lines = []
    for name in ("descriptors", "tasks", "threads", "listeners", "sources", "followers", "mounts"):
        values = [getattr(each, name) for each in (before, after)]
        most = max(getattr(each, name) for each in outcome.samples)
        verdict = "as before" if values[0] == values[1] else "**not as before**"
        lines.append(f"| {name} | {values[0]:,} | {most:,} | {values[1]:,} | {verdict} |")
    for name, kind in (("rss_kb", "resident memory, MB"), ("anon_kb", "of it the process's own, MB")):
        values = [getattr(each, name) / 1024 for each in (before, after)]
        most = max(getattr(each, name) for each in outcome.samples) / 1024
        bound = f"at most {MEMORY_KB // 1024} more" if name == "anon_kb" else ""
        lines.append(f"| {kind} | {values[0]:.1f} | {most:.1f} | {values[1]:.1f} | {bound} |")
    return lines


def _growth(outcome: Outcome) -> list[str]:
    """How the memory of the process that served longest went under full load."""
    samples = [each for each in outcome.samples if outcome.begun <= each.at <= outcome.ended]
    last = [each for each in samples if each.pid == samples[-1].pid]
    if len(last) < 60:
        return ["It served too shortly to tell."]
    third = len(last) // 3
    seconds = last[-1].at - last[0].at
    cpu = 100 * (last[-1].cpu_seconds - last[0].cpu_seconds) / seconds
    return [
        f"It served for {seconds / 60:.0f} minutes under full load, with {cpu:.0f} % of a core. Its own memory: "
        f"{_middle(last[third : 2 * third]):.1f} MB in the middle third of that time, {_middle(last[-third:]):.1f} MB "
        "in the last (medians).",
    ]


def _middle(samples: list[Sample]) -> float:
    return median(each.anon_kb for each in samples) / 1024

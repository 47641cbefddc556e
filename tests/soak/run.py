"""One soak: warm up and measure what castd takes when nobody is there; then everything at once; then measure again."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from tests.e2e.server import Castd
from tests.network.proxy import Proxy
from tests.soak.chaos import Chaos
from tests.soak.encoders import Encoders
from tests.soak.faults import Faults
from tests.soak.sampler import Sample, descriptors, sample
from tests.soak.stage import DJ, LINGER_SECONDS, plan
from tests.soak.streams import Tapes
from tests.soak.swarm import Swarm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from tests.soak.stage import Stand

WARM_SECONDS = 20.0
"""Everything happens once before the first measurement: an upgrade, a reload, guesses; so that what is loaded or made
once is there."""

SETTLE_SECONDS = 90.0
"""For castd, at most, until nothing is left of those who left: mounts linger, threads wait for work, unread heads and
dead peers time out."""

QUIET_SAMPLES = 12
"""Alike, one after the other, before a measurement counts: threads wait for work for ten seconds."""

MEMORY_KB = 48 * 1024
"""That a process may have more at the end, of its own: Python and the C library give few of the pages back that three
thousand connections needed, and keep them for the next."""

LAST_UPGRADE = 0.6
"""Of the time: from then on one process serves, long enough to show whether it grows."""

SETTINGS = f"""\
[[djs]]
user = "{DJ[0]}"
password = "{DJ[1]}"
mounts = ["/*"]
priority = 10

[delivery]
burst_seconds = 4.0
linger_seconds = {LINGER_SECONDS:g}

[logs]
access = "access.log"
"""

LIMITS = "max_listeners = 20000"


@dataclass(frozen=True, slots=True)
class Options:
    """What to do.

    Attributes:
        minutes: of full load.
        churn: listeners that leave, and come, in a second.
        upgrades, reloads, stops: how many, evenly spread.
        seed: of all that is left to chance.
    """

    minutes: float
    listeners: int
    sources: int
    churn: float
    upgrades: int
    reloads: int
    stops: int
    seed: int


@dataclass
class Outcome:
    """What happened.

    Attributes:
        begun, ended: of the full load, monotonic seconds.
        before, after: with nobody there.
        open_before, open_after: descriptors, by what they are.
        samples: of each second, from the first start on.
        marks: what an operator did: monotonic seconds and what.
        counts: what else, by name.
        log: lines of castd's log that are warnings, by their text without numbers.
    """

    options: Options
    faults: Faults
    begun: float = 0.0
    ended: float = 0.0
    before: Sample | None = None
    open_before: Counter[str] = field(default_factory=Counter)
    open_after: Counter[str] = field(default_factory=Counter)
    after: Sample | None = None
    samples: list[Sample] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    log: Counter[str] = field(default_factory=Counter)


def timetable(options: Options) -> list[tuple[float, str]]:
    """Seconds of the full load, and what an operator does then."""
    seconds = 60 * options.minutes
    table = [(seconds * LAST_UPGRADE * (each + 1) / options.upgrades, "upgrade") for each in range(options.upgrades)]
    table += [(seconds * (each + 0.7) / options.reloads, "reload") for each in range(options.reloads)]
    table += [(seconds * (each + 0.4) / options.stops, "stop") for each in range(options.stops)]
    table += [(each + 11.0, "guess") for each in range(0, int(seconds) - 15, 60)]
    return sorted(table)


async def soak(options: Options, folder: Path, progress: Callable[[str], None]) -> Outcome:
    """All of it.

    Args:
        folder: takes castd's configuration, state and logs.
        progress: is told how it goes, in a line.
    """
    faults = Faults(lambda words: progress(f"FAULT {words}\n"))
    outcome = Outcome(options, faults)
    fallbacks = [f'[mounts."{each.name}"]\nfallback = "{each.fallback}"\n' for each in plan(options.sources)]
    castd = Castd(folder, "\n".join([SETTINGS, *fallbacks]), limits=LIMITS)
    try:
        async with castd, trio.open_nursery() as nursery:
            nursery.start_soon(_watch, castd, outcome)
            progress("warming up")
            small = Options(WARM_SECONDS / 60, max(20, options.listeners // 10), options.sources, 5, 1, 1, 1, 1)
            async with _load(castd, small, Outcome(small, faults)) as (_, chaos):
                await chaos.operate(timetable(small))
                await trio.sleep(WARM_SECONDS / 4)
            progress("settling")
            outcome.before = await _settled(castd, outcome, None)
            outcome.open_before = descriptors(castd.pid)
            outcome.begun = time.monotonic()
            async with _load(castd, options, outcome) as (swarm, chaos):
                nursery.start_soon(_report_progress, swarm, outcome, progress)
                async with trio.open_nursery() as operators:
                    operators.start_soon(chaos.operate, timetable(options))
                    await trio.sleep(60 * options.minutes)
            outcome.ended = time.monotonic()
            progress("everybody has left; settling")
            outcome.after = await _settled(castd, outcome, outcome.before)
            outcome.open_after = descriptors(castd.pid)
            nursery.cancel_scope.cancel()
    except AssertionError as error:
        faults.add("castd", str(error)[-2000:])
    _judge(outcome)
    _read_log(castd.log(), outcome)
    return outcome


@asynccontextmanager
async def _load(castd: Castd, options: Options, outcome: Outcome) -> AsyncIterator[tuple[Swarm, Chaos]]:
    """Everybody is there for the length of the block."""
    chance = random.Random(options.seed)
    stands, tapes, faults = plan(options.sources), Tapes(), outcome.faults
    port = int(castd.address.rpartition(":")[2])
    proxy = Proxy(port, chance.getrandbits(32))
    chaos = Chaos(castd, port, stands, faults, outcome.marks)
    async with trio.open_nursery() as network:
        await network.start(proxy.run)
        async with trio.open_nursery() as encoding, trio.open_nursery() as others:
            seed = chance.getrandbits(32)
            swarm = Swarm(port, proxy.port, stands, tapes, faults, seed=seed, churn=options.churn)
            encoders = Encoders(port, proxy.port, tapes, faults, encoding)
            for stand in stands:
                encoding.start_soon(encoders.encode, stand, chance.getrandbits(32))
                if stand.dj:
                    encoding.start_soon(encoders.take_over, stand, chance.getrandbits(32))
            others.start_soon(swarm.run)
            others.start_soon(chaos.change_weather, proxy, chance.getrandbits(32))
            await trio.sleep(2)
            swarm.wanted = options.listeners
            others.start_soon(chaos.tell_titles)
            for each, times in ((chaos.attack, 6), (chaos.look, 3), (chaos.follow, max(4, options.listeners // 100))):
                for _ in range(times):
                    others.start_soon(each, chance.getrandbits(32))
            yield swarm, chaos
            swarm.close()
            others.cancel_scope.cancel()
            encoders.leaving.set()
            proxy.revive()
            encoding.cancel_scope.deadline = trio.current_time() + 5
        network.cancel_scope.cancel()
    outcome.counts.update(swarm.counts + chaos.counts)
    outcome.counts |= {
        "sessions of encoders": encoders.sessions,
        "encoders refused for the one before": encoders.refused,
        "splices": sum(len(each.splices) for each in stands),
        "bytes compared": swarm.heard,
    }
    _judge_endings(stands, tapes, faults)


def _judge_endings(stands: Sequence[Stand], tapes: Tapes, faults: Faults) -> None:
    """Where a session ended in order, what came after it came after its last frame."""
    for stand in stands:
        for session, number in stand.splices.last_frames().items():
            tape = tapes.get(session)
            if tape and tape.whole and number != (last := tape.number(tape.end) - 1):
                faults.add("audio", f"{stand.name}: of session {session} frame {number} was the last heard, not {last}")


async def _watch(castd: Castd, outcome: Outcome) -> None:
    """Sample each second, for ever."""
    while True:
        begun = trio.current_time()
        if seen := await sample(castd):
            outcome.samples.append(seen)
        await trio.sleep_until(max(begun + 1, trio.current_time()))


async def _settled(castd: Castd, outcome: Outcome, before: Sample | None) -> Sample | None:
    """The measurement once nothing changes any more, and is as before if there was one; what there is when the time is
    up."""
    with trio.move_on_after(SETTLE_SECONDS):
        while True:
            await trio.sleep(1)
            last = outcome.samples[-QUIET_SAMPLES:]
            kinds = {_counted(each) for each in last}
            idle = last[-1].listeners == last[-1].sources == last[-1].followers == last[-1].mounts == 0
            if idle and len(last) == QUIET_SAMPLES and len(kinds) == 1 and (not before or _counted(before) in kinds):
                break
    return outcome.samples[-1] if outcome.samples else None


def _counted(seen: Sample) -> tuple[int, ...]:
    return seen.descriptors, seen.tasks, seen.threads, seen.listeners, seen.sources, seen.followers, seen.mounts


def _judge(outcome: Outcome) -> None:
    """Is all back where it was?"""
    before, after = outcome.before, outcome.after
    if before is None or after is None:
        outcome.faults.add("left behind", "there was nothing to measure")
        return
    for name in ("descriptors", "tasks", "threads", "listeners", "sources", "followers", "mounts"):
        if getattr(after, name) != getattr(before, name):
            outcome.faults.add("left behind", f"{name}: {getattr(before, name)} before, {getattr(after, name)} after")
    if outcome.open_before != outcome.open_after:
        more, less = outcome.open_after - outcome.open_before, outcome.open_before - outcome.open_after
        outcome.faults.add("left behind", f"descriptors: more {dict(more)}, less {dict(less)}")
    if after.anon_kb - before.anon_kb > MEMORY_KB:
        outcome.faults.add("left behind", f"memory: {before.anon_kb} kB before, {after.anon_kb} kB after")


def _read_log(text: str, outcome: Outcome) -> None:
    """Errors are faults; warnings are counted."""
    for line in text.splitlines():
        match = re.match(r"\S+ +(\w+) +(.*)", line)
        if "Traceback" in line or (match and match[1].upper() in ("ERROR", "CRITICAL")):
            outcome.faults.add("log", line)
        elif match and match[1].upper() == "WARNING":
            outcome.log[re.sub(r"\d+", "N", match[2])[:120]] += 1


async def _report_progress(swarm: Swarm, outcome: Outcome, progress: Callable[[str], None]) -> None:
    while not outcome.ended:
        await trio.sleep(2)
        seen = outcome.samples[-1]
        left = outcome.begun + 60 * outcome.options.minutes - time.monotonic()
        progress(
            f"{max(0, left):5.0f} s left: {len(swarm)} listeners ({seen.listeners} by castd), {seen.sources} sources, "
            f"{seen.rss_kb // 1024} MB, {seen.descriptors} descriptors, {seen.tasks} tasks; "
            f"{sum(outcome.faults.counts.values())} faults {dict(outcome.faults.counts) if outcome.faults else ''}"
        )

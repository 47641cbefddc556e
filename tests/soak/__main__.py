"""Soak castd, and write what came of it to docs/soak.md and docs/soak.svg: make soak.

    python -m tests.soak [--minutes N] [--listeners N] [--sources N] [--churn N] [--seed N] [--out FOLDER]

Ends with 1 if anything went wrong, whatever it was.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from tests.soak.report import write
from tests.soak.run import Options, Outcome, soak

ROOT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="castd under everything at once.")
    parser.add_argument("--minutes", type=float, default=60.0, help="of full load (default: %(default)s)")
    parser.add_argument("--listeners", type=int, default=3000)
    parser.add_argument("--sources", type=int, default=20)
    parser.add_argument("--churn", type=float, default=20.0, help="listeners that leave in a second")
    parser.add_argument("--upgrades", type=int, help="default: one in four minutes, at least two")
    parser.add_argument("--reloads", type=int, help="default: one in two minutes, at least two")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the report (default: %(default)s)")
    given = parser.parse_args()
    options = Options(
        minutes=given.minutes,
        listeners=given.listeners,
        sources=given.sources,
        churn=given.churn,
        upgrades=given.upgrades or max(2, round(given.minutes / 4)),
        reloads=given.reloads or max(2, round(given.minutes / 2)),
        stops=max(1, round(given.minutes / 3)),
        seed=given.seed,
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="castd-soak.") as folder:
        outcome = trio.run(_soak, options, Path(folder))
    print()
    if outcome is None:
        return 1
    print(dict(outcome.faults.counts) if outcome.faults else "nothing went wrong", f"- {write(outcome, given.out)}")
    return 1 if outcome.faults else 0


async def _soak(options: Options, folder: Path) -> Outcome | None:
    """The soak; None if it was stopped: castd is, then, too."""
    outcome = None
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            nursery.start_soon(_stop, signals, nursery.cancel_scope)
            outcome = await soak(options, folder, say)
            nursery.cancel_scope.cancel()
    return outcome


async def _stop(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def say(line: str) -> None:
    """One line that is written over where there is a terminal."""
    if sys.stdout.isatty():
        end = "\n" if line.endswith("\n") else ""
        print(f"\r\x1b[K{line.strip()[:160]}", end=end, flush=True)
    else:
        print(line.strip(), flush=True)


if __name__ == "__main__":
    sys.exit(main())

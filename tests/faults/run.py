"""Runs cases and says how each went."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import trio

from tests.faults import admin_cases, delivery_cases, framing_cases, http_cases, ingest_cases, process_cases  # noqa: F401
from tests.faults.case import CASES, Case
from tests.faults.site import Site, site

AT_ONCE = 8
"""Cases that are tried on one server at the same time."""

CASE_SECONDS = 90.0
"""For one of them, on a machine with other things to do."""

Verdicts = dict[str, str]
"""By id: "" where the server took it well, else what it did."""


async def together(kind: str, folder: Path, names: Iterable[str]) -> Verdicts:
    """Try cases on one server, several at a time.

    Args:
        kind: "castd" or "icecast".
    """
    cases = [CASES[name] for name in names]
    found: Verdicts = {}
    limiter = trio.CapacityLimiter(AT_ONCE)
    async with site(kind, folder) as there:

        async def one(case: Case) -> None:
            async with limiter:
                found[case.id] = await verdict(there, case)

        async with trio.open_nursery() as nursery:
            for case in cases:
                if not case.alone:
                    nursery.start_soon(one, case)
        for case in cases:
            if case.alone:
                await one(case)
    return found


async def one_by_one(kind: str, folder: Path, names: Iterable[str]) -> Verdicts:
    """Try cases, each on a server of its own, so that one that breaks it leaves the others alone."""
    found: Verdicts = {}
    for name in names:
        try:
            async with site(kind, folder / name) as there:
                found[name] = await verdict(there, CASES[name])
        except Exception as error:
            found[name] = found.get(name) or describe(error)
    return found


async def verdict(there: Site, case: Case) -> str:
    """How a case went."""
    with trio.move_on_after(CASE_SECONDS):
        try:
            await case.attack(there)
            await there.status()
            await there.canary.goes_on()
        except Exception as error:
            return describe(error)
        return ""
    return f"not over after {CASE_SECONDS:g} s"


def describe(error: BaseException) -> str:
    """What went wrong, on one line."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(describe(each) for each in error.exceptions))
    text = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300] or type(error).__name__

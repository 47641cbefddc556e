"""A case: what is done to a running server, and how it must take it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.site import Site

Attack = Callable[["Site"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the catalogue that is tried from without.

    Attributes:
        id: of the row.
        attack: does it; raises AssertionError, which says why, if the server takes it badly.
        alone: nothing else may be done to the server meanwhile.
    """

    id: str
    attack: Attack
    alone: bool = False


CASES: dict[str, Case] = {}
"""By id, in the order in which they were written."""


def case(name: str, *, alone: bool = False) -> Callable[[Attack], Attack]:
    """Have a function tried as a case."""

    def add(attack: Attack) -> Attack:
        assert name not in CASES, name
        CASES[name] = Case(name, attack, alone)
        return attack

    return add

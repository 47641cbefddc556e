"""The part of fuzzing that every test run has: all inputs kept, and 20,000 made of them, always the same."""

from __future__ import annotations

from hashlib import sha1
from random import Random

import pytest

from tests.fuzz.harness import CORPUS, CRASHES, MOST_BYTES, TARGETS, files
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import MODULES

MUTATED = 20_000

SLOW = {"front_door": 400, "connection_edge": 500, "service_answer": 300}
"""Inputs of those targets that run a whole connection for each."""

SEED = 7


def shares() -> dict[str, int]:
    """How many of the mutated inputs each target gets."""
    others = sorted(TARGETS.keys() - SLOW.keys())
    each, left = divmod(MUTATED - sum(SLOW.values()), len(others))
    return SLOW | {name: each + (number < left) for number, name in enumerate(others)}


def test_every_target_has_inputs_and_every_input_a_target() -> None:
    assert MODULES
    assert {each.name for each in CORPUS.iterdir()} == set(TARGETS)
    assert {each.name for each in CRASHES.iterdir()} <= set(TARGETS)
    assert sum(shares().values()) == MUTATED


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_inputs_kept(name: str) -> None:
    for path in (*files(CORPUS, name), *files(CRASHES, name)):
        try:
            TARGETS[name](path.read_bytes())
        except Exception as error:
            pytest.fail(f"python -m tests.fuzz {name} {path}: {error!r}")


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_inputs_made_of_them(name: str) -> None:
    kept = [path.read_bytes() for path in (*files(CORPUS, name), *files(CRASHES, name))]
    for number in range(shares()[name]):
        data = mutated(Random(f"{SEED} {number}"), kept, MOST_BYTES)
        try:
            TARGETS[name](data)
        except Exception as error:
            path = CRASHES / name / sha1(data).hexdigest()[:12]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            pytest.fail(f"input {number} of seed {SEED}; python -m tests.fuzz {name} {path}: {error!r}")

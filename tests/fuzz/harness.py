"""What a fuzz target is, and how inputs are laid out.

A target is a function of bytes that says its invariant in the first line of its docstring and raises where that does
not hold. Whatever is documented to be raised by what it tries, it catches. The first byte of an input says how the rest
is cut into pieces, so that whoever makes inputs, libFuzzer or castd's own mutator, finds cuts as it finds bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TypeAlias

Target: TypeAlias = Callable[[bytes], None]

HERE = Path(__file__).parent

CORPUS, CRASHES = HERE / "corpus", HERE / "crashes"
"""Inputs by target: those that reach every part of a parser, and those that once broke one."""

MOST_BYTES = 64 * 1024
"""Of one input: what a connection reads at once."""

TARGETS: dict[str, Target] = {}
"""All of them, by name; castd's tests.fuzz.targets fills it."""

SINGLE_BYTES = 512
"""Of an input that is cut into single bytes: the rest goes at once."""


def target(function: Target) -> Target:
    """Make a function a target, of its name."""
    TARGETS[function.__name__] = function
    return function


def split_off(data: bytes) -> tuple[int, bytes]:
    """The byte that says how an input is cut, and the input itself."""
    return (data[0], data[1:]) if data else (0, b"")


def pieces(how: int, data: bytes) -> Iterator[bytes]:
    """An input cut as its byte says: 0 whole, 1 byte by byte, otherwise at places that follow from it."""
    if how <= 1:
        single = SINGLE_BYTES * how
        yield from (data[at : at + 1] for at in range(min(single, len(data))))
        if data[single:]:
            yield data[single:]
        return
    random, at = Random(how), 0
    while at < len(data):
        size = 1 << random.randrange(14)
        yield data[at : at + size]
        at += size


def files(folder: Path, name: str) -> list[Path]:
    """The inputs of a target, in a fixed order."""
    return sorted(each for each in (folder / name).glob("*") if each.is_file())

"""Inputs made from others, always the same ones from the same seed: for the part of fuzzing that every test run has."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

INTERESTING = (0, 1, 2, 7, 0x0A, 0x0D, 0x20, 0x22, 0x25, 0x27, 0x2F, 0x3A, 0x3B, 0x7F, 0x80, 0xC3, 0xFE, 0xFF)
"""Bytes at which parsers turn."""

NUMBERS = tuple(
    number.to_bytes(size, order)
    for size in (2, 4, 8)
    for number in (0, 1, 255, (1 << 8 * size - 1) - 1, 1 << 8 * size - 1, (1 << 8 * size) - 1)
    if number < 1 << 8 * size
    for order in ("big", "little")
)
"""As lengths, counts and positions may be written."""

MOST_STEPS = 6
"""Changes of one input."""


def mutated(random: Random, inputs: Sequence[bytes], most_bytes: int) -> bytes:
    """One of some inputs, changed in a few places.

    Args:
        inputs: at least one.
        most_bytes: what comes out has no more.
    """
    data = bytearray(random.choice(inputs))
    for _ in range(random.randint(1, MOST_STEPS)):
        at = random.randrange(len(data) + 1)
        size = min(1 << random.randrange(12), len(data) - at)
        match random.randrange(9):
            case 0 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 1 if at < len(data):
                data[at] = random.choice(INTERESTING)
            case 2:
                data[at:at] = random.randbytes(random.randint(1, 8))
            case 3:
                del data[at : at + size]
            case 4:
                data[at:at] = data[at : at + size] * random.randint(1, 4)
            case 5:
                number = random.choice(NUMBERS)
                data[at : at + len(number)] = number
            case 6:
                other = random.choice(inputs)
                begin = random.randrange(len(other) + 1)
                data[at : at + size] = other[begin : begin + size]
            case 7:
                other = random.choice(inputs)
                data[at:] = other[random.randrange(len(other) + 1) :]
            case _:
                if at < len(data):
                    data[at] = (data[at] + random.choice((-1, 1))) & 0xFF
    return bytes(data[:most_bytes])

"""EBML elements (RFC 8794): identifiers, sizes and the few kinds of values that Matroska's headers hold."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

UNKNOWN = -1
"""Size of an element that goes on until something comes that cannot be in it (§6.2)."""


class Element(NamedTuple):
    """The start of an element.

    Attributes:
        id: with its marker bits, as Matroska writes them.
        size: of its data in bytes; UNKNOWN.
        start: of its data, from where it was read.
    """

    id: int
    size: int
    start: int


def read_element(data: bytes | bytearray, at: int) -> Element | None:
    """The element that starts at a place; None while its start is not whole.

    Raises:
        ValueError: nothing starts there.
    """
    identifier = _vint(data, at, longest=4)
    if identifier is None:
        return None
    size = _vint(data, at + identifier[1], longest=8)
    if size is None:
        return None
    value, length = size
    bits = value & ((1 << 7 * length) - 1)
    unknown = bits == (1 << 7 * length) - 1
    return Element(identifier[0], UNKNOWN if unknown else bits, at + identifier[1] + length)


def _vint(data: bytes | bytearray, at: int, longest: int) -> tuple[int, int] | None:
    """A variable-size integer with its marker, and how long it is (§4)."""
    if at >= len(data):
        return None
    length = 9 - data[at].bit_length()
    if length > longest:
        raise ValueError("no EBML element")
    if at + length > len(data):
        return None
    return int.from_bytes(data[at : at + length]), length


def children(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements in the data of another, as identifiers and data; ends at what is none.

    Args:
        data: whole, and bounded by the caller. Untrusted.
    """
    at = 0
    while at < len(data):
        try:
            found = read_element(data, at)
        except ValueError:
            return
        if found is None or found.size == UNKNOWN or found.start + found.size > len(data):
            return
        yield found.id, data[found.start : found.start + found.size]
        at = found.start + found.size


def number(data: bytes) -> int:
    """An unsigned integer (§7.2); 0 if it is longer than any is."""
    return int.from_bytes(data) if len(data) <= 8 else 0


def real(data: bytes) -> float:
    """A float (§7.3); 0 if it is none, or no finite number."""
    value = float(struct.unpack({4: ">f", 8: ">d"}[len(data)], data)[0]) if len(data) in (4, 8) else 0.0
    return value if math.isfinite(value) else 0.0

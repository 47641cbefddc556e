"""Writes fields of bits, most significant bit first, as MPEG and FLAC have them."""

from __future__ import annotations


class Bits:
    """A string of bits that grows."""

    def __init__(self) -> None:
        self._value = 0
        self._size = 0

    def __len__(self) -> int:
        """In bits."""
        return self._size

    def add(self, value: int, width: int) -> None:
        """A field of `width` bits."""
        self._value = self._value << width | value
        self._size += width

    def padded(self) -> bytes:
        """All of it, filled up with zeros to whole bytes."""
        missing = -self._size % 8
        return (self._value << missing).to_bytes((self._size + missing) // 8, "big")

"""Standard input and output as a child process uses them."""

from __future__ import annotations

import os

STDIN, STDOUT, STDERR = 0, 1, 2


def exactly(size: int) -> bytes:
    """So many bytes of the input; fewer at its end."""
    data = bytearray()
    while len(data) < size and (more := os.read(STDIN, size - len(data))):
        data += more
    return bytes(data)


def write(descriptor: int, data: bytes) -> None:
    """All of it."""
    while data:
        data = data[os.write(descriptor, data) :]

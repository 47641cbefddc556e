"""gzip (RFC 1952) of texts that are mostly what they were a moment ago, such as playlists of an hour: each piece is
deflated once (RFC 1951) and kept.

A piece is deflated by itself and ends on a byte (a full flush), so any sequence of pieces is one stream.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = bytes.fromhex("1f8b 08 00 00000000 00 ff")  # deflate, no flags, no time, no system

_END = bytes.fromhex("03 00")  # an empty last block

LEVEL = 6


@dataclass(frozen=True)
class Piece:
    """A part of a text."""

    data: bytes

    @cached_property
    def deflated(self) -> bytes:
        """Made when it is first wanted."""
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        return compressor.compress(self.data) + compressor.flush(zlib.Z_FULL_FLUSH)


def gzipped(pieces: Sequence[Piece]) -> bytes:
    """All of them, one behind the other."""
    checksum = size = 0
    for each in pieces:
        checksum = zlib.crc32(each.data, checksum)
        size += len(each.data)
    trailer = checksum.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
    return b"".join((_HEAD, *(each.deflated for each in pieces), _END, trailer))

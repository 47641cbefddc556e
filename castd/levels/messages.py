"""What the server and the process that decodes say to each other: a length in four bytes, then msgpack.

The server believes no more of an answer than its types: a hostile stream may have taken over who wrote it.
"""

from __future__ import annotations

import struct

import msgspec

LENGTH = struct.Struct("!I")

ANSWER_BYTES = 4096
"""Longest answer; a sentence and some numbers."""


class Piece(msgspec.Struct, tag=True, array_like=True):
    """What a source sent next.

    Attributes:
        source: its id.
        format: how it is framed, as castd.mount.shape.Shape has it.
        begins: nothing of what was told of this source before belongs to it.
        data: whole frames or pages, after headers where the format has some. Untrusted.
    """

    source: int
    format: str
    begins: bool
    data: bytes


class Gone(msgspec.Struct, tag=True, array_like=True):
    """A source that nobody listens to any more."""

    source: int


class Heard(msgspec.Struct, array_like=True):
    """The answer to a question; all its fields are about a piece.

    Attributes:
        seconds: of audio in it that were decoded; 0 where it completed no frame.
        level_dbfs, peak_dbfs: of these, see castd.mount.sound; None: not digital silence, and more cannot be told.
        trouble: why nothing of this source can be decoded; "" where it can.
    """

    seconds: float = 0.0
    level_dbfs: float | None = None
    peak_dbfs: float | None = None
    trouble: str = ""


Question = Piece | Gone

_encoder = msgspec.msgpack.Encoder()
read_question = msgspec.msgpack.Decoder(Question).decode
read_answer = msgspec.msgpack.Decoder(Heard).decode


def written(message: Question | Heard) -> bytes:
    """A message as it goes through the pipe."""
    data = _encoder.encode(message)
    return LENGTH.pack(len(data)) + data

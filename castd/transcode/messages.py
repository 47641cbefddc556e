"""What the server and a process that encodes say to each other: a length in four bytes, then msgpack.

The server believes no more of an answer than its types, and frames the bytes as those of any encoder: a hostile stream
may have taken over who wrote them.
"""

from __future__ import annotations

import msgspec

from castd.levels.messages import LENGTH

ANSWER_BYTES = 16 * 1024 * 1024
"""Longest answer: what came while the process was late, at the highest bitrate; seconds are far less."""


class Begin(msgspec.Struct, tag=True, array_like=True):
    """What to encode; the first question.

    Attributes:
        codec: a key of castd.transcode.encoding.CODECS.
        bitrate: in bit/s.
        sample_rate: in Hz, that players of the mount are set up for; 0 for that of the source, where the codec has it.
    """

    codec: str
    bitrate: int
    sample_rate: int


class Piece(msgspec.Struct, tag=True, array_like=True):
    """What the source sent next.

    Attributes:
        format: how it is framed, as castd.mount.shape.Shape has it.
        begins: a new decoder has to begin with it.
        start: media time of its first sample, in seconds.
        data: whole frames or pages, after headers where the format has some. Untrusted.
    """

    format: str
    begins: bool
    start: float
    data: bytes


class Finish(msgspec.Struct, tag=True, array_like=True):
    """Nothing comes any more: what the encoder still holds is wanted."""


class Encoded(msgspec.Struct, array_like=True):
    """The answer to a question.

    Attributes:
        data: whole frames or pages; b"" where none is complete yet.
        start, end: media times of its first sample, and after its last one, in seconds. Their difference is how long it
            lasts; where audio is missing, an answer begins later than the last one ended.
        trouble: why nothing of the source can be decoded; "" where it can.
    """

    data: bytes = b""
    start: float = 0.0
    end: float = 0.0
    trouble: str = ""


Question = Begin | Piece | Finish

_encoder = msgspec.msgpack.Encoder()
read_question = msgspec.msgpack.Decoder(Question).decode
read_answer = msgspec.msgpack.Decoder(Encoded).decode


def written(message: Question | Encoded) -> bytes:
    """A message as it goes through the pipe."""
    data = _encoder.encode(message)
    return LENGTH.pack(len(data)) + data

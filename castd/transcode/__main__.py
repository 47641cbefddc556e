"""The process that encodes: python -m castd.transcode, its questions on standard input, its answers on standard output.

It ends with its input, that is with the server, and is killed by its own alarm if a codec hangs.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from castd.errors import FramingError
from castd.levels import pyav
from castd.levels.confine import confine
from castd.levels.messages import LENGTH
from castd.levels.pipes import STDERR, STDOUT, exactly, write
from castd.transcode.decoding import Undecodable, decoder
from castd.transcode.encoding import Encoder
from castd.transcode.messages import Begin, Encoded, Finish, Piece, read_question, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from castd.transcode.decoding import Decoder
    from castd.transcode.encoding import Unit

HANG_SECONDS = 30
"""For one question: ten seconds' audio takes half a second. The server waits for less."""


BARREN_SECONDS = 5.0
"""Of media time, in which not one frame of sound was found, until that is said."""


class Transcoder:
    """From one stream to another.

    Args:
        module: the package av.
    """

    def __init__(self, module: Any, begin: Begin) -> None:
        self._module = module
        self._decoder: Decoder | None = None
        self._sounded: float | None = None  # media time
        self._encoder = Encoder(module, begin.codec, begin.bitrate, begin.sample_rate)

    def take(self, piece: Piece) -> Encoded:
        """Encode what comes next."""
        if piece.begins or self._decoder is None:
            self._decoder = decoder(self._module, piece.format)
        self._encoder.at(piece.start)
        units: list[Unit] = []
        trouble = ""
        try:
            if piece.begins or self._sounded is None:
                self._sounded = piece.start
            for frame in self._decoder.decode(piece.data):
                self._sounded = piece.start
                units += self._encoder.encode(frame)
            if piece.start - self._sounded > BARREN_SECONDS:
                trouble = "its frames are damaged, or no sound"
        except (Undecodable, FramingError) as error:
            self._decoder, trouble = None, str(error)
        return _answer(units, trouble)

    def finish(self) -> Encoded:
        """What the encoder still holds."""
        return _answer(list(self._encoder.finish()))


def _answer(units: Sequence[Unit], trouble: str = "") -> Encoded:
    if not units:
        return Encoded(trouble=trouble)
    end = units[-1].end
    return Encoded(b"".join(each.data for each in units), end - sum(each.seconds for each in units), end, trouble)


def main() -> None:
    """Answer until there are no more questions."""
    answers = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)  # what a library prints is no answer
    module = pyav.load()
    confine()
    transcoder: Transcoder | None = None
    while head := exactly(LENGTH.size):
        question = read_question(exactly(LENGTH.unpack(head)[0]))
        signal.alarm(HANG_SECONDS)
        encoded = Encoded()
        if isinstance(question, Begin):
            transcoder = Transcoder(module, question)
        elif transcoder is not None:
            encoded = transcoder.finish() if isinstance(question, Finish) else transcoder.take(question)
        write(answers, written(encoded))
        signal.alarm(0)


if __name__ == "__main__":
    main()

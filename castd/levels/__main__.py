"""The process that decodes: python -m castd.levels, its questions on standard input, its answers on standard output.

It ends with its input, that is with the server, and is killed by its own alarm if a decoder hangs; so it never outlives
the server for long, whatever becomes of that.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from castd.levels.confine import confine
from castd.levels.decoders import Libraries
from castd.levels.messages import LENGTH, Gone, Heard, read_question, written
from castd.levels.pipes import STDERR, STDOUT, exactly, write

if TYPE_CHECKING:
    from castd.levels.decoders import Stream

HANG_SECONDS = 20
"""For one question: a second's audio takes some milliseconds. The server waits for less."""


def main() -> None:
    """Answer until there are no more questions."""
    answers = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)  # what a library prints is no answer
    libraries = Libraries()
    confine()
    streams: dict[int, Stream] = {}
    while head := exactly(LENGTH.size):
        question = read_question(exactly(LENGTH.unpack(head)[0]))
        if isinstance(question, Gone):
            streams.pop(question.source, None)
            write(answers, written(Heard()))
            continue
        signal.alarm(HANG_SECONDS)
        if question.begins or question.source not in streams:
            streams[question.source] = libraries.stream(question.format)
        try:
            heard = streams[question.source].hear(question.data)
        except Exception as error:
            # a decoder that a stream brought out of step begins anew with what comes next
            streams.pop(question.source)
            heard = Heard(trouble=f"{type(error).__name__}: {error}"[:200])
        write(answers, written(heard))
        signal.alarm(0)


if __name__ == "__main__":
    main()

"""Silence in the codec of a stream, for players to go on with while nothing comes.

It is made to be about as many bytes a second as the stream was: Chromium hands its decoder whole blocks of 32 KiB, and
with the 2 kbit/s that silent Opus needs would stand still for two minutes before it heard of the next of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd.wire.silent_frames import SilentAdts, SilentMpeg
from castd.wire.silent_ogg import SilentOgg
from castd.wire.unmakeable import Unmakeable

if TYPE_CHECKING:
    from typing import Protocol

    from castd.wire.framer import Head

    class Silence(Protocol):
        """Silence without end.

        Attributes:
            start: what a decoder needs before it; b"" for nothing.
            seconds: how long each piece lasts.
        """

        @property
        def start(self) -> bytes: ...

        @property
        def seconds(self) -> float: ...

        def next(self) -> bytes:
            """The next whole frames, or the next page."""
            ...


def silence_after(form: str, head: Head | None, frame: bytes, bitrate: int, serial: int) -> Silence:
    """Silence that a decoder of a stream can go on with.

    Args:
        form: how its bytes are framed, as castd.wire.sniff.Recognised has it.
        head: the headers that were in force, where it has some.
        frame: the first bytes of one of its frames, where it has none; at least a frame header.
        bitrate: of the stream, in bit/s; 0 if unknown.
        serial: for an Ogg stream: no other in the chain may have it.

    Raises:
        Unmakeable: castd knows no silence in this format; the message completes "it ...".
    """
    if form == "mpeg":
        return SilentMpeg(frame, bitrate)
    if form == "aac":
        return SilentAdts(frame, bitrate)
    if form == "ogg":
        return SilentOgg(head, bitrate, serial)
    raise Unmakeable(f"is {form or 'of no known format'}")

"""What a source really sends: its Content-Type is heard first, but the bytes decide.

Encoders declare MP3 and send AAC, or say `audio/ogg` for everything in Ogg (quirks 24, 25). The framer of the declared
type is tried as the bytes come; if it finds nothing, the others are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from castd.wire import content_types
from castd.wire.adts import AdtsFramer
from castd.wire.framer import Opaque
from castd.wire.mpeg_audio import MpegAudioFramer
from castd.wire.ogg import OggFramer
from castd.wire.webm import MARK, WebmFramer

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.wire.framer import Framer, Run

PATIENCE_BYTES = 16 * 1024
"""Bytes after which the declared type is doubted: a dozen of the largest frames. Ogg pages may be four times as large,
but begin with a capture pattern that settles it at once."""


class Format(NamedTuple):
    """A way to frame."""

    name: str
    framer: Callable[[], Framer]
    types: tuple[str, ...]
    """Content types that mean it; the first is what listeners are told if the source declared something else."""
    mark: bytes = b""
    """How every stream of it begins, and no other."""


FORMATS = (
    Format("ogg", OggFramer, content_types.OGG, b"OggS"),
    Format("mpeg", MpegAudioFramer, content_types.MPEG),
    Format("aac", AdtsFramer, content_types.AAC),
    Format("webm", WebmFramer, content_types.WEBM, MARK),
)

_OTHERS = (b"fLaC", b"RIFF")
"""Starts of native FLAC and WAV streams: recognised so far as to know that none of the above will fit."""


class Recognised(NamedTuple):
    """The verdict, and what its framer made of the bytes so far.

    Attributes:
        format: "ogg", "mpeg", "aac", "webm", or the content type itself where castd does not know how to frame it.
        content_type: for listeners.
    """

    format: str
    content_type: str
    framer: Framer
    runs: list[Run]


class Sniffer:
    """Finds out one source's format.

    Args:
        declared: content type the source sent: lower case, without parameters, "" if none.
    """

    def __init__(self, declared: str) -> None:
        self._declared = declared
        self._expected = next((each for each in FORMATS if declared in each.types), None)
        self._trial = self._expected.framer() if self._expected else None
        self._seen = b""

    @property
    def unread(self) -> bytes:
        """All it was fed: there is no verdict yet."""
        return self._seen

    def feed(self, data: bytes) -> Recognised | None:
        """Take the first bytes of the stream; the verdict once there is one.

        Raises:
            FramingError: see Framer.feed.
        """
        self._seen += data
        for each in FORMATS:
            if each.mark and self._seen.startswith(each.mark):
                return self._as(each)
        if self._trial is not None and self._expected is not None:
            runs = self._trial.feed(data)
            if runs:
                return Recognised(self._expected.name, self._declared, self._trial, runs)
        if len(self._seen) >= PATIENCE_BYTES or self._seen.startswith(_OTHERS):
            return self._decide()
        return None

    def finish(self) -> Recognised | None:
        """The source ended; the verdict on a stream too short to be sure of. None if it sent nothing."""
        return self._decide() if self._seen else None

    def _decide(self) -> Recognised:
        for each in FORMATS:
            if each is not self._expected and (found := self._as(each)).runs:
                return found
        if self._expected is not None and self._trial is not None:
            return Recognised(self._expected.name, self._declared, self._trial, [])
        content_type = self._declared or "application/octet-stream"
        opaque = Opaque()
        return Recognised(content_type, content_type, opaque, opaque.feed(self._seen))

    def _as(self, found: Format) -> Recognised:
        framer = found.framer()
        content_type = self._declared if self._declared in found.types else found.types[0]
        return Recognised(found.name, content_type, framer, framer.feed(self._seen))


def framer_of(name: str) -> Framer:
    """A new framer of a format, as Recognised has its name."""
    return next((each.framer for each in FORMATS if each.name == name), Opaque)()

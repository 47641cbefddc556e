"""What a decoder was set up for: whether a listener can go on with another stream in the middle of its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from castd.wire.framer import Head
    from castd.wire.sniff import Recognised


class Shape(NamedTuple):
    """What players cannot change on the way; bitrate and channels they can.

    Attributes:
        format: how the bytes are framed, such as "ogg" (see castd.wire.sniff); "" if unknown.
        codec: such as "mp3", "aac", "opus"; "" if unknown.
        sample_rate: in Hz; 0 if unknown.
    """

    format: str = ""
    codec: str = ""
    sample_rate: int = 0

    @property
    def has_heads(self) -> bool:
        """Decoders need headers before they can begin."""
        return self.format in ("ogg", "webm")

    def fits(self, other: Shape) -> bool:
        """Whether a player of the one can go on with the other. What is not known is no hindrance."""
        return all(mine == theirs or not mine or not theirs for mine, theirs in zip(self, other, strict=True))

    def with_head(self, head: Head) -> Shape:
        """As an Ogg stream's headers tell it."""
        return self._replace(codec=head.codec, sample_rate=head.sample_rate)

    def __str__(self) -> str:
        rate = f"{self.sample_rate} Hz" if self.sample_rate else ""
        words = (self.format if self.format != self.codec else "", self.codec, rate)
        return " ".join(word for word in words if word) or "unknown"


def recognised_shape(verdict: Recognised) -> Shape:
    """What the first frames tell; the codec of an Ogg stream is told by its headers, which may come later."""
    framer = verdict.framer
    return Shape(verdict.format, framer.codec if framer.codec != "unknown" else "", framer.sample_rate)

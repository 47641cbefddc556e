"""The headers of one link of an Ogg stream: which pages a decoder must have before it can start anywhere.

RFC 3533 §4: a link begins with a BOS page of each of its logical streams; then come the remaining header pages of all
of them; only then data. A chained stream is one link after another, and a BOS page after data begins the next.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from castd.errors import FramingError
from castd.wire.framer import Head
from castd.wire.ogg_codecs import COMMENT_INDEX, Codec, Theora, identify

if TYPE_CHECKING:
    from castd.wire.ogg_pages import Page

HEAD_BYTES = 1024 * 1024
"""Header pages of one link. Vorbis needs 4 KB; the rest is for cover art, which encoders put among the comments."""

LOGICAL_STREAMS = 16
"""Multiplexed in one link. Sound, picture, subtitles and an index of them make four."""


class _Stream:
    """The headers of one logical stream, as they come."""

    def __init__(self, bos: Page) -> None:
        self.codec = identify(next(iter(bos.packets()), b""))
        self.serial = bos.serial
        self.comment = b""
        self.complete = False
        self.identification = b""
        self.parameters = b""
        self._sequence = bos.sequence
        self._packets = 0
        self._unfinished = bytearray()

    @property
    def ready(self) -> bool:
        """Whether data may follow."""
        return self.complete or self.codec.open_ended

    def has_data(self, page: Page) -> bool:
        """Whether a page of this stream is past its headers."""
        return self.complete or (self.codec.open_ended and page.granule_position > 0)

    def gather(self, page: Page) -> bool:
        """Take the next header page; return False if it cannot be that, because one before it was lost."""
        if page.sequence != self._sequence or page.continued != bool(self._unfinished):
            return False
        self._sequence = (page.sequence + 1) & 0xFFFFFFFF
        pieces = page.packets()
        going_on = pieces.pop() if page.unfinished else b""
        for piece in pieces:
            self._unfinished += piece
            if not self._take(bytes(self._unfinished)):
                return False
            self._unfinished.clear()
        self._unfinished += going_on
        # a skeleton, open-ended otherwise, ends its headers with an EOS page
        self.complete |= self.codec.open_ended and page.eos
        return True

    def _take(self, packet: bytes) -> bool:
        if self.complete:
            return True  # data on the last header page: against the rules, and harmless
        if not self.codec.is_header(self._packets, packet):
            return False
        self.identification = self.identification or packet
        self.parameters += self.codec.parameters(self._packets, packet)
        if self._packets == COMMENT_INDEX and self.codec.audio:
            self.comment = packet
        self.complete = self.codec.is_last_header(self._packets, packet)
        self._packets += 1
        return True


class _State(enum.Enum):
    BOS = enum.auto()
    HEADERS = enum.auto()
    COMPLETE = enum.auto()
    LOST = enum.auto()


class Link:
    """One link, until its headers are complete or known to stay incomplete."""

    def __init__(self) -> None:
        self._state = _State.BOS
        self._streams: dict[int, _Stream] = {}
        self._pages: list[bytes] = []
        self._head_bytes = 0

    @property
    def gathering(self) -> bool:
        return self._state in (_State.BOS, _State.HEADERS)

    @property
    def complete(self) -> bool:
        """Otherwise, when gathering is over, a header page was lost and nobody can decode this link."""
        return self._state is _State.COMPLETE

    @property
    def _primary(self) -> _Stream | None:
        """The first stream with sound, or else the first."""
        streams = self._streams.values()
        return next((stream for stream in streams if stream.codec.audio), next(iter(streams), None))

    @property
    def codec(self) -> Codec:
        """Of the primary stream, whose time and entries count."""
        return self._primary.codec if self._primary else Codec()

    @property
    def serial(self) -> int | None:
        """Of the primary stream; None before there is any."""
        return self._primary.serial if self._primary else None

    @property
    def identification(self) -> bytes:
        """The first header packet of the primary stream."""
        return self._primary.identification if self._primary else b""

    @property
    def parameters(self) -> bytes:
        """Equal where a decoder that was set up for one link can go on with another; b"" if it can with none."""
        if len(self._streams) != 1 or self._primary is None or not self._primary.parameters:
            return b""
        return self._primary.codec.name.encode() + self._primary.parameters

    @property
    def pictures(self) -> int | None:
        """Serial of the first stream of pictures; None if there are none."""
        return next((each.serial for each in self._streams.values() if isinstance(each.codec, Theora)), None)

    def admits(self, bos: Page) -> bool:
        """Whether a BOS page belongs to this link rather than to the next."""
        return self._state is _State.BOS and bos.serial not in self._streams

    def gather(self, page: Page, data: bytes) -> bool:
        """Take a page, as long as `gathering`.

        Args:
            page: any page; a BOS page only if this link admits it.
            data: its bytes.

        Returns:
            Whether it is one of the headers. The page that ends them may be the last of them, or the first behind them.

        Raises:
            FramingError: there are too many streams, or their headers do not end.
        """
        if page.bos:
            if len(self._streams) == LOGICAL_STREAMS:
                raise FramingError(f"more than {LOGICAL_STREAMS} logical Ogg streams at once")
            self._streams[page.serial] = _Stream(page)
        stream = self._streams.get(page.serial)
        if stream is None:
            return False  # its BOS page was lost, so decoders will not look at it either
        if not page.bos:
            self._state = _State.HEADERS
        if stream.has_data(page):
            self._end(complete=all(other.ready for other in self._streams.values()))
            return False
        if not stream.gather(page):
            self._end(complete=False)
            return False
        self._pages.append(data)
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            raise FramingError(f"more than {HEAD_BYTES} bytes of Ogg headers")
        if not page.bos and all(other.complete for other in self._streams.values()):
            self._end(complete=True)
        return True

    def _end(self, *, complete: bool) -> None:
        self._state = _State.COMPLETE if complete else _State.LOST
        if not complete:
            self._pages.clear()

    def head(self) -> Head:
        """The headers, once complete."""
        codec = self.codec
        name = codec.name if codec.audio else "unknown"
        comment = self._primary.comment if self._primary else b""
        return Head(b"".join(self._pages), name, codec.sample_rate, codec.channels, comment)

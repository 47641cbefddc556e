"""Frame synchronisation for formats whose frames begin with a header that gives their length: MPEG audio and ADTS.

Neither format escapes its sync word inside a payload nor checks its headers with a code one could rely on, so a header
is believed for the company it keeps: *the chain*. A frame is returned as soon as a header of the same kind (version,
layer, sample rate) stands at its end, and nothing more of the next frame is waited for.

Where the chain breaks, either the frame in hand or the header after it may be the damaged one. The synchroniser then:

1. finds the next place where `CHAIN` headers of one kind stand in a row, first where undamaged frames would have put
   it, then by searching. This is also how it starts, and how it follows a source that changes its sample rate;
2. goes over the gap before it, now knowing what headers look like on either side, and returns the frames whose end is
   credible: another header, a tag, the chain itself, or *a header of this kind with one byte damaged*. The rest is
   skipped.

So one damaged byte costs at most the frame it is in. What was inserted between two frames and is no tag costs the
frame before it as well: that frame cannot be told from one whose length is damaged.

Tags between frames are skipped by counting; only an ID3v2 tag of bounded size is kept meanwhile, for what it says of
the song. A chain found inside what a tag claims ends it, so that a wrong size hides no audio.

Every decision depends on the bytes alone, never on how they were cut: short of bytes, the synchroniser waits.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

from castd.wire.frame_header import FrameFormat, Header
from castd.wire.frame_runs import RunBuilder
from castd.wire.frame_tags import tag_bytes

if TYPE_CHECKING:
    from castd.wire.framer import Run

TAG_BYTES = 1536 * 1024
"""The largest ID3v2 tag kept: one with a picture of castd.wire.picture.PICTURE_BYTES."""

CHAIN = 3
"""Headers in a row that make a chain. Two turn up by chance about once in half a gigabyte of noise, three never."""


class FrameSync(FrameFormat):
    """A Framer for one such format; the subclass says which.

    Media time counts the frames returned: one that was damaged and dropped takes no time.

    Attributes:
        skipped_bytes, tag_bytes: see castd.wire.framer.Framer.
    """

    def __init__(self) -> None:
        self.skipped_bytes = 0
        self.tag_bytes = 0
        self._last: Header | None = None
        self._steady_bitrate = 0  # of all frames so far; 0 if there were several, or no frame
        self._runs = RunBuilder()
        self._buffer = bytearray()
        self._wanted = 0  # nothing can be decided before the buffer is this long
        self._ending = False
        self._at = 0  # everything before is returned or skipped
        self._header: Header | None = None  # of the frame at _at while the chain holds
        self._kind = 0  # of the last chain
        self._guesses: list[int] = []  # where, counted from _at, the chain may go on; the likeliest last
        self._scan = 0  # no chain begins before this
        self._tag_left = 0  # bytes that the tag at _at still claims
        self._boundary = True  # _at is where a tag may begin
        self._tag = bytearray()  # of an ID3v2 tag, what came of it
        self._whole_tag = b""  # the last one, until a run takes it along

    def is_audio(self, data: bytearray, at: int, header: Header) -> bool:
        """Whether the frame carries sound, not a table for seeking in files."""
        return True

    @property
    @abstractmethod
    def codec(self) -> str:
        """As in castd.wire.framer.Framer."""

    @property
    def sample_rate(self) -> int:
        """Of the last frame returned, in Hz; 0 before the first."""
        return self._last.sample_rate if self._last else 0

    @property
    def unread(self) -> bytes:
        """See castd.wire.framer.Framer."""
        return bytes(self._buffer)

    @property
    def channels(self) -> int:
        """Of the last frame returned; 0 before the first, or if its header does not say."""
        return self._last.channels if self._last else 0

    @property
    def bitrate(self) -> int:
        """Of the last frame returned, in bit/s; 0 before the first."""
        return self._last.bitrate if self._last else 0

    @property
    def variable_bitrate(self) -> bool:
        """Whether frames of different bitrates were returned."""
        return self._last is not None and not self._steady_bitrate

    def feed(self, data: bytes) -> list[Run]:
        """Take the next bytes of the stream, cut anywhere; see castd.wire.framer.Framer.feed."""
        self._buffer += data
        return self._advance() if len(self._buffer) >= self._wanted else []

    def finish(self) -> list[Run]:
        """Return what was complete at the end of the stream; a frame that ends with it needs no next header."""
        self._ending = True
        return self._advance()

    def _advance(self) -> list[Run]:
        while self._header is not None or self._find_chain():
            if not self._follow_chain():
                break
        runs = self._runs.take(self._buffer)
        if runs and self._whole_tag:
            runs[0] = replace(runs[0], tag=self._whole_tag)
            self._whole_tag = b""
        del self._buffer[: self._at]
        self._scan -= self._at
        self._wanted -= self._at
        self._at = 0
        return runs

    def _follow_chain(self) -> bool:
        """Return the frames from _at on for as long as the chain holds; False if it waits for more bytes."""
        buffer, at, header = self._buffer, self._at, self._header
        assert header is not None
        kind = header.kind
        last_header = len(buffer) - self.HEADER_BYTES
        while (end := at + header.length) <= last_header:
            following = self.read_header(buffer, end)
            if following is None or following.kind != kind:
                break
            if header.bitrate != self._steady_bitrate and not self._trust_change(at, header):
                break
            self._return(at, header)
            at, header = end, following
        self._at, self._header, self._wanted = at, header, end + self.HEADER_BYTES
        if end > last_header and not self._ending:
            return False
        # Either this frame or the next is damaged, and most streams have frames of one length, but for padding.
        usual = self._last.length if self._last else header.length
        self._guesses = [base + usual + off for base in (header.length, 0) for off in (-1, 1, 0)]
        self._header, self._scan = None, at + 1
        return True

    def _find_chain(self) -> bool:
        """Find the next chain and settle the gap before it; False if there is none in the buffer yet."""
        found = self._next_chain()
        if found is None:
            # A gap worth going over holds at most the CHAIN - 1 frames before a damaged one, and that one.
            reach = self._scan - CHAIN * self.MAX_FRAME_BYTES
            self._settle(len(self._buffer) if self._ending else reach, len(self._buffer), self._kind)
            return False
        header = self.read_header(self._buffer, found)
        assert header is not None
        self._settle(found, found, header.kind)
        self._header, self._kind = header, header.kind
        self._tag_left, self._boundary = 0, True
        self._tag.clear()
        return True

    def _next_chain(self) -> int | None:
        while self._guesses:
            at = self._at + self._guesses[-1]
            if (chained := self._is_chain(at, self._kind)) is None:
                return None
            if chained:
                self._guesses.clear()
                return at
            self._guesses.pop()
        while (at := self._buffer.find(0xFF, self._scan)) >= 0:
            self._scan = at
            if (chained := self._is_chain(at)) is None:
                return None
            if chained:
                return at
            self._scan = at + 1
        self._scan = len(self._buffer)
        self._wanted = 0
        return None

    def _is_chain(self, at: int, kind: int = 0) -> bool | None:
        """Whether CHAIN headers of this or any one kind stand in a row (at the end of the stream, two); None: wait."""
        for count in range(CHAIN):
            if at + self.HEADER_BYTES > len(self._buffer):
                self._wanted = at + self.HEADER_BYTES
                return count >= 2 if self._ending else None
            header = self.read_header(self._buffer, at)
            if header is None or header.kind != (kind or header.kind):
                return False
            kind = header.kind
            at += header.length
        return True

    def _settle(self, upto: int, stop: int, kind: int) -> None:
        """Go over the gap from _at to `upto`: return the frames of this or the last kind that end well, skip the rest.

        Args:
            upto: where to stop deciding; the bytes from here on may yet turn out to be a chain.
            stop: where the chain or the end of the stream stands; no frame reaches over it.
        """
        while self._at < upto:
            at = self._at
            if self._boundary:
                self._tag_left = tag_bytes(self._buffer, at)
                self._boundary = False
            if self._tag_left:
                size = min(self._tag_left, upto - at)
                self._keep_tag(at, size)
                self._tag_left -= size
                self._boundary = not self._tag_left
                self._skip(size, tag=True)
                continue
            if at + self.HEADER_BYTES <= len(self._buffer):
                header = self.read_header(self._buffer, at)
                if header is not None and header.kind in (kind, self._kind) and self._is_whole(at, header, stop):
                    self._return(at, header)
                    self._at, self._boundary = at + header.length, True
                    continue
            candidate = self._buffer.find(0xFF, at + 1, upto)
            self._skip((candidate if candidate >= 0 else upto) - at)

    def _keep_tag(self, at: int, size: int) -> None:
        """Gather the next bytes of the tag in hand, if it is one to keep."""
        if self._tag or (self._buffer.startswith(b"ID3", at) and self._tag_left <= TAG_BYTES):
            self._tag += self._buffer[at : at + size]
            if size == self._tag_left:
                self._whole_tag = bytes(self._tag)
                self._tag.clear()

    def _trust_change(self, at: int, header: Header) -> bool:
        """Whether to believe a bitrate, hence a length, unlike that of all frames before; a header stands at its end.

        In a stream that had one bitrate so far that header must agree with this one in more than its kind: a wrong
        length may lead to what looks like a header in a payload, and seldom does a stream change.
        """
        if self._steady_bitrate and not self.agree(self._buffer, at, at + header.length):
            return False
        return not self.swallows(self._buffer, at, header)

    def _is_whole(self, at: int, header: Header, stop: int) -> bool:
        """Whether what stands in this frame and at its end shows that its length is right."""
        data, end = self._buffer, at + header.length
        if not self.ends_well(data, at, header, stop):
            return False
        if header.bitrate == self._steady_bitrate or self._trust_change(at, header):
            return True
        following = self.read_header(data, end) if end + self.HEADER_BYTES <= stop else None
        if following is not None and following.kind == header.kind and not self.ends_well(data, end, following, stop):
            return False  # a header that leads nowhere, after a frame whose length is new
        return not self.swallows(data, at, header)

    def _return(self, at: int, header: Header) -> None:
        if not self.is_audio(self._buffer, at, header):
            self.skipped_bytes += header.length
            self.tag_bytes += header.length
            return
        if self._last is None:
            self._steady_bitrate = header.bitrate
        elif header.bitrate != self._last.bitrate:
            self._steady_bitrate = 0
        self._last = header
        self._runs.add(self._buffer, at, header.length, header.ticks)

    def _skip(self, size: int, *, tag: bool = False) -> None:
        self._at += size
        self.skipped_bytes += size
        if tag:
            self.tag_bytes += size

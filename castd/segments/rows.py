"""Rows of playlists that do not change any more, made once: a playlist of an hour has 900 of them, and there is another
playlist with each part.

They are kept in blocks, each deflated once, so that neither making a playlist nor its gzip takes longer for an hour
than for a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd.wire.gzip_pieces import Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from castd.segments.segment import Segment

BLOCK = 64
"""Segments of successive numbers, from a multiple of it on."""


class Rows:
    """Those of one session of segments."""

    def __init__(self) -> None:
        self._rows: dict[int, bytes] = {}
        self._pieces: dict[tuple[int, int], Piece] = {}

    def pieces(self, segments: Sequence[Segment], upto: int, write: Callable[[Segment, Segment], bytes]) -> list[Piece]:
        """The rows of complete segments that are listed without parts, from the second on.

        Args:
            segments: successive ones.
            upto: how many of them.
            write: makes the row of a segment, given the one before it; called once for each.
        """
        if upto < 2:
            return []
        first, end = segments[1].number, segments[0].number + upto
        for number in [each for each in self._rows if each < first]:
            del self._rows[number]
        made: dict[tuple[int, int], Piece] = {}
        at = first
        while at < end:
            stop = min(end, (at // BLOCK + 1) * BLOCK)
            made[at, stop] = self._pieces.get((at, stop)) or Piece(self._joined(segments, at, stop, write))
            at = stop
        self._pieces = made
        return list(made.values())

    def _joined(
        self, segments: Sequence[Segment], start: int, stop: int, write: Callable[[Segment, Segment], bytes]
    ) -> bytes:
        first = segments[0].number
        for number in range(start, stop):
            if number not in self._rows:
                self._rows[number] = write(segments[number - first], segments[number - first - 1])
        return b"".join(self._rows[number] for number in range(start, stop))

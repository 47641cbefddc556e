"""A segmenter's state as playlists, made once for each state and kept until it changes.

What draft-pantos-hls-rfc8216bis ("bis") demands of a playlist and of one after another is kept here; tests/hls.py
checks it.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from math import ceil
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from castd.errors import ClientError
from castd.segments.segment import init_name, part_name, segment_name
from castd.wire import m3u8
from castd.wire.gzip_pieces import Piece, gzipped

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from castd.segments.changes import Place
    from castd.segments.segment import Segment
    from castd.segments.segmenter import Segmenter
    from castd.segments.title_marks import TitleMark

TITLES = "castd.title"
"""CLASS of the date ranges that tell titles."""

MEDIA = "audio.m3u8"
"""The media playlist, beside the multivariant one."""

HOLD_BACK_TARGETS = 3
"""The least that bis §4.4.3.8 allows for HOLD-BACK, and what it asks for where there is PART-HOLD-BACK."""

SKIP_TARGETS = 6
"""Likewise for CAN-SKIP-UNTIL."""

PARTS_TARGETS = 3
"""Target durations from the end within which parts are listed (bis §6.2.2)."""

BLOCK_TARGETS = 3
"""Target durations for which a request may wait (bis §6.2.5.2)."""

HEADROOM = 1.1
"""BANDWIDTH is what no segment may exceed: that of the fattest so far, and a tenth."""


@dataclass(frozen=True)
class Text:
    """A text that many get.

    Attributes:
        etag: without quotes.
        pieces: that it consists of, where most of them were there before.
    """

    data: bytes
    etag: str
    pieces: tuple[Piece, ...] = ()

    @cached_property
    def compressed(self) -> bytes:
        """By gzip; made when it is first wanted."""
        return gzipped(self.pieces) if self.pieces else gzip.compress(self.data, 6, mtime=0)


def text_of(data: bytes, pieces: tuple[Piece, ...] = ()) -> Text:
    """A text with the tag that belongs to it."""
    return Text(data, blake2b(data, digest_size=12).hexdigest(), pieces)


_Texts: TypeAlias = "WeakKeyDictionary[Segmenter, tuple[object, dict[Hashable, Text]]]"


class Kept:
    """Texts made of segmenters, as long as these do not change."""

    def __init__(self) -> None:
        self._of_version: _Texts = WeakKeyDictionary()
        self._of_listing: _Texts = WeakKeyDictionary()

    def get(self, segmenter: Segmenter, key: Hashable, make: Callable[[], bytes | Text], *, parts: bool = True) -> Text:
        """The text of a key; made if there is none of this state.

        Args:
            parts: it changes with each of these; else with complete segments only.
        """
        kept = self._of_version if parts else self._of_listing
        state: object = segmenter.version if parts else segmenter.held.listing
        before, texts = kept.get(segmenter, (None, {}))
        if before != state:
            texts = {}
            kept[segmenter] = state, texts
        if key not in texts:
            made = make()
            texts[key] = made if isinstance(made, Text) else text_of(made)
        return texts[key]


def bandwidths(segments: list[Segment]) -> tuple[int, int]:
    """Peak and average, in bit/s, of complete segments; at least one."""
    peak = max(each.size * 8 / each.seconds for each in segments)
    average = sum(each.size for each in segments) * 8 / sum(each.seconds for each in segments)
    return ceil(peak * HEADROOM), ceil(average)


def variant(segmenter: Segmenter, folder: str, query: str) -> m3u8.Variant:
    """What a multivariant playlist tells of a mount; there must be a segment.

    Args:
        folder: of the media playlist, as the URL leads there.
        query: of its URL, with its question mark.
    """
    listed = segmenter.listed
    peak, average = segmenter.held.of_listing(bandwidths)
    return m3u8.Variant(f"{folder}{MEDIA}{query}", peak, average, listed[-1].period.track.codecs)


def multivariant(segmenter: Segmenter, query: str) -> bytes:
    """The multivariant playlist of a mount; there must be a segment.

    Args:
        query: of the media playlist's URL, with its question mark.
    """
    return m3u8.write_multivariant([variant(segmenter, "", query)])


def media(segmenter: Segmenter, *, skip: bool) -> bytes:
    """The media playlist; see media_text."""
    return media_text(segmenter, skip=skip).data


def media_text(segmenter: Segmenter, *, skip: bool, reports: Sequence[m3u8.Report] = ()) -> Text:
    """The media playlist; there must be a segment.

    Args:
        skip: leave out what the asking player has, as far as that is allowed.
        reports: of other variants.
    """
    listed, low_latency = segmenter.listed, segmenter.low_latency
    shown = [*listed, *([segmenter.open] if low_latency and segmenter.open and segmenter.open.parts else [])]
    with_parts = _recent(shown, PARTS_TARGETS * segmenter.target) if low_latency else len(shown)
    skipped = _recent(shown, SKIP_TARGETS * segmenter.target, at_least=True) if skip and low_latency else 0
    playlist = m3u8.Media(
        target=segmenter.target,
        sequence=listed[0].number,
        discontinuity_sequence=listed[0].period.number,
        segments=(),
        skipped=skipped,
        low_latency=_low_latency(segmenter) if low_latency else None,
        ranges=[_range(each) for each in segmenter.titles.since(listed[0].wall)],
        reports=reports if low_latency else (),
    )
    settled: list[Piece] = []
    following = skipped
    first = b""
    if not skipped:
        first = _row(segmenter, listed[0], None, parts=not with_parts)
        settled = segmenter.rows.pieces(
            shown, with_parts, lambda each, before: _row(segmenter, each, before, parts=False)
        )
        following = max(1, with_parts)
    recent = [_row(segmenter, shown[at], shown[at - 1], parts=at >= with_parts) for at in range(following, len(shown))]
    head, end = m3u8.write_head(playlist) + first, b"".join([*recent, m3u8.write_end(playlist)])
    pieces = (Piece(head), *settled, Piece(end))
    return text_of(b"".join(each.data for each in pieces), pieces)


def _recent(shown: list[Segment], seconds: float, *, at_least: bool = False) -> int:
    """The place of the first segment of which the end is not more than some seconds before that of the playlist; with
    `at_least`, nor as many."""
    behind, at = 0.0, len(shown)
    while at and (behind < seconds or (behind == seconds and not at_least)):
        at -= 1
        behind += shown[at].seconds
    return at


def _row(segmenter: Segmenter, segment: Segment, before: Segment | None, *, parts: bool) -> bytes:
    """The row of a segment.

    Args:
        before: the segment before it; None for the first of a playlist.
        parts: tell them.
    """
    period, session = segment.period, segmenter.session
    kind = segmenter.muxer.kind if segmenter.muxer else "m4s"
    new = before is None or before.period is not period
    row = m3u8.Segment(
        uri=segment_name(session, segment.number, kind) if segment.complete else "",
        seconds=segment.seconds,
        date=segment.wall,
        discontinuities=period.number - before.period.number if before is not None else 0,
        map_uri=init_name(session, period.number) if new and period.init else "",
        parts=tuple(
            m3u8.Part(part_name(session, segment.number, number), period.seconds(part.samples))
            for number, part in enumerate(segment.parts)
        )
        if parts
        else (),
    )
    return m3u8.write_rows([row])


def _low_latency(segmenter: Segmenter) -> m3u8.LowLatency:
    number, part = segmenter.next_part
    return m3u8.LowLatency(
        part_target=segmenter.part_target,
        part_hold_back=HOLD_BACK_TARGETS * segmenter.part_target,
        hold_back=HOLD_BACK_TARGETS * segmenter.target,
        can_skip_until=SKIP_TARGETS * segmenter.target,
        preload=part_name(segmenter.session, number, part),
    )


def _range(mark: TitleMark) -> m3u8.DateRange:
    return m3u8.DateRange(f"{mark.id:08x}", TITLES, mark.date, mark.attributes)


def place(number: int, part: int | None) -> Place:
    """Where a segmenter has made a segment or part, as castd.segments.changes counts it."""
    return (number + 1, 0) if part is None else (number, part + 1)


def newest(segmenter: Segmenter) -> tuple[int, int | None]:
    """The last segment in the playlist, and its last part, if it has any."""
    segment = segmenter.open if segmenter.open and segmenter.open.parts else segmenter.listed[-1]
    return segment.number, len(segment.parts) - 1 if segmenter.low_latency and segment.parts else None


def has(segmenter: Segmenter, number: int, part: int | None) -> bool:
    """Whether the playlist has reached a segment or part (bis §6.2.5.2)."""
    segment = segmenter.find(number)
    if part is None:
        return number < segmenter.next_number
    if segment is not None and segment.complete and part >= len(segment.parts):
        number, part = number + 1, 0  # there are not so many: the first of the next is meant
    return (number, part) < segmenter.next_part


def require_near(segmenter: Segmenter, number: int, part: int | None) -> None:
    """See that a request may wait for what it asks for.

    Raises:
        ClientError: 400: it will not come soon (bis §6.2.5.2).
    """
    following, done = segmenter.next_part
    if number > following + 1:
        raise ClientError(400, "_HLS_msn is too far in the future")
    limit = ceil(3 / segmenter.part_target) if 0 < segmenter.part_target < 1 else 3
    if part is not None and number >= following and part > (done - 1 if number == following else 0) + limit:
        raise ClientError(400, "_HLS_part is too far in the future")

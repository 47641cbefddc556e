"""A segmenter's state as playlists, made once for each state and kept until it changes.

What draft-pantos-hls-rfc8216bis ("bis") demands of a playlist and of one after another is kept here; tests/hls.py
checks it.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from castd.delivery.segments import init_name, part_name, segment_name
from castd.errors import ClientError
from castd.wire import m3u8

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from castd.delivery.changes import Place
    from castd.delivery.segmenter import Segmenter
    from castd.delivery.segments import Segment
    from castd.delivery.title_marks import TitleMark

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
    """

    data: bytes
    etag: str

    @cached_property
    def compressed(self) -> bytes:
        """By gzip; made when it is first wanted."""
        return gzip.compress(self.data, 6, mtime=0)


def text_of(data: bytes) -> Text:
    """A text with the tag that belongs to it."""
    return Text(data, blake2b(data, digest_size=12).hexdigest())


class Kept:
    """Texts made of segmenters, as long as these do not change."""

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[Segmenter, tuple[int, dict[Hashable, Text]]] = WeakKeyDictionary()

    def get(self, segmenter: Segmenter, key: Hashable, make: Callable[[], bytes]) -> Text:
        """The text of a key; made if there is none of this state."""
        version, texts = self._made.get(segmenter, (-1, {}))
        if version != segmenter.version:
            texts = {}
            self._made[segmenter] = segmenter.version, texts
        if key not in texts:
            texts[key] = text_of(make())
        return texts[key]


def bandwidths(segments: list[Segment]) -> tuple[int, int]:
    """Peak and average, in bit/s, of complete segments; at least one."""
    peak = max(each.size * 8 / each.seconds for each in segments)
    average = sum(each.size for each in segments) * 8 / sum(each.seconds for each in segments)
    return ceil(peak * HEADROOM), ceil(average)


def multivariant(segmenter: Segmenter, query: str) -> bytes:
    """The multivariant playlist; there must be a segment.

    Args:
        query: of the media playlist's URL, with its question mark.
    """
    listed = segmenter.listed
    peak, average = bandwidths(listed)
    return m3u8.write_multivariant([m3u8.Variant(MEDIA + query, peak, average, listed[-1].period.track.codecs)])


def media(segmenter: Segmenter, *, skip: bool) -> bytes:
    """The media playlist; there must be a segment.

    Args:
        skip: leave out what the asking player has, as far as that is allowed.
    """
    listed, low_latency = segmenter.listed, segmenter.low_latency
    shown = [*listed, *([segmenter.open] if low_latency and segmenter.open and segmenter.open.parts else [])]
    lengths = [each.seconds for each in shown]
    behind = [*accumulate(reversed(lengths[1:]), initial=0.0)][::-1]  # seconds between its end and that of the playlist
    rows = []
    for at, segment in enumerate(shown):
        new = at == 0 or shown[at - 1].period is not segment.period
        recent = behind[at] <= PARTS_TARGETS * segmenter.target
        rows.append(_row(segmenter, segment, first=at == 0, new=new, parts=low_latency and recent))
    boundary = SKIP_TARGETS * segmenter.target
    skipped = sum(each >= boundary for each in behind) if skip and low_latency else 0
    return m3u8.write_media(
        m3u8.Media(
            target=segmenter.target,
            sequence=listed[0].number,
            discontinuity_sequence=listed[0].period.number,
            segments=rows,
            skipped=skipped,
            low_latency=_low_latency(segmenter) if low_latency else None,
            ranges=[_range(each) for each in segmenter.titles.since(listed[0].wall)],
        )
    )


def _row(segmenter: Segmenter, segment: Segment, *, first: bool, new: bool, parts: bool) -> m3u8.Segment:
    period, session = segment.period, segmenter.session
    kind = segmenter.muxer.kind if segmenter.muxer else "m4s"
    return m3u8.Segment(
        uri=segment_name(session, segment.number, kind) if segment.complete else "",
        seconds=segment.seconds,
        date=segment.wall,
        discontinuity=new and not first,
        map_uri=init_name(session, period.number) if new and period.init else "",
        parts=tuple(
            m3u8.Part(part_name(session, segment.number, number), period.seconds(part.samples))
            for number, part in enumerate(segment.parts)
        )
        if parts
        else (),
    )


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
    """Where a segmenter has made a segment or part, as castd.delivery.changes counts it."""
    return (number + 1, 0) if part is None else (number, part + 1)


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

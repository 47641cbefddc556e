"""The manifest of a group: mounts that count periods in unison (castd.segments.unison), as representations."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

from castd.adaptive import dash
from castd.errors import ClientError
from castd.http.messages import ANY_ORIGIN, quote_mount
from castd.wire import mpd
from castd.wire.fmp4 import ID3_SCHEME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from castd.segments.segment import Segment
    from castd.segments.segmenter import Segmenter
    from castd.segments.unison import Stretch

OVERLAP_SECONDS = 0.002
"""By which a segment must reach into a period, to be one of its."""


def manifest(name: str, segmenters: Sequence[Segmenter]) -> bytes:
    """The manifest of a group.

    Args:
        name: of the group.
        segmenters: of its mounts, the one that a player may begin with first; each has a segment, in MP4.

    Raises:
        ClientError: 404: these are no group any more, by a new configuration.
    """
    unison = segmenters[0].unison
    if unison is None:
        raise ClientError(404, "there is no such group any more", (ANY_ORIGIN,))
    unison.watch(segmenters[0].mount.clock.monotonic())
    listed = {each: each.listed for each in segmenters}
    newest = max(segments[-1].wall + segments[-1].seconds for segments in listed.values())
    stretches = [*unison.stretches]
    ends = [*(other.begun for _, other in pairwise(stretches)), inf]
    periods = [
        period
        for stretch, end in zip(stretches, ends, strict=True)
        if (period := _period(name, stretch, end, listed)) is not None
    ]
    seconds = segmenters[0].segment_seconds
    return mpd.write_mpd(
        mpd.Manifest(
            availability_start=0.0,
            publish_time=newest,
            minimum_update_period=seconds / 2,
            min_buffer_time=seconds,
            time_shift_buffer_depth=max(sum(each.seconds for each in segments) for segments in listed.values()),
            suggested_presentation_delay=dash.DELAY_SEGMENTS * seconds,
            max_segment_duration=max(each.seconds for segments in listed.values() for each in segments),
            utc_timing=dash.TIME,
            event_scheme=ID3_SCHEME,
            periods=periods,
        )
    )


def _period(name: str, stretch: Stretch, end: float, listed: dict[Segmenter, list[Segment]]) -> mpd.Period | None:
    """A stretch of the programme: the mounts that cover it. None if none does."""
    folder = "../" * (name.count("/") + 1)
    sets: dict[str, list[tuple[mpd.Representation, list[Segment]]]] = {}
    events: list[mpd.Event] = []
    for segmenter, segments in listed.items():
        inside = _inside(segments, stretch.begun, end)
        if not inside or segmenter.joined > stretch.number:
            continue
        if inside[-1] is not segments[-1] and _end(inside) < end - segmenter.segment_seconds:
            continue  # it was away before the end
        period = inside[-1].period
        rate, mount = period.track.sample_rate, segmenter.mount.name
        offset = round(stretch.begun * rate)
        where = f"{folder}{quote_mount(mount)[1:]}/dash/"
        sound = dash.representation(segmenter, period, inside, quote_mount(mount)[1:], offset, where)
        sets.setdefault(period.track.codec, []).append((sound, inside))
        if not events:
            heard = [mark for mark in segmenter.titles.since(inside[0].wall) if mark.date < min(end, _end(inside))]
            events = dash.events(heard, offset, rate)
    if not sets:
        return None
    return mpd.Period(
        id=str(stretch.number),
        start=stretch.begun,
        sets=[
            mpd.AdaptationSet([sound for sound, _ in each], _aligned([segments for _, segments in each]))
            for each in sets.values()
        ],
        events=events,
    )


def _inside(segments: list[Segment], begin: float, end: float) -> list[Segment]:
    """Those that reach into a stretch, as far as one decoder plays them to its end."""
    first = max(0, bisect_right(segments, begin + OVERLAP_SECONDS, key=lambda each: each.wall) - 1)
    found = segments[first : bisect_left(segments, end - OVERLAP_SECONDS, key=lambda each: each.wall)]
    if found and _end(found[:1]) <= begin + OVERLAP_SECONDS:
        del found[0]
    return [each for each in found if each.period.track == found[-1].period.track]


def _end(segments: list[Segment]) -> float:
    return segments[-1].wall + segments[-1].seconds


def _aligned(representations: list[list[Segment]]) -> bool:
    """Whether segments that are not of the same time do not overlap (§5.3.3.2): where both are, both are cut alike."""
    all_walls = [[each.wall for each in one] for one in representations]
    for one, walls in zip(representations, all_walls, strict=True):
        cuts, begin, end = {*walls[1:]}, walls[0], _end(one)
        for others in all_walls:
            if any(begin < wall < end and wall not in cuts for wall in others[1:]):
                return False
    return True

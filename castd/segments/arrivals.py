"""When a mount's audio arrived: what a segmenter takes from the wall times of entries."""

from __future__ import annotations

from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.mount.timeline import EntryMark, Timeline

ARRIVALS_SECONDS = 10.0
"""Looked back to see how finely audio comes."""

STEADY = 0.8
"""The share of arrivals that must be as fine as a part, for parts to be offered."""


def zero_at(timeline: Timeline, position: int, seconds: float, default: float) -> float:
    """The wall time that media time 0 would have by what came from a position on.

    What came fastest was delayed least. Of what has lain in the ring for long it is what came soon after that position,
    and of the same source: that is what could be known then.

    Args:
        seconds: of audio that is looked at.
        default: if nothing came.
    """
    splice, until = timeline.next_splice(position + 1), timeline.time_at(position) + seconds
    entries = takewhile(
        lambda each: each.time < until and (splice is None or each.position < splice.position),
        timeline.entries_from(position),
    )
    return min((each.wall - each.time for each in entries if not _is_splice(timeline, each)), default=default)


def _is_splice(timeline: Timeline, entry: EntryMark) -> bool:
    """It is where a source begins, and not when audio came."""
    splice = timeline.next_splice(entry.position)
    return splice is not None and splice.position == entry.position


def come_finely(timeline: Timeline, seconds: float) -> bool:
    """Whether audio arrives at least so often, nearly always."""
    entries = timeline.entries_from(timeline.position_at(timeline.end - ARRIVALS_SECONDS))
    walls = sorted({entry.wall for entry in entries})
    gaps = sorted(later - earlier for earlier, later in pairwise(walls))
    return bool(gaps) and gaps[int(len(gaps) * STEADY)] <= seconds

"""The pace of a listener who went back: the audio of then, in its own time.

A listener at the live end is owed all there is. One that went back is owed what has come by the clock since it began,
which the live end keeps ahead of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from castd.errors import ClientError

if TYPE_CHECKING:
    from castd.http.messages import Request
    from castd.mount.mount import Mount
    from castd.mount.timeline import EntryMark

SECONDS = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)

EDGE_SECONDS = 5.0
"""Nobody begins nearer to the oldest byte than this: it goes as the next ones come."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What somebody is owed who went back.

    Attributes:
        media: media time up to which it was owed everything at `since`.
        since: monotonic seconds.
    """

    media: float
    since: float

    def horizon(self, mount: Mount) -> int:
        """The position up to which it is owed everything by now."""
        timeline = mount.timeline
        time = self.media + mount.clock.monotonic() - self.since
        return mount.ring.head if time >= timeline.end else timeline.position_at(time)


def asked_entry(mount: Mount, request: Request) -> EntryMark | None:
    """Where a request wants to begin, by `t` (seconds before now, such as -600) or `start` (a moment, ISO 8601).

    Returns:
        An entry; None if it asks for neither, and is to begin where everybody does.

    Raises:
        ClientError: 400: they cannot be read, or mean the future; 404: that is not held, with what is.
    """
    back, start = request.argument("t"), request.argument("start")
    if back is None and start is None:
        return None
    if not mount.settings.rewind_seconds:
        raise ClientError(404, "this mount cannot be rewound: its rewind_seconds are not set")
    oldest = mount.timeline.rewound(-1.0, mount.alike_from)
    if oldest is None or oldest.position >= mount.ring.head:
        raise ClientError(404, "nothing has been heard here yet")
    if back is not None:
        return _entry_back(mount, oldest, back)
    assert start is not None
    return entry_at(mount, start)


def _entry_back(mount: Mount, oldest: EntryMark, back: str) -> EntryMark | None:
    if not SECONDS.fullmatch(back) or float(back) > 0:
        raise ClientError(400, "t is a number of seconds, such as -600 for ten minutes ago")
    end = mount.timeline.end
    time = max(end + float(back), min(oldest.time + EDGE_SECONDS, end))
    return mount.timeline.rewound(time, oldest.position)


def entry_at(mount: Mount, moment: str) -> EntryMark:
    """The entry that was on air at a moment.

    Args:
        moment: ISO 8601 with its offset from UTC, or seconds since 1970.

    Raises:
        ClientError: 400: it cannot be read, or has not come; 404: it is not held, with what is.
    """
    wall = wall_time(moment)
    if wall > mount.clock.wall():
        raise ClientError(400, f"{moment} has not come yet")
    found = mount.timeline.entry_on_air(wall, mount.alike_from)
    if found is None:
        oldest = mount.timeline.rewound(-1.0, mount.alike_from)
        since = datetime.fromtimestamp(oldest.wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if oldest else "now"
        raise ClientError(404, f"{moment} is not held any more: the oldest is from {since}")
    return found


def wall_time(moment: str) -> float:
    """Seconds since 1970 of a moment; see entry_at.

    Raises:
        ClientError: 400: it cannot be read.
    """
    if SECONDS.fullmatch(moment) and not moment.startswith("-"):
        return float(moment)
    try:
        # a "+" in a query is a space by the time it gets here
        found = datetime.fromisoformat(moment.replace(" ", "+") if "T" in moment else moment)
        if found.tzinfo is not None:
            return found.timestamp()
    except (ValueError, OverflowError):
        pass
    raise ClientError(400, "a moment is written as 2026-11-22T18:00:00Z, or as seconds since 1970")

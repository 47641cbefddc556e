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
from castd.wire.text import one_line

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

    def horizon(self, mount: Mount, position: int) -> int:
        """The position up to which it is owed everything by now: the end of a whole frame, and not before where it is.

        Args:
            position: where it is. It may be in a frame that ends later than the time does, which was set anew or found
                by entries that were thinned meanwhile.
        """
        timeline = mount.timeline
        time = self.media + mount.clock.monotonic() - self.since
        owed = mount.ring.head if time >= timeline.end else timeline.position_at(time)
        if owed >= position:
            return owed
        entry = timeline.next_entry(position)
        return entry.position if entry is not None else mount.ring.head


def goes_back(request: Request) -> bool:
    """Whether a request wants to begin elsewhere than everybody does."""
    return any(request.argument(name) is not None for name in ("t", "start", "media"))


def asked_entry(mount: Mount, request: Request) -> EntryMark | None:
    """Where a request wants to begin, by `t` (seconds before now, such as -600), `start` (a moment, ISO 8601) or
    `media` (a media time in seconds, as the API tells it).

    Returns:
        An entry; None if it asks for none of them, or for a media time that has not come, and is to begin where
        everybody does.

    Raises:
        ClientError: 400: they cannot be read, or mean the future; 404: that is not held, with what is.
    """
    back, start, media = (request.argument(name) for name in ("t", "start", "media"))
    if back is None and start is None and media is None:
        return None
    if not mount.settings.rewind_seconds:
        raise ClientError(404, "this mount cannot be rewound: its rewind_seconds are not set")
    oldest = mount.timeline.rewound(-1.0, mount.alike_from)
    if oldest is None or oldest.position >= mount.ring.head:
        raise ClientError(404, "nothing has been heard here yet")
    if back is not None:
        if not SECONDS.fullmatch(back) or float(back) > 0:
            raise ClientError(400, "t is a number of seconds, such as -600 for ten minutes ago")
        return _entry_heard(mount, oldest, mount.timeline.end + float(back))
    if media is not None:
        if not SECONDS.fullmatch(media):
            raise ClientError(400, "media is a number of seconds, as media_seconds in the API")
        return _entry_heard(mount, oldest, float(media)) if float(media) <= mount.timeline.end else None
    assert start is not None
    return entry_at(mount, start)


def _entry_heard(mount: Mount, oldest: EntryMark, time: float) -> EntryMark | None:
    """Where a media time is heard; of one that is not held any more, a little after the oldest."""
    time = max(time, min(oldest.time + EDGE_SECONDS, mount.timeline.end))
    return mount.timeline.rewound(time, oldest.position)


def oldest_heard(mount: Mount) -> float | None:
    """The media time to which a listener may go back; None if that is not possible."""
    oldest, end = mount.timeline.rewound(-1.0, mount.alike_from), mount.timeline.end
    if not mount.settings.rewind_seconds or oldest is None:
        return None
    return min(max(oldest.time + EDGE_SECONDS, end - mount.settings.rewind_seconds), end)


def entry_at(mount: Mount, moment: str) -> EntryMark:
    """The entry that was on air at a moment.

    Args:
        moment: ISO 8601 with its offset from UTC, or seconds since 1970.

    Raises:
        ClientError: 400: it cannot be read, or has not come; 404: it is not held, with what is.
    """
    wall, shown = wall_time(moment), one_line(moment)
    if wall > mount.clock.wall():
        raise ClientError(400, f"{shown} has not come yet")
    found = mount.timeline.entry_on_air(wall, mount.alike_from)
    if found is None:
        oldest = mount.timeline.rewound(-1.0, mount.alike_from)
        since = datetime.fromtimestamp(oldest.wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if oldest else "now"
        raise ClientError(404, f"{shown} is not held any more: the oldest is from {since}")
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

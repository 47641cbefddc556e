"""What the two processes tell each other, in this order: Ready; Start, mounts, sources, listeners, talks, End; Taken;
Go. Monotonic times are the old process's; Start tells how far they are from the machine's.

A field may be added, with a default, at any time. Whatever else changes raises FORMAT, and an upgrade over that change
is refused: then the server must be restarted.
"""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

import msgspec

import castd.wire
from castd.adaptive.session import SessionState
from castd.delivery.state import ListenerState
from castd.front import TalkState
from castd.ingest.state import VisitState
from castd.mount.state import MountState
from castd.segments.segmenter_state import SegmenterState

FORMAT = 1


class Ready(msgspec.Struct, tag=True):
    """The new process: I am loaded.

    Attributes:
        version: castd's.
        parsers, bodies: what pickled parsers of streams and of bodies must come from; see PARSERS and BODIES.
    """

    format: int
    version: str
    parsers: str
    bodies: str


class Refused(msgspec.Struct, tag=True):
    """The new process: I cannot go on with this."""

    why: str


class Told(msgspec.Struct):
    """What the old process tells of itself."""


class Start(Told, tag=True):
    """The old process: what is nobody's own. Its listening sockets are beside it, in the order of `doors`.

    Attributes:
        parsers, bodies: as Ready has them.
        clock: what its monotonic times are ahead of the machine's.
        last_id: of the ids it gave.
        started: wall time since which the service runs.
        totals: see castd.mount.registry.Totals.
        server_id: see castd.ingest.relays.Relays.
        doors: host and port that each listening socket is configured as.
        paused: seconds of the machine's monotonic clock at which sources were held.
    """

    parsers: str
    bodies: str
    clock: float
    last_id: int
    started: float
    started_monotonic: float
    totals: dict[str, int]
    server_id: str
    doors: list[tuple[str, int]]
    paused: float


class MountTold(Told, tag=True):
    """One mount; its ring's memory is beside it, and then the spool of its segments, if they have one.

    Attributes:
        segments: None if there are none.
        sessions: of those who listen by them, or may.
    """

    mount: MountState
    segments: SegmenterState | None = None
    sessions: list[SessionState] = []


class SourcesTold(Told, tag=True):
    """Sources, their sockets beside them."""

    sources: list[VisitState]


class ListenersTold(Told, tag=True):
    """Listeners of one mount, their sockets beside them.

    Attributes:
        intros: those that some of them have begun and that were not told before, by numbers from 1 on.
    """

    mount: str
    intros: dict[int, bytes]
    listeners: list[ListenerState]


class TalksTold(Told, tag=True):
    """Connections that wait for a request, their sockets beside them."""

    talks: list[TalkState]


class End(Told, tag=True):
    """That was all."""


class Taken(msgspec.Struct, tag=True):
    """The new process: I have all of it, and wait for Go."""


class Go(msgspec.Struct, tag=True):
    """The old process: you are the server."""


Message = Ready | Refused | Start | MountTold | SourcesTold | ListenersTold | TalksTold | End | Taken | Go


def _digest() -> str:
    folder = Path(castd.wire.__path__[0])
    digest = hashlib.sha256(platform.python_version().encode())
    for file in sorted(folder.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


PARSERS = f"loaded {_digest()}"
"""Stands for the code of our parsers: where it is the same, what one process pickles the other can use. Taken while
that code is loaded: at an upgrade another version's lies in its place already, and "loaded" tells processes that looked
only then, as the first did that could hand over, from those that can be believed."""

BODIES = f"{version('h11')} {platform.python_version()}"
"""Likewise, of h11."""

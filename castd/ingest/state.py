"""A source's session as another process can go on with it. Monotonic times are of the process that tells them."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from castd.http.state import BodyState, RequestState
from castd.stats.visits import Arrival


class SessionState(msgspec.Struct):
    """See castd.ingest.session.Session.

    Attributes:
        parsers: ICY demuxer, sniffer and framer, pickled: for a process with the same castd.wire.
        unread: what stands in them and is in no frame yet, for any other.
        inline_titles: its stream has ICY blocks.
        told: title and url of the last of them.
        last_frame: monotonic seconds.
        sample: of frames, to read the stream's figures from; None once they are known.
    """

    parsers: bytes
    unread: bytes
    inline_titles: bool
    told: tuple[str, str] | None
    last_frame: float
    sample: bytes | None


class VisitState(msgspec.Struct):
    """An encoder that feeds a mount, or stands by there.

    Attributes:
        source: its id; the rest of it is told with its mount.
        address: of the connection's peer, as castd.access.admission counts it.
    """

    mount: str
    source: int
    session: SessionState
    body: BodyState
    request: RequestState
    user: str
    address: str
    since: Arrival

    def later(self, seconds: float) -> None:
        """Have all monotonic times so much later."""
        self.session.last_frame += seconds
        self.since = replace(self.since, at=self.since.at + seconds)

"""One listener: a socket and a position, not a task.

`serve` gives it all that is new in one non-blocking send, straight out of the ring. What the kernel does not take is
tried again when the socket is writable; a listener is mid-frame then, and before any jump it is first given the rest
of what it began (`finish_at`), copied out of the ring.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from castd.delivery.state import ListenerState
from castd.http.state import RequestState
from castd.mount.party import next_id
from castd.stats.visits import arrival
from castd.wire import icy

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.delivery.pace import Pace
    from castd.http.messages import Request
    from castd.http.routes import Stay
    from castd.mount.mount import Mount
    from castd.mount.party import Goodbye

Buffer: TypeAlias = bytes | memoryview

log = logging.getLogger(__name__)

_TOLD = (
    "protocol", "address", "agent", "user", "connected", "most_seconds", "bytes_sent", "bytes_elsewhere", "jumps",
    "worst_lag_seconds", "stuck_at", "blocked", "since", "player", "begins", "pace",
)  # fmt: skip
"""Fields of castd.delivery.state.ListenerState that a listener has as they are."""

IOV_MAX = 1024
"""Buffers one sendmsg takes on Linux (sysconf _SC_IOV_MAX)."""


class Connection(Protocol):
    """What a listener needs of its socket: non-blocking, as socket.socket has it; see castd.sockets and castd.tls.

    Attributes:
        owes: it counted bytes as sent that the kernel does not have yet; `flush` offers them again.
    """

    @property
    def owes(self) -> bool: ...
    def flush(self) -> bool: ...
    def send(self, data: Buffer, /) -> int: ...
    def sendmsg(self, buffers: list[Buffer], /) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def getsockopt(self, level: int, option: int, /) -> int: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class IcyState:
    """Where a listener stands between two ICY blocks (the recorded exchanges B60-B69; quirks 46-48).

    Attributes:
        metaint: audio bytes between two blocks.
        until: audio bytes still to be sent before the next block.
        told: the text and url of the last title sent; None before the first block, which always carries one.
    """

    metaint: int
    until: int
    told: tuple[str, str] | None = None


class _Piece(NamedTuple):
    """A buffer of one send: audio in the ring, or bytes of our own (owed ones, or an ICY block and what it tells)."""

    data: Buffer
    is_audio: bool
    told: tuple[str, str] | None = None


class Listener:
    """A listener of one mount; see castd.mount.party.Listener for the public attributes.

    Attributes:
        pending: bytes owed before any more of the ring: reply head, Ogg headers, the rest of a block or frame.
        intro: what of its mount's intro it has not had yet; then it begins where a newcomer does.
        blocked: the kernel took less than it was given, and has not said since that it would take more.
        stuck_at: bytes_sent at the last jump: no progress until the next means it takes nothing at all.
        queued: the number under which it stands in its outlet's heap of the blocked; 0 if it does not.
        pace: of one who went back; None for who hears what is live.
        bound_for: the mount it goes on with as soon as it has everything of this one, or can have no more of it.
        most_seconds: for which it may listen, whatever its mount allows; 0 means no limit of its own.
        since: where and when its visit to this mount began.
        request: that it made; of its fields only what the log will say.
        stay: what it was let in by, to be told when it leaves; None for nothing.
        player: what its page's player calls itself, "" for none.
        begins: media time at which its stream began.
        gone: why it left; None while it is here.
        ended_by: who ended it, where somebody did.
        on_gone: called with it when it leaves, before its socket is closed.
        on_move: called with it and the other mount when it is about to go on there.
    """

    __slots__ = (
        "address",
        "agent",
        "begins",
        "blocked",
        "bound_for",
        "bytes_elsewhere",
        "bytes_sent",
        "connected",
        "connection",
        "ended_by",
        "gone",
        "icy",
        "id",
        "intro",
        "jumps",
        "most_seconds",
        "mount",
        "on_gone",
        "on_move",
        "pace",
        "pending",
        "player",
        "position",
        "protocol",
        "queued",
        "request",
        "since",
        "stay",
        "stuck_at",
        "user",
        "worst_lag_seconds",
    )

    def __init__(
        self,
        mount: Mount,
        connection: Connection,
        *,
        position: int,
        pending: bytes = b"",
        intro: bytes = b"",
        metaint: int = 0,
        address: str = "",
        agent: str = "",
        user: str = "",
        connected: float = 0.0,
        listener_id: int = 0,
        most_seconds: float = 0.0,
    ) -> None:
        self.id = listener_id or next_id()
        self.most_seconds = most_seconds
        self.mount = mount
        self.connection = connection
        self.position = position
        self.pending: Buffer = pending
        self.intro: Buffer = memoryview(intro) if intro else b""
        self.icy = IcyState(metaint, metaint) if metaint else None
        self.protocol = "icy" if metaint else "http"
        self.address = address
        self.agent = agent
        self.user = user
        self.connected = connected
        self.bytes_sent = 0
        self.bytes_elsewhere = 0
        self.jumps = 0
        self.worst_lag_seconds = 0.0
        self.stuck_at = -1
        self.blocked = False
        self.gone: Goodbye | None = None
        self.ended_by = ""
        self.queued = 0
        self.bound_for: Mount | None = None
        self.pace: Pace | None = None
        self.since = arrival(mount, position)
        self.request: Request | None = None
        self.stay: Stay | None = None
        self.player = ""
        self.begins = 0.0
        self.on_gone: list[Callable[[Listener], None]] = []
        self.on_move: Callable[[Listener, Mount], None] | None = None

    @classmethod
    def of(cls, state: ListenerState, mount: Mount, connection: Connection, intro: bytes) -> Listener:
        """A listener as it was in another process; it is nobody's yet.

        Args:
            intro: what `state.intro_left` counts the end of.
        """
        listener = cls(
            mount,
            connection,
            position=state.position,
            pending=state.pending,
            intro=intro[len(intro) - state.intro_left :],
            metaint=state.metaint,
            listener_id=state.id,
        )
        if listener.icy is not None:
            listener.icy.until, listener.icy.told = state.until, state.told
        for name in _TOLD:
            setattr(listener, name, getattr(state, name))
        return listener

    def state(self) -> ListenerState:
        """All of it but its connection, for another process."""
        icy_state = self.icy or IcyState(0, 0)
        return ListenerState(
            **{name: getattr(self, name) for name in _TOLD},
            id=self.id,
            position=self.position,
            pending=bytes(self.pending),
            intro=0,
            intro_left=len(self.intro),
            metaint=icy_state.metaint,
            until=icy_state.until,
            told=icy_state.told,
            bound_for=self.bound_for.name if self.bound_for is not None else None,
            request=RequestState.of(self.request) if self.request is not None else None,
            stay=self.stay.state() if self.stay is not None else None,
        )

    @property
    def caught_up(self) -> bool:
        """It was given everything there is."""
        return not self.pending and not self.intro and self.position >= self.horizon and not self.connection.owes

    @property
    def hears_past(self) -> bool:
        """See castd.mount.party.Listener."""
        return (
            self.pace is not None
            and self.gone is None
            and not (self.position >= self.mount.ring.head and self.caught_up)
        )

    @property
    def horizon(self) -> int:
        """The position up to which it is owed everything now."""
        if self.pace is None:
            return self.mount.ring.head
        return self.pace.horizon(self.mount, self.position)

    def serve(self) -> bool:
        """Send what is new, once.

        Returns:
            True if it now has everything; False if the kernel took only a part (`pending` and `position` say where).

        Raises:
            OSError: the connection is broken.
        """
        mount = self.mount
        ring = mount.ring
        start, head = self.position, ring.head if self.pace is None else self.horizon
        state = self.icy
        # nearly every call: nothing between
        if not self.pending and not self.intro and (state is None or head - start <= state.until):
            if start == head:
                return self.connection.flush()
            views = ring.views(start, head)
            try:
                sent = self.connection.send(views[0]) if len(views) == 1 else self.connection.sendmsg([*views])
            except (BlockingIOError, InterruptedError):
                return False
            self.position = start + sent
            self.bytes_sent += sent
            if state is not None:
                state.until -= sent
            return self.position == head and not self.connection.owes
        return self._serve_pieces(head)

    def _serve_pieces(self, head: int) -> bool:
        """As `serve`, with owed bytes or ICY blocks between the audio."""
        pieces, introducing = self._pieces(head), bool(self.intro)
        if not pieces:
            return self.connection.flush()
        try:
            sent = self.connection.sendmsg([piece.data for piece in pieces[:IOV_MAX]])
        except (BlockingIOError, InterruptedError):
            return False
        self.bytes_sent += sent
        for piece in pieces:
            taken = min(sent, len(piece.data))
            sent -= taken
            if not taken:
                return False
            self._advance(piece, taken)
            if taken < len(piece.data):
                return False
        if introducing and not self.intro:
            self._begin()
            return self.serve()
        return not self.connection.owes

    def _begin(self) -> None:
        """After the intro: where a newcomer would begin now."""
        self.position, self.pending = self.mount.entrance(self.mount.join_point())

    def _pieces(self, head: int) -> list[_Piece]:
        """What stands between here and `head`, in order; no more than the intro while there is some."""
        pieces = [_Piece(self.pending, False)] if self.pending else []
        state, position = self.icy, self.position
        audio = (memoryview(self.intro),) if self.intro else self.mount.ring.views(position, head)
        if state is None:
            return pieces + [_Piece(view, True) for view in audio]
        until, told = state.until, state.told
        for view in audio:
            at, size = 0, len(view)
            while at < size:
                if until == 0:
                    now = self._title(position if self.intro else position + at)
                    pieces.append(_Piece(icy.EMPTY if now == told else icy.block(*now), False, now))
                    until, told = state.metaint, now
                step = min(size - at, until)
                pieces.append(_Piece(view[at : at + step], True))
                at += step
                until -= step
            position += size
        return pieces

    def _title(self, position: int) -> tuple[str, str]:
        title = self.mount.timeline.title_at(position)
        return (title.text, title.url) if title else ("", "")

    def _advance(self, piece: _Piece, taken: int) -> None:
        """Account for the first `taken` bytes of a piece; the rest of one of our own stays owed."""
        state = self.icy
        if piece.is_audio:
            if self.intro:
                self.intro = self.intro[taken:]
            else:
                self.position += taken
            if state is not None:
                state.until -= taken
            return
        self.pending = bytes(piece.data[taken:])
        if state is not None and piece.told is not None:
            state.until, state.told = state.metaint, piece.told

    def finish_at(self, position: int) -> None:
        """Copy what it is owed up to `position`, ICY blocks included, and move there: the ring's bytes may go."""
        pieces = self._pieces(position)
        owed = b"".join(piece.data for piece in pieces)
        for piece in pieces:
            self._advance(piece, len(piece.data))
        self.pending = owed

    def go_on(self, to: Mount, now: float) -> None:
        """Go on with another mount's bytes, having whole frames of this one up to where it stands.

        It hears the other from the moment at which it has nothing of this one, so that its player's buffer stays as
        full as it was.

        Args:
            now: monotonic seconds.
        """
        here = self.mount
        missing = here.lag_seconds(self.position) + now - here.appended if self.pace is None else inf
        position, headers = to.entrance(to.timeline.join(min(missing, to.settings.burst_seconds)))
        if headers and not self.intro:
            self.pending = bytes(self.pending) + headers
        self.note_lag()
        if self.on_move is not None:
            self.on_move(self, to)
        here.hand_over(self, to)
        self.since = arrival(to, position)
        self.mount, self.position, self.bound_for = to, position, None
        self.blocked, self.queued, self.pace = False, 0, None
        self.jumps, self.worst_lag_seconds = 0, 0.0

    def note_lag(self) -> None:
        """Look how far behind the live end it is; only the blocked ever are, so that nothing is asked of the others."""
        if self.blocked and not self.intro and self.pace is None:
            self.worst_lag_seconds = max(self.worst_lag_seconds, self.mount.lag_seconds(self.position))

    def end(self, reason: Goodbye, by: str = "") -> None:
        """See castd.mount.party.Listener. Twice does no harm; the first reason stands."""
        if self.gone is not None:
            return
        self.gone, self.ended_by = reason, by
        self.note_lag()
        self.mount.leave(self)
        for callback in self.on_gone:
            try:
                callback(self)
            except Exception:  # a bug in a record must not cost the others
                log.exception("%s: after listener %d left", self.mount.name, self.id)
        self.connection.close()
        self.pending = self.intro = b""

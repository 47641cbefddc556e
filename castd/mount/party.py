"""Who is at a mount: its sources and its listeners, as the mount and its readers see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import msgspec

from castd.mount.shape import Shape
from castd.mount.sound import Sound
from castd.mount.steadiness import Steadiness
from castd.wire.framer import Head
from castd.wire.tags import StreamInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.wire.framer import Run

FILLER = "silence"
"""What stands in where nothing else does; see Source.fallback."""


class Ids:
    """Ids of sources and listeners: never used again, not even by the next process, which goes on after the records of
    this one."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> int:
        """The next id."""
        self._last += 1
        return self._last

    @property
    def last(self) -> int:
        """The one given last; 0 before the first."""
        return self._last

    def go_on_after(self, last: int) -> None:
        """Give only ids greater than `last` from now on."""
        self._last = max(self._last, last)


next_id = Ids()


class Goodbye(Enum):
    """Why a source or listener left. The value is the code in logs, API and records; it never changes.

    Attributes:
        words: complete the sentence "it ...".
    """

    words: str

    def __new__(cls, code: str, words: str = "") -> Goodbye:
        member = object.__new__(cls)
        member._value_ = code
        member.words = words
        return member

    LEFT = "left", "hung up"
    RESET = "reset", "broke the connection off"
    VANISHED = "vanished", "answered no more, as one does whose network is gone"
    FELL_BEHIND = "fell_behind", "was let go because it took the audio too slowly"
    TLS_ERROR = "tls_error", "was let go because its TLS connection broke"
    FLOODED = "flooded", "was let go because it sent data nobody had asked for"
    KICKED = "kicked", "was kicked"
    LIMIT = "limit", "was let go because it had reached a limit"
    SOURCE_ENDED = "source_ended", "was let go because the source had ended and did not return"
    MOVED = "moved", "was moved to another mount"
    FORMAT_CHANGED = "format_changed", "was let go because the next source sent another format"
    DRAINED = "drained", "was let go because the server stopped"
    FINISHED = "finished", "ended its stream"
    SILENT = "silent", "was let go because it sent nothing any more"
    NO_AUDIO = "no_audio", "was let go because nothing it sent could be recognised as audio"
    REPLACED = "replaced", "was replaced by another source, since it sent nothing any more"
    BROKEN = "broken", "was let go because its stream was broken"
    HANDED_OVER = "handed_over", "goes on with the process that replaces this one"
    FAILED = "failed", "was let go because of an error in the server, which its log shows"


def closing_words(reason: Goodbye | None, ended_by: str) -> str:
    """What the closing line of the log says: `left`, `kicked by admin`."""
    code = (reason or Goodbye.FAILED).value
    return f"{code} by {ended_by}" if ended_by else code


class Listener(Protocol):
    """What a mount knows of a listener; castd.delivery supplies it.

    Attributes:
        address: the client's address, without port.
        agent: its User-Agent, "" if it sent none.
        user: the name it authenticated with, "" without.
        protocol: how it listens, such as "http" or "icy".
        connected: monotonic seconds.
        bytes_sent: of everything, heads and metadata included.
        bytes_elsewhere: of those, what it got before it came to the mount it is at.
        position: absolute position of the next byte of the ring it is owed.
        jumps: times it was moved forward because it fell behind.
        worst_lag_seconds: media time it was behind the live end, at most, as far as anybody looked.
        gone: why it left; None while it is here.
        ended_by: who ended it, where somebody did.
        hears_past: it went back, and has not come to the end of what is held.
    """

    id: int
    address: str
    agent: str
    user: str
    protocol: str
    connected: float
    bytes_sent: int
    bytes_elsewhere: int
    position: int
    jumps: int
    worst_lag_seconds: float
    gone: Goodbye | None
    ended_by: str

    @property
    def hears_past(self) -> bool: ...

    def end(self, reason: Goodbye, by: str = "") -> None:
        """Say goodbye: close its connection and take it out of its mount, now.

        Args:
            by: the user who wants it so.
        """
        ...


@dataclass(frozen=True, slots=True)
class Description:
    """What a source says of its stream; every field as sent, cleaned of control characters.

    Attributes:
        content_type: lower case, without parameters, and true to the bytes where these were recognised.
        public: asks to be listed in directories.
        bitrate: the header's word for it, "" if absent; usually kbit/s.
        audio_info: the pairs of Ice-Audio-Info, percent-decoded, in order.
        audio_info_text: that header as sent.
    """

    content_type: str
    name: str = ""
    description: str = ""
    genre: str = ""
    url: str = ""
    public: bool = False
    bitrate: str = ""
    audio_info: tuple[tuple[str, str], ...] = ()
    audio_info_text: str = ""


class SourceState(msgspec.Struct):
    """A source, for another process; see Source."""

    id: int
    address: str
    agent: str
    user: str
    protocol: str
    description: Description
    connected: float
    received: float
    priority: int
    bytes_received: int
    skipped_bytes: int
    shape: Shape
    trail: tuple[str, ...]
    fallback: str
    head: Head | None
    info: StreamInfo | None
    ready: bool = False
    sound: Sound = msgspec.field(default_factory=Sound)
    steadiness: Steadiness = msgspec.field(default_factory=Steadiness)

    def later(self, seconds: float) -> None:
        """Have all its monotonic times so much later."""
        self.connected += seconds
        self.received += seconds
        self.steadiness.later(seconds)


@dataclass(slots=True, eq=False, weakref_slot=True)
class Source:
    """One encoder at a mount, from its claim to its goodbye.

    Attributes:
        address, agent, user: as for a listener.
        protocol: how it pushes, such as "PUT" or "SOURCE".
        connected: monotonic seconds.
        stop: makes its session stop reading, at once.
        priority: the higher feeds the mount; of equals the one there first.
        bytes_received: of its body.
        received: monotonic seconds at which its last bytes came.
        skipped_bytes: of those that were no part of a frame; tags are not counted.
        shape: of its bytes; without a format before they were recognised.
        head: the headers in force, where its format has some.
        info: what its bytes say of themselves; None until known.
        ready: it has sent something that a decoder can begin with.
        trail: servers and mounts a relay's stream came through, as castd's tell each other.
        fallback: the mount or file that stands in for an encoder, or FILLER; "" for an encoder.
        sound: what can be heard of it, as far as somebody listens.
        steadiness: how steadily it sends.
        ear: hears all it sends, also while it stands by; None while nobody wants to.
        gone, ended_by: as for a listener.
    """

    address: str
    agent: str
    user: str
    protocol: str
    description: Description
    connected: float
    stop: Callable[[], None]
    priority: int = 0
    id: int = field(default_factory=next_id)
    bytes_received: int = 0
    received: float = 0.0
    skipped_bytes: int = 0
    shape: Shape = field(default_factory=Shape)
    trail: tuple[str, ...] = ()
    fallback: str = ""
    head: Head | None = None
    info: StreamInfo | None = None
    ready: bool = False
    sound: Sound = field(default_factory=Sound)
    steadiness: Steadiness = field(default_factory=Steadiness)
    ear: Callable[[Run], None] | None = None
    gone: Goodbye | None = None
    ended_by: str = ""

    def __post_init__(self) -> None:
        self.received = self.connected

    @classmethod
    def of(cls, state: SourceState) -> Source:
        """A source as it was elsewhere; nobody reads it yet."""
        fields = msgspec.structs.asdict(state)
        received = fields.pop("received")
        source = cls(**fields, stop=_nothing)
        source.received = received
        return source

    def state(self) -> SourceState:
        return SourceState(**{name: getattr(self, name) for name in SourceState.__struct_fields__})

    def end(self, reason: Goodbye, by: str = "") -> None:
        """Say goodbye. Twice does no harm; the first reason stands."""
        if self.gone is None:
            self.gone, self.ended_by = reason, by
            self.stop()


def _nothing() -> None:
    pass

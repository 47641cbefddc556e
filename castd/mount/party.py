"""Who is at a mount: its sources and its listeners, as the mount and its readers see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

next_id = count(1).__next__
"""Ids of sources and listeners: unique in the process, never used again."""


class Goodbye(Enum):
    """Why a source or listener left; the words are those of logs and API."""

    LEFT = "left"
    RESET = "reset"
    VANISHED = "vanished"
    FELL_BEHIND = "fell behind"
    TLS_ERROR = "TLS error"
    FLOODED = "sent data nobody asked for"
    KICKED = "kicked"
    SOURCE_ENDED = "source ended"
    FORMAT_CHANGED = "format changed"
    DRAINED = "server stopped"
    FINISHED = "finished"
    SILENT = "sent nothing"
    NO_AUDIO = "sent no audio that could be recognised"
    REPLACED = "replaced"
    BROKEN = "broke a bound of its format"
    FAILED = "server error"


class Listener(Protocol):
    """What a mount knows of a listener; castd.delivery supplies it.

    Attributes:
        address: the client's address, without port.
        agent: its User-Agent, "" if it sent none.
        user: the name it authenticated with, "" without.
        protocol: how it listens, such as "http" or "icy".
        connected: monotonic seconds.
        bytes_sent: of everything, heads and metadata included.
        position: absolute position of the next byte of the ring it is owed.
        jumps: times it was moved forward because it fell behind.
    """

    id: int
    address: str
    agent: str
    user: str
    protocol: str
    connected: float
    bytes_sent: int
    position: int
    jumps: int

    def end(self, reason: Goodbye) -> None:
        """Say goodbye: close its connection and take it out of its mount, now."""
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


@dataclass(slots=True, eq=False)
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
        gone: why it left; None while it is here.
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
    gone: Goodbye | None = None

    def __post_init__(self) -> None:
        self.received = self.connected

    def end(self, reason: Goodbye) -> None:
        """Say goodbye. Twice does no harm; the first reason stands."""
        if self.gone is None:
            self.gone = reason
            self.stop()

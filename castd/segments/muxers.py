"""The two containers segments are put into: MP4 for AAC, Opus and FLAC, MPEG-TS for MPEG audio.

Browsers take no other pairs: MP3 in MP4 is played by none of them, and packed MP3 not by all (docs/hls.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

from castd.wire import fmp4, mpegts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from castd.mount.mount import Mount
    from castd.wire.packets import Packet, Track
    from castd.wire.timed_id3 import Event

Kind: TypeAlias = Literal["m4s", "ts"]
"""What media files are called at their end."""


_KINDS: dict[str, Kind] = {"aac": "m4s", "opus": "m4s", "flac": "m4s", "mp1": "ts", "mp2": "ts", "mp3": "ts"}
"""By codec."""


class Muxer(Protocol):
    """Makes the files of one session.

    Attributes:
        kind: of files.
        parts: a segment can be made in parts, one behind the other.
        state: numbers that go on from file to file.
    """

    kind: ClassVar[Kind]
    parts: ClassVar[bool]
    state: tuple[int, ...]

    def init(self, track: Track) -> bytes:
        """The initialisation segment; b"" if it needs none.

        Raises:
            Unsupported: it does not carry this track.
        """
        ...

    def make(self, track: Track, time: int, packets: Sequence[Packet], events: Sequence[Event]) -> bytes:
        """A part, or a segment where there are none.

        Args:
            time: media time of the first packet, in samples.
            packets: at least one.
            events: in order of time.
        """
        ...


class Mp4:
    """See Muxer."""

    kind: ClassVar[Kind] = "m4s"
    parts: ClassVar[bool] = True

    def __init__(self, state: tuple[int, ...] = (1,)) -> None:
        self.state = state

    def init(self, track: Track) -> bytes:
        return fmp4.init_segment(track)

    def make(self, track: Track, time: int, packets: Sequence[Packet], events: Sequence[Event]) -> bytes:
        (number,) = self.state
        self.state = (number + 1,)
        return fmp4.fragment(track, number, time, packets, events)


class Ts:
    """See Muxer."""

    kind: ClassVar[Kind] = "ts"
    parts: ClassVar[bool] = False

    def __init__(self, state: tuple[int, ...] = mpegts.Continuity()) -> None:
        self.state = state

    def init(self, track: Track) -> bytes:
        return b""

    def make(self, track: Track, time: int, packets: Sequence[Packet], events: Sequence[Event]) -> bytes:
        data, self.state = mpegts.segment(track, mpegts.Continuity(*self.state), time, packets, events)
        return data


def muxer_of(kind: Kind, state: tuple[int, ...] | None = None) -> Muxer:
    """The muxer of files called so, new or going on."""
    made: type[Mp4 | Ts] = Ts if kind == "ts" else Mp4
    return made() if state is None else made(state)


def kind_for(track: Track) -> Kind:
    """What a track is put into."""
    return _KINDS.get(track.codec, "m4s")


def offered(mount: Mount) -> Kind | None:
    """What the segments of a mount are, as far as its shape tells; None if there can be none."""
    return _KINDS.get(mount.shape.codec) if mount.settings.hls and not mount.settings.no_mount else None

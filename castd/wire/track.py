"""What containers carry: a track, and its packets; and who takes them out of a mount's bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from castd.errors import CastdError


class Unsupported(CastdError):
    """A container cannot carry this stream; the message is a sentence that says why, for listeners."""


@dataclass(frozen=True, slots=True)
class Track:
    """What a decoder is set up with.

    Attributes:
        codec: "aac", "opus", "flac", "mp3", "mp2" or "mp1".
        sample_rate: in Hz; what the lengths of packets count.
        channels: 0 where only the payload says.
        codecs: as RFC 6381 names it in playlists and manifests.
        config: AudioSpecificConfig (AAC), OpusHead packet (Opus) or STREAMINFO without what describes one recording
            (FLAC); b"" for MPEG audio.
        pre_skip: samples at the start of the stream that a decoder throws away.
        bitrate: of the first frame of MPEG audio, in bit/s; 0 where no header tells.
        refused: why no container here can carry it, a sentence for listeners; "" if one can. It has no packets then.
    """

    codec: str
    sample_rate: int
    channels: int
    codecs: str
    config: bytes = b""
    pre_skip: int = 0
    bitrate: int = field(default=0, compare=False)
    refused: str = ""


class Packet(NamedTuple):
    """One access unit.

    Attributes:
        data: as decoders take it, without framing.
        samples: what it decodes to, per channel, at the track's sample rate; never 0.
    """

    data: bytes
    samples: int


class Depacketizer(Protocol):
    """Takes packets out of a mount's bytes.

    Attributes:
        track: of the packets that come next; None before it is known.
    """

    @property
    def track(self) -> Track | None: ...

    def feed(self, data: bytes) -> list[Track | Packet]:
        """Take the next bytes; to begin at an entry, first the header pages in force there.

        Args:
            data: whole frames or pages. What is no part of one is skipped; one that is cut waits for its rest.

        Returns:
            The packets they complete, in order; before the first of a track, the track.

        Raises:
            FramingError: endless headers; no framer passes them on.
        """
        ...

"""From the frames and pages of a mount to the packets that containers carry: one access unit each, with its length.

What comes in is what framers passed on: whole frames or pages, from any entry on, behind the header pages in force
there (castd.wire.framer.Head). The framers' knowledge of headers is used; media time is counted in samples of packets.

* MPEG audio: the frame as it is.
* AAC: the ADTS header is taken off; what it said becomes an AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1). SBR and PS
  (HE-AAC) stay implicit, as ADTS has them (§1.6.5.3): rate, channels and lengths are those of the AAC core, and a
  decoder doubles them when it finds the extension in the payload.
* Opus and FLAC in Ogg: packets that lie on several pages are joined. Their lengths are those they decode to. So what a
  granule position cuts off at an end, and what a decoder skips at a beginning (RFC 7845 §4.2, §4.4), is in the sum here
  and is not in the media time of runs: 6.5 ms for each link of libopus, up to a packet at its end.

A link of equal parameters is no new track: a decoder goes on with its packets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from castd.errors import CastdError
from castd.wire.adts import BLOCK_SAMPLES, AdtsFramer
from castd.wire.frame_runs import TICKS_PER_SECOND
from castd.wire.mpeg_audio import MpegAudioFramer
from castd.wire.ogg_codecs import Codec
from castd.wire.ogg_headers import Link
from castd.wire.ogg_pages import Page, PageCutter

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.wire.frame_header import FrameFormat, Header

PACKET_BYTES = 2 * 1024 * 1024
"""The largest packet joined: a FLAC block of 65,535 samples, eight channels and 32 bits, uncompressed."""


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


class _Frames(ABC):
    """Packets of a format whose frames begin with headers."""

    def __init__(self, form: FrameFormat) -> None:
        self.track: Track | None = None
        self._form = form
        self._rest = b""
        self._kind = (0, 0, 0)  # of headers of the track
        self._samples = 0  # in each of its frames

    def feed(self, data: bytes) -> list[Track | Packet]:
        events: list[Track | Packet] = []
        data = self._rest + data
        at, last_header = 0, len(data) - self._form.HEADER_BYTES
        while at <= last_header:
            header = self._form.read_header(data, at)
            if header is None:
                found = data.find(0xFF, at + 1)
                at = found if found >= 0 else len(data)
                continue
            end = at + header.length
            if end > len(data):
                break
            if self._kind != (kind := (header.kind, header.channels, header.ticks)):
                self._kind = kind
                self._samples = header.ticks * header.sample_rate // TICKS_PER_SECOND
                self.track = self._track_of(header, self._samples)
                events.append(self.track)
            if self.track is not None and not self.track.refused:
                events.append(Packet(self._access_unit(data, at, end), self._samples))
            at = end
        self._rest = data[at:]
        return events

    @abstractmethod
    def _track_of(self, header: Header, samples: int) -> Track: ...

    @abstractmethod
    def _access_unit(self, data: bytes, at: int, end: int) -> bytes: ...


class _MpegAudio(_Frames):
    def __init__(self) -> None:
        super().__init__(MpegAudioFramer())

    def _track_of(self, header: Header, samples: int) -> Track:
        layer = 4 - (header.kind >> 17 & 3)
        # object types 32 to 34 are layers 1 to 3 (ISO/IEC 14496-3 §1.5.1.1)
        codecs = f"mp4a.40.{31 + layer}"
        return Track(f"mp{layer}", header.sample_rate, header.channels, codecs, bitrate=header.bitrate)

    def _access_unit(self, data: bytes, at: int, end: int) -> bytes:
        return data[at:end]


class _Adts(_Frames):
    def __init__(self) -> None:
        super().__init__(AdtsFramer())

    def _track_of(self, header: Header, samples: int) -> Track:
        object_type, frequency, channels = (header.kind >> 14 & 3) + 1, header.kind >> 10 & 15, header.kind >> 6 & 7
        config = (object_type << 11 | frequency << 7 | channels << 3).to_bytes(2)
        # where one block ends and the next begins, only a decoder can tell
        refused = "" if samples == BLOCK_SAMPLES else "AAC with several raw data blocks in a frame cannot be cut"
        codecs = f"mp4a.40.{object_type}"
        return Track("aac", header.sample_rate, header.channels, codecs, config, refused=refused)

    def _access_unit(self, data: bytes, at: int, end: int) -> bytes:
        return data[at + (7 if data[at + 1] & 1 else 9) : end]


class _Ogg:
    """Packets of the first logical stream with sound."""

    def __init__(self) -> None:
        self.track: Track | None = None
        self._cutter = PageCutter()
        self._link = Link()
        self._serial: int | None = None  # of the stream whose packets are taken
        self._codec = Codec()
        self._sequence = -1  # of the last page of it
        self._begun: bytearray | None = None  # a packet that goes on, on the next page

    def feed(self, data: bytes) -> list[Track | Packet]:
        events: list[Track | Packet] = []
        for page in self._cutter.feed(data):
            self._take(Page.read(page), page, events)
        return events

    def _take(self, page: Page, data: bytes, events: list[Track | Packet]) -> None:
        if page.bos and not self._link.admits(page):
            self._link, self._serial = Link(), None
        if self._link.gathering:
            is_header = self._link.gather(page, data)
            if self._link.complete:
                self._begin_track(events)
            if is_header:
                return
        if page.serial == self._serial:
            events += self._packets(page)

    def _begin_track(self, events: list[Track | Packet]) -> None:
        self._codec, self._begun = self._link.codec, None
        track = _track_of(self._codec, self._link.identification)
        self._serial = None if track.refused else self._link.serial
        if track != self.track:
            self.track = track
            events.append(track)

    def _packets(self, page: Page) -> list[Packet]:
        """The packets that end on this page, as far as all of them is there."""
        begun = self._begun if page.sequence == (self._sequence + 1) & 0xFFFFFFFF else None
        self._sequence, self._begun = page.sequence, None
        pieces = page.packets()
        if page.continued and pieces:
            if begun is None:
                del pieces[0]
            else:
                begun += pieces[0]
                pieces[0] = bytes(begun)
        if page.unfinished and pieces:
            going_on = pieces.pop()
            if len(going_on) <= PACKET_BYTES:
                self._begun = bytearray(going_on)
        return [Packet(piece, samples) for piece in pieces if (samples := self._codec.samples(piece))]


def _track_of(codec: Codec, identification: bytes) -> Track:
    """The track of a logical Ogg stream, by its first header packet."""
    name, rate, channels = codec.name, codec.sample_rate, codec.channels
    if name == "flac":
        info = identification[17:51]  # RFC 9639 §8.2
        # sizes of frames, count of samples and checksum are those of one recording: 0 says that they are not known
        config = info[:4] + bytes(6) + info[10:13] + bytes((info[13] & 0xF0,)) + bytes(20)
        return Track(name, rate, channels, "fLaC", config)
    if name == "opus":
        # RFC 7845 §5.1.1: behind the mapping family, unless it is 0, how many streams, how many coupled, the mapping
        size = 21 + channels if identification[18] else 19
        refused = ""
        if len(identification) < size or (size == 19 and channels > 2):
            refused = "this Opus stream does not say how its channels are mapped"
        return Track(name, rate, channels, "opus", identification[:size], codec.pre_skip, refused=refused)
    told = name.capitalize() if codec.audio else "this kind of Ogg stream"
    return Track(name, rate, channels, "", refused=f"{told} cannot be put into HLS or DASH segments")


_DEPACKETIZERS: dict[str, Callable[[], Depacketizer]] = {"ogg": _Ogg, "mpeg": _MpegAudio, "aac": _Adts}


def depacketizer(form: str) -> Depacketizer:
    """A new depacketizer.

    Args:
        form: as Recognised.format has it (castd.wire.sniff).

    Raises:
        Unsupported: nothing of this format can be put into segments.
    """
    made = _DEPACKETIZERS.get(form)
    if made is None:
        raise Unsupported(f"{form} cannot be put into HLS or DASH segments")
    return made()

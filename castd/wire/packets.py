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
* Opus in WebM: the first track of sound, one packet a block.

A link of equal parameters is no new track: a decoder goes on with its packets.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

from castd.wire import webm
from castd.wire.adts import BLOCK_SAMPLES, AdtsFramer
from castd.wire.ebml import UNKNOWN, children, number, read_element
from castd.wire.frame_runs import TICKS_PER_SECOND
from castd.wire.mpeg_audio import MpegAudioFramer
from castd.wire.ogg_codecs import Codec, identify
from castd.wire.ogg_headers import Link
from castd.wire.ogg_pages import Page, PageCutter
from castd.wire.track import Depacketizer, Packet, Track, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.wire.frame_header import FrameFormat, Header

__all__ = ["Depacketizer", "Packet", "Track", "Unsupported", "depacketizer"]

PACKET_BYTES = 2 * 1024 * 1024
"""The largest packet joined: a FLAC block of 65,535 samples, eight channels and 32 bits, uncompressed."""

_LACING = 0x06
"""Bits in the flags of a block."""

_BEGINNINGS = re.compile(b"|".join(map(re.escape, (webm.MARK, webm.CLUSTER.to_bytes(4)))))


class _Reporter:
    """Tells a track when it is another one."""

    def __init__(self) -> None:
        self.track: Track | None = None

    def _report(self, track: Track, events: list[Track | Packet]) -> None:
        if track != self.track:
            self.track = track
            events.append(track)


class _Frames(_Reporter, ABC):
    """Packets of a format whose frames begin with headers."""

    def __init__(self, form: FrameFormat) -> None:
        super().__init__()
        self._form = form
        self._rest = b""
        self._kind = (0, 0, 0)  # of headers of the track
        self._samples = 0  # in each of its frames; 0 if it is refused

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
                samples = header.ticks * header.sample_rate // TICKS_PER_SECOND
                track = self._track_of(header, samples)
                self._samples = 0 if track.refused else samples
                self._report(track, events)
            if self._samples:
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


class _Ogg(_Reporter):
    """Packets of the first logical stream with sound."""

    def __init__(self) -> None:
        super().__init__()
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
        self._report(track, events)

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


class _Webm(_Reporter):
    """Packets of the first track with sound, out of blocks (RFC 9559 §10)."""

    def __init__(self) -> None:
        super().__init__()
        self._rest = b""
        self._number: int | None = None  # of the track in blocks; None if it is refused
        self._codec = Codec()

    def feed(self, data: bytes) -> list[Track | Packet]:
        events: list[Track | Packet] = []
        data, at = self._rest + data, 0
        while True:
            try:
                element = read_element(data, at)
            except ValueError:
                at = _next_cluster(data, at)
                continue
            if element is None:
                break
            if element.id in (webm.SEGMENT, webm.CLUSTER):
                at = element.start
            elif element.size == UNKNOWN or element.size > webm.ELEMENT_BYTES:
                at = _next_cluster(data, at)
            elif (end := element.start + element.size) <= len(data):
                self._take(element.id, data[element.start : end], events)
                at = end
            else:
                break
        self._rest = data[at:]
        return events

    def _take(self, kind: int, content: bytes, events: list[Track | Packet]) -> None:
        if kind == webm.EBML:
            self._number = None
        elif kind == webm.TRACKS:
            self._begin_track(content, events)
        elif kind == webm.SIMPLE_BLOCK:
            self._take_block(content, events)
        elif kind == webm.BLOCK_GROUP:
            self._take_block(dict(children(content)).get(webm.BLOCK, b""), events)

    def _begin_track(self, tracks: bytes, events: list[Track | Packet]) -> None:
        entries = [dict(children(entry)) for kind, entry in children(tracks) if kind == webm.TRACK]
        sound = next((entry for entry in entries if number(entry.get(webm.TRACK_TYPE, b"")) == webm.SOUND), {})
        name = webm.CODECS.get(sound.get(webm.CODEC_ID, b"").decode("ascii", "replace").rstrip("\0"), "unknown")
        private = sound.get(webm.CODEC_PRIVATE, b"")
        self._codec = identify(private)
        if name == self._codec.name == "opus":
            track = _track_of(self._codec, private)
        else:
            refused = f"{name.capitalize()} in WebM cannot be put into HLS or DASH segments"
            track = Track(name, 0, 0, "", refused=refused)
        self._report(track, events)
        self._number = None if track.refused else number(sound.get(webm.TRACK_NUMBER, b""))

    def _take_block(self, block: bytes, events: list[Track | Packet]) -> None:
        if not block or self.track is None:
            return
        track, size = webm.block_track(block)
        if track != self._number or len(block) < size + 3:
            return
        if block[size + 2] & _LACING:
            self._number = None
            self._report(replace(self.track, refused="WebM with several packets in a block cannot be cut"), events)
        elif samples := self._codec.samples(packet := block[size + 3 :]):
            events.append(Packet(packet, samples))


def _next_cluster(data: bytes, at: int) -> int:
    """Where to go on behind what is no element: at a cluster, at another stream, or at what may yet become one."""
    found = _BEGINNINGS.search(data, at + 1)
    return found.start() if found else max(at + 1, len(data) - 3)


_DEPACKETIZERS: dict[str, Callable[[], Depacketizer]] = {"ogg": _Ogg, "mpeg": _MpegAudio, "aac": _Adts, "webm": _Webm}


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

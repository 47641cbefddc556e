"""One source's stream, as it comes, to how loud it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from castd.levels import pyav
from castd.levels.empty_frames import aac_is_empty, mp3_is_empty
from castd.levels.loudness import Loudness
from castd.levels.messages import Heard
from castd.levels.xiph import Opus, OpusLibrary, Undecodable, Vorbis, VorbisLibrary
from castd.mount.sound import NOTHING_DBFS
from castd.wire.adts import AdtsFramer
from castd.wire.frame_runs import TICKS_PER_SECOND
from castd.wire.mpeg_audio import MpegAudioFramer
from castd.wire.ogg_codecs import identify
from castd.wire.ogg_pages import Page, PageCutter

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.levels.xiph import PacketDecoder

PACKET_BYTES = 1024 * 1024
"""Longest packet of Ogg; a comment header with a picture."""


class Stream(Protocol):
    """Of one source."""

    def hear(self, data: bytes) -> Heard:
        """Decode what comes next: whole frames or pages."""
        ...


class Libraries:
    """What this machine can decode with.

    Attributes:
        packets: makes a decoder for a codec of Ogg.
        missing: why there is none for a codec.
        av: the package; None without.
    """

    def __init__(self) -> None:
        self.packets: dict[str, Callable[[], PacketDecoder]] = {}
        self.missing: dict[str, str] = {}
        self.av: Any = None
        try:
            opus = OpusLibrary()
            self.packets["opus"] = lambda: Opus(opus)
        except ImportError as error:
            self.missing["opus"] = str(error)
        try:
            vorbis = VorbisLibrary()
            self.packets["vorbis"] = lambda: Vorbis(vorbis)
        except ImportError as error:
            self.missing["vorbis"] = str(error)
        try:
            self.av = pyav.load()
        except ImportError:  # the server says so, where somebody would need it
            pass

    def stream(self, format: str) -> Stream:
        """For a new source.

        Args:
            format: as castd.mount.shape.Shape has it.
        """
        return OggStream(self) if format == "ogg" else FrameStream(self, format)


class OggStream:
    """The first stream of sound of each link."""

    def __init__(self, libraries: Libraries) -> None:
        self._libraries = libraries
        self._cutter = PageCutter()
        self._serial: int | None = None
        self._gathering = False  # BOS pages of one link
        self._packet = bytearray()
        self._sequence = 0
        self._decoder: PacketDecoder | None = None
        self._trouble = ""

    def hear(self, data: bytes) -> Heard:
        """See Stream."""
        loudness = Loudness()
        for page in map(Page.read, self._cutter.feed(data)):
            if page.bos:
                self._begin(page)
            self._gathering = page.bos
            if page.serial == self._serial and self._decoder is not None:
                try:
                    self._decode(page, loudness)
                except Undecodable as error:
                    self._decoder, self._trouble = None, str(error)
        return _answer(loudness, self._trouble)

    def _begin(self, page: Page) -> None:
        if self._gathering and self._serial is not None:
            return
        codec = identify(next(iter(page.packets()), b""))
        self._serial, self._decoder = None, None
        if not codec.audio:
            self._trouble = "there is no sound in it that castd knows"
            return
        make = self._libraries.packets.get(codec.name)
        self._serial, self._sequence = page.serial, page.sequence
        self._packet.clear()
        self._decoder = make() if make else None
        self._trouble = "" if make else self._libraries.missing.get(codec.name, f"nothing here decodes {codec.name}")

    def _decode(self, page: Page, loudness: Loudness) -> None:
        assert self._decoder is not None
        lost = page.sequence != self._sequence
        self._sequence = (page.sequence + 1) & 0xFFFFFFFF
        pieces = page.packets()
        if lost:
            self._packet.clear()
        if page.continued and not self._packet:
            del pieces[:1]
        going_on = pieces.pop() if page.unfinished and pieces else b""
        for piece in pieces:
            self._packet += piece
            packet = bytes(self._packet)
            self._packet.clear()
            for samples, seconds in self._decoder.decode(packet):
                loudness.add(samples, seconds)
        self._packet += going_on
        if len(self._packet) > PACKET_BYTES:
            raise Undecodable("a packet of it does not end")


class FrameStream:
    """MPEG audio and AAC: decoded where that can be had, else looked at from outside."""

    def __init__(self, libraries: Libraries, format: str) -> None:
        self._av = libraries.av
        self._framer = MpegAudioFramer() if format == "mpeg" else AdtsFramer()
        self._is_empty = mp3_is_empty if format == "mpeg" else aac_is_empty
        self._codec = ""
        self._frames: pyav.Frames | None = None

    def hear(self, data: bytes) -> Heard:
        """See Stream."""
        loudness, empty, seconds, at = Loudness(), True, 0.0, 0
        while at + self._framer.HEADER_BYTES <= len(data):
            header = self._framer.read_header(data, at)
            if header is None:  # a damaged one that its neighbours vouched for
                break
            frame = data[at : at + header.length]
            at += header.length
            if self._av is not None:
                self._decode(frame, loudness)
                continue
            verdict = self._is_empty(frame)
            if verdict is None:
                return Heard(trouble="only the package av decodes this: pip install 'castd[levels]'")
            empty = empty and verdict
            seconds += header.ticks / TICKS_PER_SECOND
        if self._av is not None:
            return _answer(loudness)
        level = NOTHING_DBFS if empty else None
        return Heard(round(seconds, 3), level, level)

    def _decode(self, frame: bytes, loudness: Loudness) -> None:
        codec = "aac" if self._framer.codec == "aac" else f"mp{4 - (frame[1] >> 1 & 3)}"
        if codec != self._codec or self._frames is None:
            self._codec, self._frames = codec, pyav.Frames(self._av, codec)
        for samples, seconds in self._frames.decode(frame):
            loudness.add(samples, seconds)


def _answer(loudness: Loudness, trouble: str = "") -> Heard:
    if trouble or not loudness.seconds:
        return Heard(trouble=trouble)
    return Heard(round(loudness.seconds, 3), loudness.level_dbfs, loudness.peak_dbfs)

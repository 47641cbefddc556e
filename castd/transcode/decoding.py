"""One source's frames and pages to sound, by FFmpeg's decoders, through PyAV; in the process that encodes only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from castd.errors import FramingError
from castd.wire.ogg_codecs import Codec, identify
from castd.wire.ogg_pages import Page, PageCutter
from castd.wire.packets import PACKET_BYTES, Packet, Track, depacketizer

if TYPE_CHECKING:
    from collections.abc import Iterator

DECODERS = {
    "mp1": "mp1float",
    "mp2": "mp2float",
    "mp3": "mp3float",
    "aac": "aac",
    "opus": "libopus",
    "vorbis": "vorbis",
    "flac": "flac",
}
"""FFmpeg's names, by ours."""

FORMATS = ("ogg", "mpeg", "aac", "webm")
"""That have a decoder, as castd.mount.shape.Shape names them."""


class Undecodable(Exception):
    """There is no sound in it that can be decoded here; the message says why."""


class Decoder(Protocol):
    """Of one source's stream."""

    def decode(self, data: bytes) -> Iterator[Any]:
        """The frames of sound (av.AudioFrame) in what comes next; none of what is damaged.

        Raises:
            Undecodable: nothing of this stream can be decoded; another one may follow.
        """
        ...


def decoder(module: Any, format: str) -> Decoder:
    """For a new source.

    Args:
        module: the package av.
        format: one of FORMATS.
    """
    return OggDecoder(module) if format == "ogg" else PacketDecoder(module, format)


class _Context:
    """A decoder of FFmpeg's."""

    def __init__(self, module: Any, codec: str, config: bytes) -> None:
        if codec not in DECODERS:
            raise Undecodable(f"nothing here decodes {codec}")
        self._module = module
        self._context = module.CodecContext.create(DECODERS[codec], "r")
        self._context.thread_count = 1
        if config:
            self._context.extradata = config

    def decode(self, packet: bytes) -> Iterator[Any]:
        try:
            yield from self._context.decode(self._module.Packet(packet))
        except self._module.FFmpegError:
            return


class PacketDecoder:
    """MPEG audio, AAC, WebM: what castd.wire.packets takes apart."""

    def __init__(self, module: Any, format: str) -> None:
        self._module = module
        self._depacketizer = depacketizer(format)
        self._context: _Context | None = None

    def decode(self, data: bytes) -> Iterator[Any]:
        """See Decoder."""
        for event in self._depacketizer.feed(data):
            if isinstance(event, Track):
                self._context = None
                if event.refused:
                    raise Undecodable(event.refused)
                self._context = _Context(self._module, event.codec, event.config)
            elif isinstance(event, Packet) and self._context is not None:
                yield from self._context.decode(event.data)


class OggDecoder:
    """Ogg: the first stream of sound of each link."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._cutter = PageCutter()
        self._serial: int | None = None
        self._gathering = False  # BOS pages of one link
        self._sequence = 0
        self._packet = bytearray()
        self._codec = Codec()
        self._headers: list[bytes] = []
        self._context: _Context | None = None

    def decode(self, data: bytes) -> Iterator[Any]:
        """See Decoder."""
        for page in map(Page.read, self._cutter.feed(data)):
            if page.bos:
                self._begin(page)
            self._gathering = page.bos
            if page.serial == self._serial:
                for packet in self._packets(page):
                    yield from self._take(packet)

    def _begin(self, page: Page) -> None:
        codec = identify(next(iter(page.packets()), b""))
        if (self._gathering and self._serial is not None) or not codec.audio:
            return
        self._serial, self._sequence, self._codec = page.serial, page.sequence, codec
        self._headers, self._context = [], None
        self._packet.clear()

    def _packets(self, page: Page) -> list[bytes]:
        """Those that end on a page, as far as all of them is there."""
        if page.sequence != self._sequence:
            self._packet.clear()
        self._sequence = (page.sequence + 1) & 0xFFFFFFFF
        pieces = page.packets()
        if page.continued and pieces:
            if self._packet:
                pieces[0] = bytes(self._packet) + pieces[0]
            else:
                del pieces[0]
        self._packet.clear()
        if page.unfinished and pieces:
            self._packet += pieces.pop()
            if len(self._packet) > PACKET_BYTES:
                raise FramingError("a packet of it does not end")
        return pieces

    def _take(self, packet: bytes) -> Iterator[Any]:
        if self._context is not None:
            yield from self._context.decode(packet)
            return
        number = len(self._headers)
        if not self._codec.is_header(number, packet):
            return  # its headers were lost
        self._headers.append(packet)
        if self._codec.is_last_header(number, packet):
            name = self._codec.name
            self._context = _Context(self._module, name, _extradata(name, self._headers))


def _extradata(codec: str, headers: list[bytes]) -> bytes:
    """Header packets as FFmpeg's decoders take them."""
    if codec == "flac":
        return headers[0][17:51]  # STREAMINFO (RFC 9639 §10.1)
    if codec == "vorbis":  # laced as in Matroska: how many but one, lengths of all but the last
        lengths = b"".join(b"\xff" * (len(each) // 255) + bytes((len(each) % 255,)) for each in headers[:2])
        return b"\x02" + lengths + b"".join(headers[:3])
    return headers[0]

"""Silent Ogg streams of Opus, Vorbis and FLAC, each a link of its own that begins as the stream before it did.

The identification header, and Vorbis's setup, are those of the stream; the comments are empty. Packets are

* Opus: what RFC 6716 makes of a frame whose range coder has nothing, which libopus writes for digital silence too;
  padding (§3.2.5); several streams in one packet by RFC 6716 §B and RFC 7845 §3;
* Vorbis: no floor in any channel (Vorbis I §4.3.2), hence no residue; what a packet has left is not looked at (§4.3.8);
* FLAC: residuals of 0 (RFC 9639 §9.2.5 to §9.2.7), in codes as long as those of the stream were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd.wire.ogg_codecs import Codec, Flac, Opus, Vorbis, identify
from castd.wire.ogg_pages import BOS, CONTINUED, NO_PACKET_ENDS, Page, PageCutter
from castd.wire.silent_flac import SilentFlac
from castd.wire.unmakeable import Unmakeable

if TYPE_CHECKING:
    from typing import Protocol

    from castd.wire.framer import Head

    class SilentCodec(Protocol):
        """Attributes:
        headers: the header packets.
        samples: in each packet.
        delay: samples that the first packets do not give.
        """

        headers: list[bytes]
        samples: int
        delay: int

        def packet(self, number: int) -> bytes: ...


PAGE_SECONDS = 0.2
"""How long a page lasts, about."""

_VENDOR = b"castd"
_COMMENTS = len(_VENDOR).to_bytes(4, "little") + _VENDOR + bytes(4)
"""A vendor and no comment (Vorbis I §5.2.1)."""

_LACED = 255
_SEGMENTS = 255


class SilentOgg:
    """One link of an Ogg stream; see castd.wire.silence.Silence.

    Args:
        head: of the stream; one logical stream has to be all there is.
        bitrate: in bit/s; 0 for the shortest packets.
        serial: of its pages.
    """

    def __init__(self, head: Head | None, bitrate: int, serial: int) -> None:
        if head is None:
            raise Unmakeable("has no headers yet")
        packets = _header_packets(head.data)
        codec = identify(packets[0])
        self._codec = _silent(codec, packets, bitrate)
        self._serial = serial
        self._sequence = 0
        self._number = 0
        self._rate = codec.sample_rate
        self._per_page = max(1, round(PAGE_SECONDS * self._rate / self._codec.samples))
        self.seconds = self._per_page * self._codec.samples / self._rate
        first, *others = self._codec.headers
        self.start = self._pages([first], 0, BOS) + self._pages(others, 0)

    def next(self) -> bytes:
        """See castd.wire.silence.Silence."""
        codec = self._codec
        packets = [codec.packet(self._number + at) for at in range(self._per_page)]
        self._number += self._per_page
        return self._pages(packets, self._number * codec.samples - codec.delay)

    def _pages(self, packets: list[bytes], granule: int, flags: int = 0) -> bytes:
        """Packets on pages of their own; the last has the granule position."""
        lacing, body = bytearray(), b"".join(packets)
        for packet in packets:
            lacing += b"\xff" * (len(packet) // _LACED) + bytes((len(packet) % _LACED,))
        written, at = b"", 0
        for first in range(0, len(lacing), _SEGMENTS):
            segments = bytes(lacing[first : first + _SEGMENTS])
            size, last = sum(segments), first + _SEGMENTS >= len(lacing)
            if first:
                flags = CONTINUED if lacing[first - 1] == _LACED else 0
            ends = last or any(each < _LACED for each in segments)
            position = granule if ends else NO_PACKET_ENDS
            written += Page(flags, position, self._serial, self._sequence, segments, body[at : at + size]).write()
            self._sequence = (self._sequence + 1) & 0xFFFFFFFF
            at += size
        return written


def _header_packets(pages: bytes) -> list[bytes]:
    """The header packets of a stream that is alone in its link."""
    packets, unfinished, serials = list[bytes](), b"", set[int]()
    for page in map(Page.read, PageCutter().feed(pages)):
        serials.add(page.serial)
        pieces = page.packets()
        if pieces:
            pieces[0] = unfinished + pieces[0]
        unfinished = pieces.pop() if page.unfinished and pieces else b""
        packets += pieces
    if len(serials) != 1 or not packets:
        raise Unmakeable("is several streams in one")
    return packets


def _silent(codec: Codec, packets: list[bytes], bitrate: int) -> SilentCodec:
    if isinstance(codec, Opus):
        return _SilentOpus(packets[0], bitrate)
    if isinstance(codec, Vorbis):
        return _SilentVorbis(codec, packets, bitrate)
    if isinstance(codec, Flac):
        return _FlacInOgg(codec, packets[0], bitrate)
    raise Unmakeable(f"is {codec.name}")


class _SilentOpus:
    """Packets of one frame of 20 ms, fullband CELT, which is configuration 31 (RFC 6716 §3.1)."""

    samples = 960
    delay = 0

    def __init__(self, identification: bytes, bitrate: int) -> None:
        no_pre_skip = identification[:10] + bytes(2) + identification[12:]
        self.headers = [no_pre_skip, b"OpusTags" + _COMMENTS]
        streams, coupled = 1, int(identification[9] == 2)
        if identification[18]:  # a channel mapping table follows (RFC 7845 §5.1.1)
            if len(identification) < 21:
                raise Unmakeable("is Opus without a channel mapping")
            streams, coupled = identification[19], identification[20]
        if not streams or coupled > streams:
            raise Unmakeable("is Opus with a channel mapping that makes no sense")
        # all but the last stream tell the length of their frame
        tocs = [0xFC if number < coupled else 0xF8 for number in range(streams)]
        before = b"".join(bytes((toc, 2, 0xFF, 0xFE)) for toc in tocs[:-1])
        self._packet = before + _padded(tocs[-1], round(bitrate / 8 / 50) - len(before))

    def packet(self, number: int) -> bytes:
        return self._packet


def _padded(toc: int, size: int) -> bytes:
    """A silent packet as long as it was asked for, if that is longer than it must be.

    Code 3 (RFC 6716 §3.2.5): a byte with the padding flag and the number of frames; the length of the padding, where
    255 means 254 and another byte of length; the frame; the padding.
    """
    if size < 5:
        return bytes((toc, 0xFF, 0xFE))
    full, rest = divmod(size - 5, 255)
    lengths = b"\xff" * full + bytes((rest,))
    return bytes((toc | 3, 0x41)) + lengths + b"\xff\xfe" + bytes(254 * full + rest)


class _SilentVorbis:
    """Packets of one mode, that of the long blocks if there is one. The first is short, as encoders have it: it gives
    no samples (§4.3.8), but FFmpeg takes it for some that come before the link, which must be few.

    The modes stand at the end of the setup header (Vorbis I §4.2.4), behind codebooks and floors that only a decoder
    would want to read. So they are read backwards: a framing bit, then as many modes of 41 bits, whose window and
    transform type are 0, as six bits before the first of them say.
    """

    def __init__(self, codec: Vorbis, packets: list[bytes], bitrate: int) -> None:
        if len(packets) < 3:
            raise Unmakeable("is Vorbis without a setup")
        self.headers = [packets[0], b"\x03vorbis" + _COMMENTS + b"\x01", packets[2]]
        modes = vorbis_modes(packets[2])
        if not modes:
            raise Unmakeable("is Vorbis whose modes cannot be read")
        short, long = 1 << (packets[0][28] & 15), codec.long_block
        width = (len(modes) - 1).bit_length()
        # bits from the least significant on (§2.1.4): an audio packet, the mode, and, of a long block, whether those
        # before and behind it are long
        if True in modes:
            mode = modes.index(True)
            steady, used = mode << 1 | 3 << 1 + width, 3 + width
            second = mode << 1 | 2 << 1 + width
            self.samples = long // 2
        else:
            steady = second = 0
            used = 1 + width
            self.samples = short // 2
        size = max((used + codec.channels + 7) // 8, round(bitrate / 8 * self.samples / codec.sample_rate))
        self._steady = steady.to_bytes(size, "little")
        self._first, self.delay = [self._steady], self.samples
        if set(modes) == {True, False}:
            first = modes.index(False) << 1
            self._first = [each.to_bytes(size, "little") for each in (first, second)]
            self.delay = 2 * self.samples - (short + long) // 4

    def packet(self, number: int) -> bytes:
        return self._first[number] if number < len(self._first) else self._steady


_MODE_BITS = 41
_MOST_MODES = 64
_MOST_MAPPINGS = 64


def vorbis_modes(setup: bytes) -> list[bool]:
    """Whether each mode's blocks are long, from a setup header; nothing if that makes no sense."""
    bits = int.from_bytes(setup, "little")
    end = bits.bit_length() - 1  # the framing bit
    modes: list[bool] = []
    found: list[bool] = []
    while len(modes) < _MOST_MODES and end >= _MODE_BITS + 6:
        end -= _MODE_BITS
        mode = bits >> end & (1 << _MODE_BITS) - 1
        if mode >> 1 & 0xFFFFFFFF or mode >> 33 >= _MOST_MAPPINGS:
            break
        modes.insert(0, bool(mode & 1))
        if (bits >> (end - 6) & 63) + 1 == len(modes):
            found = list(modes)
    return found


class _FlacInOgg:
    """RFC 9639 §10.1: the first packet says how many header packets follow, and has the stream information."""

    delay = 0

    def __init__(self, codec: Flac, identification: bytes, bitrate: int) -> None:
        flac = SilentFlac(identification[17:51], bitrate)
        last = 0x80
        comment = bytes((last | 4,)) + len(_COMMENTS).to_bytes(3, "big") + _COMMENTS
        one = (1).to_bytes(2, "big")
        self.headers = [identification[:7] + one + identification[9:17] + flac.stream_info, comment]
        self.samples = flac.block_size
        self.packet = flac.frame

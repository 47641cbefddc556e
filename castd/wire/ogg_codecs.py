"""What Ogg itself does not say: each codec's header packets, and what its granule positions count.

A logical stream names its codec by the first bytes of its first packet. What follows here about each is from

* Vorbis I specification, §4.2 (headers) and §A.2 (Ogg);
* RFC 7845 for Opus in Ogg, RFC 6716 §3.1 for the length of an Opus packet;
* RFC 9639 §10.1 for FLAC in Ogg, §8.2 for its stream information, §9.1 for the length of a frame;
* The Speex Codec Manual, "Ogg file format";
* Theora specification, §6.1, and Ogg Skeleton 4, only so far as to know them as something else than audio.

All of it is the encoder's word. Nothing here raises: what makes no sense is an unknown codec, or a length of 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

COMMENT_INDEX = 1
"""The comment header is the second packet, in every codec here that has one."""

_RATES = range(1_000, 1_000_001)
"""Sample rates, in Hz, of which a clock can be made."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One logical stream's codec. This class itself is the unknown one: its headers end where its data begins.

    Attributes:
        name: as in Head.codec.
        sample_rate: what granule positions count, in Hz; 0 if they are no count of samples.
        channels: 0 if unknown.
        bitrate: nominal, in bit/s, 0 if the header names none.
        pre_skip: samples at the start of the stream that a decoder throws away.
        audio: whether listeners hear it.
        open_ended: whether the header packets end without saying so.
        exact: whether samples() is the truth rather than a bound.
    """

    name: str = "unknown"
    sample_rate: int = 0
    channels: int = 0
    bitrate: int = 0
    pre_skip: int = 0
    audio: ClassVar[bool] = False
    open_ended: ClassVar[bool] = True
    exact: ClassVar[bool] = False

    def is_header(self, index: int, packet: bytes) -> bool:
        """Whether this can be header packet number `index`, counted from 0."""
        return True

    def is_last_header(self, index: int, packet: bytes) -> bool:
        """Whether no header packet follows this one."""
        return False

    def parameters(self, index: int, packet: bytes) -> bytes:
        """What of header packet number `index` a decoder is set up with, as opposed to what describes one recording."""
        return b""

    def samples(self, packet: bytes) -> int:
        """How many samples a packet decodes to, from its first bytes; if not exact, at most."""
        return 0


@dataclass(frozen=True, slots=True)
class _Closed(Codec):
    """A codec that says how many header packets it has."""

    headers: int = 2
    open_ended: ClassVar[bool] = False

    def is_last_header(self, index: int, packet: bytes) -> bool:
        return index + 1 >= self.headers


@dataclass(frozen=True, slots=True)
class Vorbis(_Closed):
    """Exact lengths would need the modes, far inside the setup header; the longest block bounds them well enough."""

    long_block: int = 0
    audio: ClassVar[bool] = True

    def is_header(self, index: int, packet: bytes) -> bool:
        return packet.startswith(bytes((2 * index + 1,)) + b"vorbis")

    def parameters(self, index: int, packet: bytes) -> bytes:
        return b"" if index == COMMENT_INDEX else packet

    def samples(self, packet: bytes) -> int:
        return self.long_block // 2  # §4.3.8: two windows overlap by half


@dataclass(frozen=True, slots=True)
class Opus(_Closed):
    audio: ClassVar[bool] = True
    exact: ClassVar[bool] = True

    def is_header(self, index: int, packet: bytes) -> bool:
        return index == 0 or packet.startswith(b"OpusTags")

    def parameters(self, index: int, packet: bytes) -> bytes:
        """Channels, gain and mapping (RFC 7845 §5.1); not the pre-skip, nor the rate of the original."""
        return packet[9:10] + packet[16:] if index == 0 else b""

    def samples(self, packet: bytes) -> int:
        return opus_samples(packet)


@dataclass(frozen=True, slots=True)
class Flac(Codec):
    audio: ClassVar[bool] = True
    open_ended: ClassVar[bool] = False
    exact: ClassVar[bool] = True

    def is_header(self, index: int, packet: bytes) -> bool:
        return index == 0 or packet[:1] not in (b"", b"\xff")  # 0xff begins a frame

    def is_last_header(self, index: int, packet: bytes) -> bool:
        """§8.1: the last metadata block has its first bit set. In the first packet 13 bytes precede the block."""
        return bool(packet[13 if index == 0 else 0] & 0x80)

    def parameters(self, index: int, packet: bytes) -> bytes:
        """Block sizes, sample rate, channels and bits (RFC 9639 §8.2); not frame sizes, length and checksum."""
        return packet[17:21] + packet[27:30] + bytes((packet[30] & 0xF0,)) if index == 0 else b""

    def samples(self, packet: bytes) -> int:
        return flac_samples(packet)


@dataclass(frozen=True, slots=True)
class Speex(_Closed):
    packet_samples: int = 0
    audio: ClassVar[bool] = True
    exact: ClassVar[bool] = True

    def parameters(self, index: int, packet: bytes) -> bytes:
        return packet if index == 0 else b""

    def samples(self, packet: bytes) -> int:
        return self.packet_samples


@dataclass(frozen=True, slots=True)
class Theora(_Closed):
    """Pictures, Theora specification."""

    @staticmethod
    def is_keyframe(packet: bytes) -> bool:
        """Whether a packet is a picture that needs no other (§7.1): no header, and of frame type 0."""
        return packet != b"" and packet[0] & 0xC0 == 0

    def is_header(self, index: int, packet: bytes) -> bool:
        return packet.startswith(bytes((0x80 + index,)) + b"theora")


def identify(packet: bytes) -> Codec:
    """The codec of a logical stream.

    Args:
        packet: the first packet of the stream, from its BOS page. Untrusted.
    """
    for signature, size, read in _IDENTIFICATION:
        if packet.startswith(signature) and len(packet) >= size:
            return read(packet) or Codec()
    return Codec()


def _vorbis(packet: bytes) -> Codec | None:
    version, channels, rate, highest, nominal, lowest, blocks = struct.unpack_from("<IBIiiiB", packet, 7)
    short, long = blocks & 15, blocks >> 4
    if version or not channels or rate not in _RATES or not 6 <= short <= long <= 13:
        return None
    return Vorbis("vorbis", rate, channels, max(nominal or highest or lowest, 0), headers=3, long_block=1 << long)


def _opus(packet: bytes) -> Codec | None:
    version, channels, pre_skip = struct.unpack_from("<BBH", packet, 8)
    if version > 15 or not channels:  # RFC 7845 §5.1: up to 15 is the same major version
        return None
    return Opus("opus", 48_000, channels, pre_skip=pre_skip)  # whatever the rate of the original was


def _flac(packet: bytes) -> Codec | None:
    rate = int.from_bytes(packet[27:30], "big") >> 4
    if packet[5] != 1 or packet[9:13] != b"fLaC" or packet[13] & 0x7F or rate not in _RATES:
        return None
    return Flac("flac", rate, (packet[29] >> 1 & 7) + 1)


def _speex(packet: bytes) -> Codec | None:
    rate, _, _, channels, bitrate, frame_samples, _, frames, extra_headers = struct.unpack_from("<9i", packet, 36)
    sane = rate in _RATES and 1 <= channels <= 2 and 1 <= frame_samples <= 2_000 and 1 <= frames <= 100
    if not sane or not 0 <= extra_headers <= 100:
        return None
    headers, packet_samples = 2 + extra_headers, frame_samples * frames
    return Speex("speex", rate, channels, max(bitrate, 0), headers=headers, packet_samples=packet_samples)


_IDENTIFICATION = (
    # signature, bytes the header has at least, how to read it
    (b"\x01vorbis", 30, _vorbis),
    (b"OpusHead", 19, _opus),
    (b"\x7fFLAC", 51, _flac),
    (b"Speex   ", 72, _speex),
    (b"\x80theora", 42, lambda _: Theora("theora", headers=3)),
    (b"fishead\0", 8, lambda _: Codec("skeleton")),
)


def opus_samples(packet: bytes) -> int:
    """The length of an Opus packet at 48 kHz, from its TOC byte (RFC 6716 §3.1); 0 if it is malformed."""
    if not packet:
        return 0
    configuration, code = packet[0] >> 3, packet[0] & 3
    if configuration < 12:  # SILK: 10, 20, 40, 60 ms
        frame = (480, 960, 1920, 2880)[configuration & 3]
    elif configuration < 16:  # hybrid: 10, 20 ms
        frame = 480 << (configuration & 1)
    else:  # CELT: 2.5, 5, 10, 20 ms
        frame = 120 << (configuration & 3)
    frames = (1, 2, 2)[code] if code < 3 else int.from_bytes(packet[1:2], "big") & 63
    return frame * frames if frame * frames <= 5760 else 0  # §3.2.5: no more than 120 ms


def flac_samples(packet: bytes) -> int:
    """The block size a FLAC frame's header gives (RFC 9639 §9.1.1), 0 if this is no frame header."""
    if len(packet) < 7 or packet[0] != 0xFF or packet[1] & 0xFE != 0xF8:
        return 0
    code = packet[2] >> 4
    if code >= 8:
        return 256 << (code - 8)
    if code in (6, 7):
        # the size stands behind the coded number, whose leading one bits count its bytes, as in UTF-8 (§9.1.5)
        after = 4 + max(1, 8 - (packet[4] ^ 0xFF).bit_length())
        return int.from_bytes(packet[after : after + code - 5], "big") + 1
    return 0 if code == 0 else 192 if code == 1 else 144 << code


def comment_block(codec: str, packet: bytes) -> bytes:
    """The Vorbis comments in a comment header packet: what is left when the codec's own prefix is taken off.

    Args:
        codec: as in Head.codec.
        packet: as in Head.comment. Untrusted.

    Returns:
        b"" if this is no comment header of that codec.
    """
    if codec == "flac":  # RFC 9639 §8.1: block type 4, and 24 bits of length
        return packet[4:] if packet[:1] and packet[0] & 0x7F == 4 else b""
    prefix = {"vorbis": b"\x03vorbis", "opus": b"OpusTags", "speex": b""}.get(codec)
    return packet.removeprefix(prefix) if prefix is not None and packet.startswith(prefix) else b""

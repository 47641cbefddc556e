"""Silent frames of MPEG audio and of AAC in ADTS; the standards are named at castd.wire.mpeg_audio and castd.wire.adts.

MPEG audio is silent where all bits behind the header are 0: in layers I and II that allocates no bits to any subband
(ISO/IEC 11172-3 §2.4.1.5, §2.4.1.6); in layer III it is a main_data_begin of 0, so that nothing of the frames before is
used, and granules of no length (§2.4.1.7). What is left of the frame is stuffing.

AAC is silent where max_sfb is 0: no scale factor band has a spectrum (ISO/IEC 14496-3 §4.4.2). Fill elements (§4.5.2.9)
make up for the length.
"""

from __future__ import annotations

from castd.wire.adts import AdtsFramer
from castd.wire.bits import Bits
from castd.wire.frame_runs import TICKS_PER_SECOND
from castd.wire.mpeg_audio import MpegAudioFramer
from castd.wire.unmakeable import Unmakeable

_NO_CRC = 0x0001_0000  # protection_bit
_BITRATE = 0x0000_F000
_PADDING_AND_PRIVATE = 0x0000_0300
_MODE_EXTENSION = 0x0000_0030

_SCE, _CPE, _LFE, _FIL, _END = 0, 1, 3, 6, 7

_ELEMENTS = (
    (),
    (_SCE,),
    (_CPE,),
    (_SCE, _CPE),
    (_SCE, _CPE, _SCE),
    (_SCE, _CPE, _CPE),
    (_SCE, _CPE, _CPE, _LFE),
    (_SCE, _CPE, _CPE, _CPE, _LFE),
)
"""By channel_configuration (§1.6.3.5)."""

_LONGEST_FILL = 15 + 255 - 1
"""Bytes in one fill element (§4.4.2.7: count, and esc_count - 1)."""


class SilentMpeg:
    """Silent frames of MPEG audio, of the bitrate nearest to that of the stream; see castd.wire.silence.Silence.

    Args:
        like: the header of a frame of the stream.
        bitrate: in bit/s; 0 for that of this frame.
    """

    start = b""

    def __init__(self, like: bytes, bitrate: int) -> None:
        framer = MpegAudioFramer()
        given = framer.read_header(like, 0) if len(like) >= framer.HEADER_BYTES else None
        if given is None:
            raise Unmakeable("has no frame yet")
        word = int.from_bytes(like[:4], "big") & ~(_PADDING_AND_PRIVATE | _MODE_EXTENSION) | _NO_CRC
        words = [(word & ~_BITRATE | index << 12).to_bytes(4, "big") for index in range(1, 15)]
        wanted = bitrate or given.bitrate
        found = [(each, header) for each in words if (header := framer.read_header(each, 0)) is not None]
        chosen, header = min(found, key=lambda each: abs(each[1].bitrate - wanted))
        self._frame = chosen.ljust(header.length, b"\0")
        self.seconds = header.ticks / TICKS_PER_SECOND

    def next(self) -> bytes:
        """See castd.wire.silence.Silence."""
        return self._frame


class SilentAdts:
    """Silent frames of AAC; see castd.wire.silence.Silence.

    Args:
        like: the header of a frame of the stream.
        bitrate: in bit/s; 0 for the shortest frames.
    """

    start = b""

    def __init__(self, like: bytes, bitrate: int) -> None:
        framer = AdtsFramer()
        given = framer.read_header(like, 0) if len(like) >= framer.HEADER_BYTES else None
        if given is None:
            raise Unmakeable("has no frame yet")
        elements = _ELEMENTS[(like[2] & 1) << 2 | like[3] >> 6]
        if not elements:
            raise Unmakeable("is AAC whose channels no header tells")
        self.seconds = given.ticks / ((like[6] & 3) + 1) / TICKS_PER_SECOND
        header_bytes = framer.HEADER_BYTES
        size = min(round(bitrate / 8 * self.seconds), framer.MAX_FRAME_BYTES)
        block = _silent_block(elements, size - header_bytes)
        length = header_bytes + len(block)
        header = Bits()
        header.add(int.from_bytes(like[:4], "big") >> 6 | _NO_CRC >> 6, 26)  # up to channel_configuration
        header.add(0, 4)  # original/copy, home, copyright identification
        header.add(length, 13)
        header.add(0x7FF, 11)  # adts_buffer_fullness: of a variable bitrate
        header.add(0, 2)
        self._frame = header.padded() + block

    def next(self) -> bytes:
        """See castd.wire.silence.Silence."""
        return self._frame


def _silent_block(elements: tuple[int, ...], size: int) -> bytes:
    """A raw_data_block, as long as it was asked for if that is longer than it must be."""
    bits = Bits()
    tags = dict.fromkeys((_SCE, _CPE, _LFE), 0)
    for element in elements:
        bits.add(element, 3)
        bits.add(tags[element], 4)
        tags[element] += 1
        if element == _CPE:
            bits.add(1, 1)  # common_window
            bits.add(0, 11)  # ics_info
            bits.add(0, 2)  # ms_mask_present
            _add_channel(bits)
            _add_channel(bits)
        else:
            bits.add(0, 8)  # global_gain
            bits.add(0, 11)  # ics_info
            bits.add(0, 3)
    while (room := (size * 8 - len(bits) - 3) // 8 - 2) > 0:
        _add_fill(bits, min(room, _LONGEST_FILL))
    bits.add(_END, 3)
    return bits.padded()


def _add_channel(bits: Bits) -> None:
    """An individual_channel_stream with a common window: global_gain; no pulses, no noise shaping, no gain control."""
    bits.add(0, 8)
    bits.add(0, 3)


def _add_fill(bits: Bits, count: int) -> None:
    """A fill_element with so many bytes of no meaning (extension_type 0, EXT_FILL)."""
    bits.add(_FIL, 3)
    if count < 15:
        bits.add(count, 4)
    else:
        bits.add(15, 4)
        bits.add(count - 14, 8)
    bits.add(0, count * 8)

"""MPEG audio (MP3, MP2, MP1): ISO/IEC 11172-3 (MPEG-1), ISO/IEC 13818-3 (MPEG-2: half the sample rates) and MPEG-2.5
(a quarter of them; Fraunhofer's extension, which has no standard of its own).

The header is 32 bits (ISO/IEC 11172-3 §2.4.1.3, meaning in §2.4.2.3; ISO/IEC 13818-3 §2.4.2.3 for the lower rates):

    syncword 11 | version 2 | layer 2 | protection_bit 1
    bitrate_index 4 | sampling_frequency 2 | padding_bit 1 | private_bit 1
    mode 2 | mode_extension 2 | copyright 1 | original/copy 1 | emphasis 2

MPEG-1 calls the first twelve bits the syncword and the next ID; MPEG-2.5 took the twelfth bit to say what it is.

Free format (bitrate_index 0, whose frames do not say how long they are) is not supported: such a stream is skipped.
A frame of layer III may use bits of up to 511 bytes before it, so a decoder that starts at an entry stays silent for
a frame or two; players are used to it.
"""

from __future__ import annotations

from itertools import product
from struct import Struct

from castd.wire.frame_header import Header
from castd.wire.frame_runs import TICKS_PER_SECOND
from castd.wire.frame_sync import FrameSync

# Values of the fields, as the standard numbers them.
_MPEG1, _MPEG2, _MPEG25 = 3, 2, 0  # 1 is reserved
_LAYER_I, _LAYER_II, _LAYER_III = 3, 2, 1  # 0 is reserved
_MONO = 3  # of the modes; the others (stereo, joint stereo, dual channel) have two channels

_SAMPLE_RATES = {
    _MPEG1: (44_100, 48_000, 32_000),
    _MPEG2: (22_050, 24_000, 16_000),
    _MPEG25: (11_025, 12_000, 8_000),
}

# kbit/s for bitrate_index 1 to 14 (0 is free format, 15 forbidden).
_BITRATES_LOW_I = (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_BITRATES_LOW_II_III = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_BITRATES = {
    (_MPEG1, _LAYER_I): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (_MPEG1, _LAYER_II): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (_MPEG1, _LAYER_III): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (_MPEG2, _LAYER_I): _BITRATES_LOW_I,
    (_MPEG2, _LAYER_II): _BITRATES_LOW_II_III,
    (_MPEG2, _LAYER_III): _BITRATES_LOW_II_III,
    (_MPEG25, _LAYER_I): _BITRATES_LOW_I,
    (_MPEG25, _LAYER_II): _BITRATES_LOW_II_III,
    (_MPEG25, _LAYER_III): _BITRATES_LOW_II_III,
}

# Bytes of header and side information of layer III, by version.
_SIDE_OF_TWO = (21, 21, 21, 36)
_SIDE_OF_ONE = (13, 13, 13, 21)
_TABLES = (b"Xing", b"Info")

_CODECS = {_LAYER_I: "mp1", _LAYER_II: "mp2", _LAYER_III: "mp3"}

_SYNC = 0xFFE0_0000
_KIND = 0xFFFE_0C00  # syncword, version, layer, sampling_frequency
_LAYER_BITS = 0x0006_0000
_STEADY = 0xFFFF_0CCF  # also protection_bit, mode, copyright, original/copy, emphasis
_READ = 0xFFFE_FEC0  # all that Header is made of: also bitrate_index, padding_bit, mode

_word = Struct(">I").unpack_from


def _samples(version: int, layer: int) -> int:
    """Samples in a frame (ISO/IEC 11172-3 §2.4.2.1; layer III of the lower rates has one granule, ISO/IEC 13818-3)."""
    if layer == _LAYER_I:
        return 384
    return 576 if layer == _LAYER_III and version != _MPEG1 else 1152


def _every_header() -> dict[int, Header]:
    """All headers there are, by their bits under _READ."""
    headers = {}
    for (version, layer), index, frequency, padding, mode in product(
        _BITRATES, range(1, 15), range(3), range(2), range(4)
    ):
        word = _SYNC | version << 19 | layer << 17 | index << 12 | frequency << 10 | padding << 9 | mode << 6
        rate = _SAMPLE_RATES[version][frequency]
        bitrate = 1000 * _BITRATES[version, layer][index - 1]
        samples = _samples(version, layer)
        slot = 4 if layer == _LAYER_I else 1  # bytes; §2.4.3.1 gives the length in slots
        headers[word] = Header(
            kind=word & _KIND,
            length=(samples // 8 // slot * bitrate // rate + padding) * slot,
            ticks=samples * (TICKS_PER_SECOND // rate),
            sample_rate=rate,
            channels=1 if mode == _MONO else 2,
            bitrate=bitrate,
        )
    return headers


_HEADERS = _every_header()


class MpegAudioFramer(FrameSync):
    """Frames of MPEG audio; see castd.wire.framer.Framer.

    The first frame of a file may be a table for seeking in the shape of a silent frame (Xing, Info or VBRI). It
    counts as a tag, also where an encoder sends file after file.
    """

    HEADER_BYTES = 4
    KIND_MASK = _KIND
    STEADY_MASK = _STEADY
    MAX_FRAME_BYTES = max(header.length for header in _HEADERS.values())

    def read_header(self, data: bytes | bytearray, at: int) -> Header | None:
        return _HEADERS.get(_word(data, at)[0] & _READ)

    def is_audio(self, data: bytearray, at: int, header: Header) -> bool:
        if header.kind & _LAYER_BITS != _LAYER_III << 17:
            return True
        # After the header and the side information (§2.4.1.7), whose size depends on version and channels.
        table = at + (_SIDE_OF_TWO if header.channels == 2 else _SIDE_OF_ONE)[header.kind >> 19 & 3]
        return data[table : table + 4] not in _TABLES and data[at + 36 : at + 40] != b"VBRI"

    @property
    def codec(self) -> str:
        """Of the last frame returned: "mp3", "mp2" or "mp1"; "unknown" before the first."""
        return _CODECS[(self._last.kind & _LAYER_BITS) >> 17] if self._last else "unknown"

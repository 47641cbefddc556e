"""AAC in ADTS frames: ISO/IEC 14496-3 §1.A.2.2 (ISO/IEC 13818-7 §6.2 for MPEG-2 AAC, the same but for ID).

    adts_fixed_header     syncword 12 | ID 1 | layer 2 | protection_absent 1
                          profile_ObjectType 2 | sampling_frequency_index 4 | private_bit 1 |
                          channel_configuration 3 | original/copy 1 | home 1
    adts_variable_header  copyright_identification_bit 1 | copyright_identification_start 1 | aac_frame_length 13 |
                          adts_buffer_fullness 11 | number_of_raw_data_blocks_in_frame 2

A 16-bit CRC follows if protection_absent is 0; aac_frame_length includes it. It covers the header and some of the
payload (§1.A.3.2) and is left to decoders: few encoders write it.

HE-AAC in ADTS says nothing of itself (implicit signalling, §1.6.5): header and frame are those of the AAC core, so
`sample_rate` is half and, with parametric stereo, `channels` too of what a decoder puts out. The time is right either
way: 1024 samples of the core last as long as the 2048 made from them.
"""

from __future__ import annotations

from castd.wire.frame_header import Header
from castd.wire.frame_runs import TICKS_PER_SECOND
from castd.wire.frame_sync import FrameSync

_SAMPLE_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
"""By sampling_frequency_index (§1.6.3.4); 13 and 14 are reserved, 15 (a rate of its own) has no place in ADTS."""

BLOCK_SAMPLES = 1024
"""In a raw_data_block. The 960 of digital radio cannot be told in ADTS."""

_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8)
"""By channel_configuration (§1.6.3.5); 0 leaves it to a program_config_element in the payload."""

_VARIABLE_RATE = 0x7FF
"""adts_buffer_fullness of a stream whose bitrate is not constant."""


class AdtsFramer(FrameSync):
    """AAC frames with ADTS headers; see castd.wire.framer.Framer. `bitrate` is that of one frame, and jumps about."""

    HEADER_BYTES = 7
    KIND_MASK = 0xFFFE_FDC0  # adts_fixed_header without protection_absent, private_bit, original/copy, home
    STEADY_MASK = 0xFFFF_FDC0  # with protection_absent
    MAX_FRAME_BYTES = (1 << 13) - 1

    codec = "aac"

    def read_header(self, data: bytes | bytearray, at: int) -> Header | None:
        first, second, third, fourth, fifth, sixth, seventh = data[at : at + 7]
        if first != 0xFF or second & 0xF6 != 0xF0:  # layer is always 0
            return None
        frequency = third >> 2 & 15
        length = (fourth & 3) << 11 | fifth << 3 | sixth >> 5
        if frequency >= len(_SAMPLE_RATES) or length < (7 if second & 1 else 9):
            return None
        rate = _SAMPLE_RATES[frequency]
        samples = BLOCK_SAMPLES * ((seventh & 3) + 1)
        return Header(
            0xFF00_0000 | (second & 0xFE) << 16 | (third & 0xFD) << 8 | fourth & 0xC0,
            length,
            samples * (TICKS_PER_SECOND // rate),
            rate,
            _CHANNELS[(third & 1) << 2 | fourth >> 6],
            length * 8 * rate // samples,
        )


def write_header(config: bytes, size: int) -> bytes:
    """The ADTS header of one raw_data_block.

    Args:
        config: AudioSpecificConfig, as castd.wire.packets.Track has it.
        size: of the block, in bytes, at most 8,184.
    """
    fields = int.from_bytes(config[:2])
    profile, frequency, channels = (fields >> 11) - 1, fields >> 7 & 15, fields >> 3 & 7
    word = 0xFFF1 << 40 | profile << 38 | frequency << 34 | channels << 30
    return (word | (7 + size) << 13 | _VARIABLE_RATE << 2).to_bytes(7)

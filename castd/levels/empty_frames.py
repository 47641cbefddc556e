"""MP3 and AAC frames in which nothing is: what encoders make of digital silence, told without decoding.

The gains in frames are no measure of how loud they are (docs/silence.md has the figures), but a frame that codes no
spectral line at all is silent whatever its gain. Noise of an analogue line, and dither, are not told from sound here.
"""

from __future__ import annotations

_MPEG1 = 3
_MONO = 3
_LAYER_III = 1

_EIGHT_SHORT = 2
_CPE, _SCE, _FIL = 1, 0, 6


class _Bits:
    """Reads bits, the first of each byte first; zeros after the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def take(self, count: int) -> int:
        self._left -= count
        rest = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return rest & ((1 << count) - 1)


def mp3_is_empty(frame: bytes) -> bool | None:
    """Whether a granule of a frame codes nothing in any channel; None if this is no frame of layer III.

    ISO/IEC 11172-3 §2.4.1.7: the side information tells for each granule and channel how many bits it has
    (part2_3_length). One of them may have some that mean nothing, to fill the frame up, as Shine does it; so one empty
    granule is enough, and a silence is many frames.
    """
    version, layer = frame[1] >> 3 & 3, frame[1] >> 1 & 3
    if layer != _LAYER_III:
        return None
    channels = 1 if frame[3] >> 6 == _MONO else 2
    start = 4 if frame[1] & 1 else 6  # a CRC follows the header
    bits = _Bits(frame[start : start + 32])
    if version == _MPEG1:
        granules, rest = 2, 47
        bits.take(9)  # main_data_begin
        bits.take(5 if channels == 1 else 3)  # private_bits
        bits.take(4 * channels)  # scfsi
    else:  # ISO/IEC 13818-3 §2.4.1.7
        granules, rest = 1, 51
        bits.take(8)
        bits.take(channels)
    for _ in range(granules):
        lengths = []
        for _ in range(channels):
            lengths.append(bits.take(12))
            bits.take(rest)
        if not any(lengths):
            return True
    return False


def aac_is_empty(frame: bytes) -> bool | None:
    """Whether an ADTS frame of one or two channels codes nothing; None if it has other contents.

    ISO/IEC 14496-3 §4.4.2.1: max_sfb counts the scale factor bands that are coded.
    """
    bits = _Bits(frame[7 if frame[1] & 1 else 9 :][:64])
    while (element := bits.take(3)) == _FIL:
        count = bits.take(4)
        bits.take(8 * (count + bits.take(8) - 1 if count == 15 else count))
    if element not in (_SCE, _CPE) or (frame[2] & 1) << 2 | frame[3] >> 6 > 2:
        return None
    bits.take(4)  # element_instance_tag
    if element == _CPE and bits.take(1):  # common_window
        return _max_sfb(bits) == 0
    return _is_empty_channel(bits) and (element == _SCE or _is_empty_channel(bits))


def _is_empty_channel(bits: _Bits) -> bool:
    """individual_channel_stream, as far as it goes when it is empty."""
    bits.take(8)  # global_gain
    if _max_sfb(bits):
        return False
    # no section, no scale factor: pulse_data_present, tns_data_present, gain_control_data_present
    return bits.take(3) == 0


def _max_sfb(bits: _Bits) -> int:
    """ics_info."""
    bits.take(1)  # ics_reserved_bit
    short = bits.take(2) == _EIGHT_SHORT
    bits.take(1)  # window_shape
    if short:
        count = bits.take(4)
        bits.take(7)  # scale_factor_grouping
        return count
    count = bits.take(6)
    bits.take(1)  # predictor_data_present
    return count

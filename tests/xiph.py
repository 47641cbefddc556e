"""The Xiph decoders, through pyogg: an oracle for what a listener received.

pyogg's own file classes do not expect holes or a stream of unknown length, so only its handles are used; see
castd.levels.xiph.
"""

from __future__ import annotations

import ctypes
import tempfile
from array import array
from dataclasses import dataclass
from typing import Any

from castd.levels.xiph import load

_HOLE = -3  # OV_HOLE, OP_HOLE: pages are missing here; decoding goes on
_CHUNK = 11520 * 8  # bytes: the largest Opus packet at 48 kHz, for several channels of 16 bits


class DecodeError(Exception):
    """The bytes do not decode."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Attributes:
    samples: for each channel.
    sample_rate: in Hz.
    channels: how many.
    pcm: the samples, interleaved, signed, 16 bits, native order.
    holes: how often the decoder found pages to be missing.
    """

    samples: int
    sample_rate: int
    channels: int
    pcm: bytes
    holes: int


def decode(codec: str, data: bytes) -> Decoded:
    """Decode an Ogg stream of one link, or of several links with equal parameters (FLAC: of one).

    Args:
        codec: "opus", "vorbis" or "flac".
        data: header pages and whole pages of data.

    Raises:
        DecodeError: they do not decode.
        ImportError: pyogg did not find the library; the message says which.
    """
    return {"opus": _opus, "vorbis": _vorbis, "flac": _flac}[codec](data)


def opus_packet_samples(packet: bytes) -> int:
    """What libopus says a packet decodes to at 48 kHz; negative if it is malformed."""
    library = load("opus", "PYOGG_OPUS_AVAIL").libopus
    # pyogg declares the packet an array of no bytes, which takes no bytes object
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32)
    samples: int = prototype(("opus_packet_get_nb_samples", library))(packet, len(packet), 48_000)
    return samples


def _opus(data: bytes) -> Decoded:
    opus: Any = load("opus", "PYOGG_OPUS_AVAIL", "PYOGG_OPUS_FILE_AVAIL")
    error = ctypes.c_int()
    memory = (ctypes.c_ubyte * len(data)).from_buffer_copy(data)
    stream = opus.libopusfile.op_open_memory(memory, len(data), ctypes.byref(error))
    if error.value:
        raise DecodeError(f"op_open_memory: {error.value}")
    try:
        channels = opus.libopusfile.op_channel_count(stream, -1)
        buffer = (opus.opus_int16 * (_CHUNK // 2))()
        pcm, holes = bytearray(), 0
        while got := opus.libopusfile.op_read(stream, buffer, len(buffer), None):
            if got > 0:
                pcm += bytes(memoryview(buffer).cast("B")[: got * channels * 2])
            elif got == _HOLE:
                holes += 1
            else:
                raise DecodeError(f"op_read: {got}")
    finally:
        opus.libopusfile.op_free(stream)
    return Decoded(len(pcm) // 2 // channels, 48_000, channels, bytes(pcm), holes)


def _vorbis(data: bytes) -> Decoded:
    vorbis: Any = load("vorbis", "PYOGG_VORBIS_AVAIL", "PYOGG_VORBIS_FILE_AVAIL")
    stream = vorbis.OggVorbis_File()
    with tempfile.NamedTemporaryFile(suffix=".ogg") as file:
        file.write(data)
        file.flush()
        if error := vorbis.libvorbisfile.ov_fopen(file.name.encode(), ctypes.byref(stream)):
            raise DecodeError(f"ov_fopen: {error}")
    try:
        info = vorbis.libvorbisfile.ov_info(ctypes.byref(stream), -1).contents
        buffer, section = ctypes.create_string_buffer(_CHUNK), ctypes.c_int()
        pcm, holes = bytearray(), 0
        while got := vorbis.libvorbisfile.ov_read(
            ctypes.byref(stream), ctypes.cast(buffer, ctypes.c_char_p), _CHUNK, 0, 2, 1, ctypes.byref(section)
        ):
            if got > 0:
                pcm += buffer.raw[:got]
            elif got == _HOLE:
                holes += 1
            else:
                raise DecodeError(f"ov_read: {got}")
        return Decoded(len(pcm) // 2 // info.channels, info.rate, info.channels, bytes(pcm), holes)
    finally:
        vorbis.libvorbisfile.ov_clear(ctypes.byref(stream))


def _flac(data: bytes) -> Decoded:
    flac: Any = load("flac", "PYOGG_FLAC_AVAIL")
    pcm, errors = array("h"), list[int]()
    format_: dict[str, int] = {}

    def write(_decoder: Any, frame: Any, buffers: Any, _data: Any) -> int:
        header = frame.contents.header
        channels = ctypes.cast(buffers, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32)))
        format_.update(sample_rate=header.sample_rate, channels=header.channels)
        for samples in zip(*(channels[n][: header.blocksize] for n in range(header.channels)), strict=True):
            pcm.extend(samples)
        return 0

    decoder = flac.libflac.FLAC__stream_decoder_new()
    callbacks = (
        flac.FLAC__StreamDecoderWriteCallback(write),
        flac.FLAC__StreamDecoderMetadataCallback(lambda _decoder, _metadata, _data: None),
        flac.FLAC__StreamDecoderErrorCallback(lambda _decoder, status, _data: errors.append(status)),
    )
    with tempfile.NamedTemporaryFile(suffix=".oga") as file:
        file.write(data)
        file.flush()
        error = flac.libflac.FLAC__stream_decoder_init_ogg_file(decoder, file.name.encode(), *callbacks, None)
        try:
            if error or not flac.libflac.FLAC__stream_decoder_process_until_end_of_stream(decoder) or errors:
                raise DecodeError(f"FLAC: {error} {errors}")
        finally:
            flac.libflac.FLAC__stream_decoder_finish(decoder)
            flac.libflac.FLAC__stream_decoder_delete(decoder)
    return Decoded(len(pcm) // format_["channels"], pcm=pcm.tobytes(), holes=0, **format_)

"""Opus and Vorbis packets to samples, by the Xiph libraries, through pyogg.

pyogg wraps the libraries with ctypes, and only its handles and structures are used here: several of its own prototypes
are wrong (those of vorbis_info_clear, ogg_sync_buffer), so each function gets its own. Importing it appends to the
environment's PATH with a separator that Linux does not know, which damages the last entry; hence the late import,
inside a guard. ctypes hands a stranger's bytes to C: never do that in the server's own process.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int32, c_long, c_longlong, c_void_p
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

OPUS_RATE = 48_000
"""What it is decoded to: at less, sounds above half of that would be silence."""

_OPUS_SAMPLES = 5760
"""In a packet, of each channel (RFC 6716 §3.2.5: 120 ms)."""

_OPUS_HEAD = 19
_VORBIS_HEADERS = 3
_VORBIS_CHANNELS = 8
"""More are no broadcast, and each costs memory."""

_SET_GAIN = 4034  # OPUS_SET_GAIN_REQUEST, in Q8 dB as the header has it (RFC 7845 §5.1)

Block = tuple["Sequence[float]", float]
"""Samples, full scale 1.0, and how many seconds they last; see Loudness.add."""


class Undecodable(Exception):
    """It cannot be decoded here at all; the message says why."""


class PacketDecoder(Protocol):
    """Of one link of an Ogg stream."""

    def decode(self, packet: bytes) -> Iterator[Block]:
        """What a packet, the next one, decodes to; nothing for a damaged one. The samples are good until the next.

        Raises:
            Undecodable: its headers are not what they should be.
        """
        ...


def load(name: str, *available: str) -> ModuleType:
    """Import one module of pyogg, and see that it found its libraries.

    Args:
        available: flags of that module which say so.

    Raises:
        ImportError: it did not; the message says which.
    """
    path = os.environ.get("PATH")
    try:
        module = importlib.import_module(f"pyogg.{name}")
    finally:
        if path is not None:
            os.environ["PATH"] = path
    if not all(getattr(module, flag) for flag in available):
        raise ImportError(
            f"pyogg found no shared library for {name}; on Debian: apt install libopusfile0 libvorbisfile3"
        )
    return module


def _prototype(library: Any, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = ctypes.CFUNCTYPE(result, *arguments)((name, library))
    return function


class OpusLibrary:
    """libopus.

    Raises:
        ImportError: see load.
    """

    def __init__(self) -> None:
        library = load("opus", "PYOGG_OPUS_AVAIL").libopus
        self.create = _prototype(
            library, "opus_multistream_decoder_create", c_void_p,
            c_int32, c_int, c_int, c_int, c_char_p, POINTER(c_int),
        )  # fmt: skip
        self.set_gain = _prototype(library, "opus_multistream_decoder_ctl", c_int, c_void_p, c_int, c_int)
        self.decode = _prototype(
            library, "opus_multistream_decode_float", c_int, c_void_p, c_char_p, c_int32, c_void_p, c_int, c_int
        )
        self.destroy = _prototype(library, "opus_multistream_decoder_destroy", None, c_void_p)


class Opus:
    """RFC 7845: a header, comments, packets. One or two channels are one stream of several that may be."""

    def __init__(self, library: OpusLibrary) -> None:
        self._library = library
        self._decoder: int | None = None
        self._packets = 0
        self._channels = 0

    def decode(self, packet: bytes) -> Iterator[Block]:
        """See PacketDecoder."""
        self._packets += 1
        if self._packets == 1:
            self._begin(packet)
        elif self._packets > 2:
            count = self._library.decode(self._decoder, packet, len(packet), self._buffer, _OPUS_SAMPLES, 0)
            if count > 0:
                yield self._samples[: count * self._channels], count / OPUS_RATE

    def _begin(self, head: bytes) -> None:
        if len(head) < _OPUS_HEAD:
            raise Undecodable("its Opus header is too short")
        self._channels, family = head[9], head[18]
        streams, coupled, mapping = (1, self._channels - 1, bytes(range(self._channels)))
        if family:
            streams, coupled, mapping = head[19], head[20], head[21 : 21 + self._channels]
        elif self._channels > 2:
            raise Undecodable("its Opus header contradicts itself")
        error = c_int()
        self._decoder = self._library.create(OPUS_RATE, self._channels, streams, coupled, mapping, byref(error))
        if not self._decoder or len(mapping) != self._channels:
            raise Undecodable("libopus does not take its header")
        self._library.set_gain(self._decoder, _SET_GAIN, int.from_bytes(head[16:18], "little", signed=True))
        self._buffer = (c_float * (_OPUS_SAMPLES * self._channels))()
        self._samples = memoryview(self._buffer).cast("B").cast("f")

    def __del__(self) -> None:
        if self._decoder:
            self._library.destroy(self._decoder)


class VorbisLibrary:
    """libvorbis, and pyogg's structures of it.

    Raises:
        ImportError: see load.
    """

    def __init__(self) -> None:
        # without libvorbisfile pyogg does not define the structures
        self.module = load("vorbis", "PYOGG_VORBIS_AVAIL", "PYOGG_VORBIS_FILE_AVAIL")
        library = self.module.libvorbis

        def of(name: str, count: int, result: Any = c_int) -> Callable[..., Any]:
            return _prototype(library, f"vorbis_{name}", result, *[c_void_p] * count)

        self.info_init, self.info_clear = of("info_init", 1, None), of("info_clear", 1, None)
        self.comment_init, self.comment_clear = of("comment_init", 1, None), of("comment_clear", 1, None)
        self.headerin, self.init = of("synthesis_headerin", 3), of("synthesis_init", 2)
        self.dsp_clear, self.block_init, self.block_clear = (
            of("dsp_clear", 1, None),
            of("block_init", 2),
            of("block_clear", 1),
        )
        self.synthesis, self.blockin = of("synthesis", 2), of("synthesis_blockin", 2)
        self.pcmout = of("synthesis_pcmout", 2)
        self.read = _prototype(library, "vorbis_synthesis_read", c_int, c_void_p, c_int)


class _Packet(ctypes.Structure):
    """ogg_packet."""

    _fields_ = [
        ("packet", c_char_p), ("bytes", c_long), ("b_o_s", c_long), ("e_o_s", c_long),
        ("granulepos", c_longlong), ("packetno", c_longlong),
    ]  # fmt: skip


class Vorbis:
    """Vorbis I specification, §4.2: three headers, then packets."""

    def __init__(self, library: VorbisLibrary) -> None:
        self._library, module = library, library.module
        self._info, self._comment = module.vorbis_info(), module.vorbis_comment()
        self._state, self._block = module.vorbis_dsp_state(), module.vorbis_block()
        self._packets, self._decodes = 0, False
        library.info_init(byref(self._info))
        library.comment_init(byref(self._comment))

    def decode(self, packet: bytes) -> Iterator[Block]:
        """See PacketDecoder."""
        library = self._library
        held = _Packet(packet, len(packet), self._packets == 0, 0, -1, self._packets)
        self._packets += 1
        if self._packets <= _VORBIS_HEADERS:
            if library.headerin(byref(self._info), byref(self._comment), byref(held)):
                raise Undecodable("libvorbis does not take its headers")
            if self._packets == _VORBIS_HEADERS:
                self._begin()
            return
        if library.synthesis(byref(self._block), byref(held)) == 0:
            library.blockin(byref(self._state), byref(self._block))
        channels = POINTER(POINTER(c_float))()
        while (count := library.pcmout(byref(self._state), byref(channels))) > 0:
            seconds = count / self._info.rate
            for channel in range(self._info.channels):
                samples = (c_float * count).from_address(ctypes.addressof(channels[channel].contents))
                yield memoryview(samples).cast("B").cast("f"), 0.0 if channel else seconds
            library.read(byref(self._state), count)

    def _begin(self) -> None:
        library = self._library
        if not 1 <= self._info.channels <= _VORBIS_CHANNELS or self._info.rate < 1:
            raise Undecodable(f"it has {self._info.channels} channels of {self._info.rate} Hz")
        if library.init(byref(self._state), byref(self._info)):
            raise Undecodable("libvorbis does not take its headers")
        self._decodes = True
        library.block_init(byref(self._state), byref(self._block))

    def __del__(self) -> None:
        library = self._library
        if self._decodes:
            library.block_clear(byref(self._block))
            library.dsp_clear(byref(self._state))
        library.comment_clear(byref(self._comment))
        library.info_clear(byref(self._info))

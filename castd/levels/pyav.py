"""MPEG audio and AAC frames to samples, by FFmpeg's decoders, through PyAV: the extra castd[levels]."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from castd.levels.xiph import Block

CODECS = {"mp1": "mp1float", "mp2": "mp2float", "mp3": "mp3float", "aac": "aac"}
"""Decoders, by codec; those of MPEG audio that put out floating point."""


class Frames:
    """Decodes one stream's frames.

    Args:
        module: `av`, see load.
        codec: a key of CODECS.
    """

    def __init__(self, module: Any, codec: str) -> None:
        self._module = module
        self._context = module.CodecContext.create(CODECS[codec], "r")
        self._context.thread_count = 1

    def decode(self, frame: bytes) -> Iterator[Block]:
        """What the next frame decodes to; nothing for a damaged one. The samples are good until the next."""
        try:
            decoded = self._context.decode(self._module.Packet(frame))
        except self._module.FFmpegError:
            return
        for each in decoded:
            if each.format.name != "fltp":
                continue
            seconds = each.samples / each.sample_rate
            for number, plane in enumerate(each.planes):
                yield memoryview(plane).cast("B").cast("f")[: each.samples], 0.0 if number else seconds


def load() -> Any:
    """The package.

    Raises:
        ImportError: it is not installed, or does not fit this machine.
    """
    module = importlib.import_module("av")
    module.logging.set_level(None)
    return module

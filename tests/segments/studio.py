"""A mount with a source of AAC, in a time moved by hand, and what is cut out of it."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from castd.config import MountSettings
from castd.mount.mount import Mount
from castd.mount.shape import Shape
from castd.wire.adts import AdtsFramer, write_header
from castd.wire.ogg import OggFramer
from castd.wire.ogg_pages import PageCutter
from tests.mount.fakes import HandClock, source

if TYPE_CHECKING:
    from castd.segments.segment import Segment
    from castd.segments.segmenter import Segmenter

SAMPLES = 1024


def config_of(sample_rate: int) -> bytes:
    """An AudioSpecificConfig: AAC-LC in stereo."""
    index = {48_000: 3, 44_100: 4, 32_000: 5, 24_000: 6}[sample_rate]
    return (2 << 11 | index << 7 | 2 << 3).to_bytes(2)


class Studio:
    """A mount and its source.

    Attributes:
        frames: every access unit that was sent, in order.
    """

    def __init__(
        self,
        *,
        low_latency: bool = True,
        window_seconds: float = 24.0,
        ring_bytes: int = 1 << 20,
        name: str = "/live",
        time: HandClock | None = None,
    ) -> None:
        self.time = time or HandClock()
        settings = MountSettings(ring_bytes=ring_bytes, hls_window_seconds=window_seconds)
        self.mount = Mount(name, settings, self.time.clock)
        self.burst_seconds = 0.05 if low_latency else 1.0
        self.frames: list[bytes] = []
        self._random = random.Random(1)
        self._owed = 0.0
        self.connect()

    def connect(self, sample_rate: int = 48_000) -> None:
        """A source comes."""
        self.rate = sample_rate
        self._framer = AdtsFramer()
        self._source = replace(source("audio/aac"), connected=self.time.now)
        self.mount.take_on(self._source)
        self.mount.recognised(self._source, Shape("aac", "aac", sample_rate), "audio/aac")

    def disconnect(self) -> None:
        """The source goes."""
        self.mount.release(self._source)

    def play(self, seconds: float, *, pace: float = 1.0) -> None:
        """Have the source send, in bursts.

        Args:
            pace: how much faster than it is heard.
        """
        sent = 0.0
        while sent < seconds:
            step = min(self.burst_seconds, seconds - sent)
            sent += step
            self.time.now += step / pace
            self._owed += step
            data = b""
            while self._owed > 0:
                self._owed -= SAMPLES / self.rate
                unit = self._random.randbytes(24) + struct.pack(">I", len(self.frames))
                self.frames.append(unit)
                data += write_header(config_of(self.rate), len(unit)) + unit
            for run in self._framer.feed(data):
                self.mount.append(self._source, run)


def catch_up(segmenter: Segmenter) -> None:
    """Have a segmenter read all there is."""
    while segmenter.advance():
        pass


def units(segments: list[Segment]) -> list[bytes]:
    """The access units in some segments, as far as they are Studio's: 28 bytes each."""
    found = []
    for segment in segments:
        data, at = segment.data, 0
        while at < len(data):
            size, kind = struct.unpack_from(">I4s", data, at)
            if kind == b"mdat":
                found += [data[start : start + 28] for start in range(at + 8, at + size, 28)]
            at += size
    return found


class Pages(Studio):
    """A source of Ogg: a file, over and over, at the speed of sound."""

    def __init__(self, file: Path) -> None:
        self._pages = PageCutter().feed(file.read_bytes())
        super().__init__()

    def connect(self, sample_rate: int = 48_000) -> None:
        self._ogg = OggFramer()
        self._next = 0
        self._source = replace(source("audio/ogg"), connected=self.time.now)
        self.mount.take_on(self._source)
        self.mount.recognised(self._source, Shape("ogg"), "audio/ogg")

    def play(self, seconds: float, *, pace: float = 1.0) -> None:
        begun = self.mount.timeline.end
        while self.mount.timeline.end < begun + seconds:
            page = self._pages[self._next % len(self._pages)]
            self._next += 1
            before = self.mount.timeline.end
            for run in self._ogg.feed(page):
                self.mount.append(self._source, run)
            self.time.now += (self.mount.timeline.end - before) / pace

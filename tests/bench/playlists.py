"""What an hour of segments costs: python -m tests.bench.playlists

Makes an hour of AAC of 128 kbit/s into segments, and playlists of them as listeners with low latency ask for them: one
with each part.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from functools import partial
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

import trio

from castd.adaptive import dash, playlists
from castd.segments.segmenter import Segmenter
from castd.segments.spool import Spool
from castd.wire.adts import write_header
from tests.segments.studio import SAMPLES, Studio, config_of

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_SECONDS = 3600.0

UNIT_BYTES = 341
"""Of an AAC frame at 128 kbit/s and 48 kHz, without its header."""

PARTS = 40

Made = TypeVar("Made")


class Music(Studio):
    """A source of 128 kbit/s."""

    def play(self, seconds: float, *, pace: float = 1.0) -> None:
        begun, sent, random_bytes = self.time.now, 0, random.Random(1).randbytes
        while sent * SAMPLES < seconds * self.rate:
            step = round(self.burst_seconds * self.rate / SAMPLES)
            sent += step
            self.time.now = begun + sent * SAMPLES / self.rate / pace
            unit = write_header(config_of(self.rate), UNIT_BYTES) + random_bytes(UNIT_BYTES)
            for run in self._framer.feed(unit * step):
                self.mount.append(self._source, run)


async def run() -> None:
    with TemporaryDirectory(prefix="castd-bench-") as folder:
        studio = Music(ring_bytes=1 << 27)
        studio.mount.reconfigure(replace(studio.mount.settings, ring_seconds=2 * HOUR_SECONDS))
        studio.play(HOUR_SECONDS + 60)
        segmenter = Segmenter(studio.mount, HOUR_SECONDS)
        segmenter.held.allow(HOUR_SECONDS, 1 << 30)
        segmenter.held.use(await Spool.open(folder, 1 << 30))
        seconds, longest = await _fill(segmenter)
        print(f"an hour is made into {len(segmenter.listed)} segments in {seconds:.2f} s of a core, "
              f"{longest * 1000:.1f} ms at a time at most")  # fmt: skip
        plain: list[float] = []
        packed: list[float] = []
        size = small = 0
        for _ in range(PARTS):
            studio.play(0.5)
            while segmenter.advance():
                pass
            while await segmenter.put_by():
                pass
            text, spent = _timed(lambda: playlists.media_text(segmenter, skip=False))
            plain.append(spent)
            packed.append(_timed(partial(getattr, text, "compressed"))[1])
            size, small = len(text.data), len(text.compressed)
        delta, spent = _timed(lambda: playlists.media_text(segmenter, skip=True))
        print(f"playlist: {_middle(plain)} ms and {_middle(packed)} ms for gzip; {size} bytes, {small} by gzip")
        print(f"delta update: {spent * 1000:.2f} ms, {len(delta.data)} bytes")
        manifest, spent = _timed(lambda: playlists.text_of(dash.manifest(segmenter)))
        print(f"manifest: {spent * 1000:.2f} ms and {_timed(lambda: manifest.compressed)[1] * 1000:.2f} ms for gzip; "
              f"{len(manifest.data)} bytes, {len(manifest.compressed)} by gzip")  # fmt: skip
        segmenter.close()


async def _fill(segmenter: Segmenter) -> tuple[float, float]:
    spent = longest = 0.0
    more = True
    while more:
        more, seconds = _timed(segmenter.advance)
        spent, longest = spent + seconds, max(longest, seconds)
        while await segmenter.put_by():
            pass
    return spent, longest


def _timed(work: Callable[[], Made]) -> tuple[Made, float]:
    begun = time.thread_time()
    return work(), time.thread_time() - begun


def _middle(seconds: list[float]) -> str:
    return f"{sorted(seconds)[len(seconds) // 2] * 1000:.2f}"


if __name__ == "__main__":
    trio.run(run)

"""What a rendition costs: an MP3 file encoded anew in each codec, in this process, as the one does that encodes.

python -m tests.bench.transcode FILE.mp3
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from castd.levels import pyav
from castd.transcode.__main__ import Transcoder
from castd.transcode.messages import Begin, Piece
from castd.transcode.rendition import PERIOD_SECONDS
from castd.wire.mpeg_audio import MpegAudioFramer

if TYPE_CHECKING:
    from castd.wire.framer import Run

RENDITIONS = (("aac", 64_000), ("opus", 48_000), ("mp3", 64_000))


def main() -> None:
    """Print a line for each."""
    framer = MpegAudioFramer()
    runs: list[Run] = []
    data, piece_bytes = Path(sys.argv[1]).read_bytes(), round(PERIOD_SECONDS * 128_000 / 8)
    for at in range(0, len(data), piece_bytes):
        runs += framer.feed(data[at : at + piece_bytes])
    seconds = runs[-1].end or 0.0
    module = pyav.load()
    for codec, bitrate in RENDITIONS:
        transcoder, size = Transcoder(module, Begin(codec, bitrate, 0)), 0
        began = time.process_time()
        for number, run in enumerate(runs):
            size += len(transcoder.take(Piece("mpeg", number == 0, run.start or 0.0, run.data)).data)
        share = (time.process_time() - began) / seconds
        print(f"{codec:5} {bitrate // 1000} kbit/s: {share:.2%} of a core, {size * 8 / seconds / 1000:.0f} kbit/s came")


if __name__ == "__main__":
    main()

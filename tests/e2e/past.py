"""A past for mounts of a server that is to be started: what one before it would have left in its state directory."""

from __future__ import annotations

import os
from time import time
from typing import TYPE_CHECKING

from castd.config import MountSettings
from castd.mount.mount import Clock, Mount
from castd.mount.rewind import GRAIN_BYTES, RewindFile, marks_of
from castd.mount.shape import Shape
from castd.wire.adts import AdtsFramer
from castd.wire.mpeg_audio import MpegAudioFramer
from tests.e2e.media import AAC, MP3
from tests.mount.fakes import source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from castd.wire.framer import Framer
    from tests.e2e.media import Media

SONG_SECONDS = 60.0
"""The title changes so often: "Song 0", "Song 1" and so on."""

FRAMED: dict[str, tuple[Callable[[], Framer], Shape]] = {
    AAC.name: (AdtsFramer, Shape("aac", "aac", 44_100)),
    MP3.name: (MpegAudioFramer, Shape("mpeg", "mp3", 44_100)),
}

AGO_SECONDS = 3.0
"""Since its end."""


def remember(state_dir: Path, name: str, media: Media) -> float:
    """Have a mount have heard a whole file, in its time, until a moment ago.

    Returns:
        The wall time at which it began.
    """
    now = 0.0
    begun = time() - AGO_SECONDS - media.times[-1]
    content_type = media.format.content_type
    mount = Mount(name, MountSettings(), Clock(monotonic=lambda: now, wall=lambda: begun + now))
    file = RewindFile.of(str(state_dir), name)
    size = -(-int(media.path.stat().st_size * 1.2) // GRAIN_BYTES) * GRAIN_BYTES
    new = file.allocate(size, size)
    file.take(new)
    mount.move_ring(new.descriptor, new.size)
    encoder = source(content_type)
    mount.take_on(encoder)
    make_framer, shape = FRAMED[media.format.name]
    mount.recognised(encoder, shape, content_type)
    framer, data, song = make_framer(), media.path.read_bytes(), 0
    for at in range(0, len(data), 2000):
        for run in framer.feed(data[at : at + 2000]):
            mount.append(encoder, run)
        if mount.timeline.end >= song * SONG_SECONDS:
            mount.set_title(f"Song {song}")
            song += 1
        now = mount.timeline.end
    mount.release(encoder)
    file.save(marks_of(mount, closed=True))
    assert os.stat(file.marks).st_size
    mount.ring.close()
    return begun

"""Chromium takes castd's fragmented MP4 by Media Source Extensions, for the right time, and plays it to its end."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from castd.wire.fmp4 import fragment, init_segment
from castd.wire.timed_id3 import Event, tag
from tests.e2e.peers import chromium
from tests.e2e.peers.chromium import Visit, visit
from tests.wire.segments import high_efficiency, length, load, parted

if TYPE_CHECKING:
    from castd.wire.track import Packet, Track

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs(chromium.PROGRAM)]

HIGH_EFFICIENCY = "HE-AAC"
"""Not a recording, but made of one."""

RECORDINGS = ("lc-44100-stereo.aac", "tagged-22050-mono.aac", HIGH_EFFICIENCY, "opus.opus", "chain.opus", "flac.oga")

BEGIN_SECONDS = 100_000
"""Where the second try begins: a mount that has been running for a day."""

# Appends segments one after the other, then plays from a time on.
PLAY = """
async ([type, segments, begin, deadline]) => {
  const audio = new Audio(), source = new MediaSource();
  const ended = new Promise(resolve => { audio.onended = audio.onerror = resolve; setTimeout(resolve, deadline); });
  audio.src = URL.createObjectURL(source);
  await new Promise(resolve => { source.onsourceopen = resolve; });
  const buffer = source.addSourceBuffer(type);
  for (const segment of segments) {
    const appended = new Promise(resolve => { buffer.onupdateend = resolve; });
    buffer.appendBuffer(Uint8Array.from(atob(segment), c => c.charCodeAt(0)));
    await appended;
  }
  source.endOfStream();
  audio.currentTime = begin;
  audio.playbackRate = 4;
  await audio.play();
  await ended;
  const ranges = buffer.buffered;
  return [
    [...Array(ranges.length).keys()].map(n => [ranges.start(n), ranges.end(n)]),
    audio.currentTime, audio.ended, audio.webkitAudioDecodedByteCount, audio.error && audio.error.message,
  ];
}
"""


async def test_chromium_buffers_and_plays(tmp_path: Path) -> None:
    def play(browser: Visit) -> list[str]:
        page = browser.open("about:blank")
        return [
            fault
            for name in RECORDINGS
            for begin in (0, BEGIN_SECONDS)
            if (fault := _fault(name, begin, page.evaluate(PLAY, [*_segments(name, begin), begin, 30_000])))
        ] + browser.errors

    assert await visit(tmp_path / "profile", play) == []


def _load(name: str) -> tuple[Track, list[Packet]]:
    if name != HIGH_EFFICIENCY:
        return load(name)
    track, packets = load("tagged-22050-mono.aac")
    return track, high_efficiency(packets)


def _segments(name: str, begin: int) -> tuple[str, list[str]]:
    """A recording's type, and it cut into segments of two parts each, in base64; with a title in each."""
    track, packets = _load(name)
    first = begin * track.sample_rate
    parts = [
        fragment(track, number, first + time, group, [Event(first + time, number, tag(f"Part {number}"))])
        for number, (time, group) in enumerate(parted(packets, 20))
    ]
    segments = [init_segment(track), *(b"".join(parts[at : at + 2]) for at in range(0, len(parts), 2))]
    return f'audio/mp4; codecs="{track.codecs}"', [b64encode(segment).decode() for segment in segments]


def _fault(name: str, begin: int, seen: Any) -> str:
    """What is not as it should be; nothing if all is."""
    buffered, position, ended, decoded_bytes, error = seen
    track, packets = _load(name)
    skipped = track.pre_skip / track.sample_rate  # it lies before the time that the first packet is for
    end = begin + length(packets) / track.sample_rate - skipped
    start = begin - (skipped if begin else 0)
    right = len(buffered) == 1 and abs(buffered[0][0] - start) < 1e-3 and abs(buffered[0][1] - end) < 1e-3
    heard = ended and not error and abs(position - end) < 1e-3 and decoded_bytes > sum(len(p.data) for p in packets) / 2
    return "" if right and heard else f"{name} from {begin} s, {start} to {end}: {seen}"

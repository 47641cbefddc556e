"""What encoders send in these tests: a minute of a sweep in each format, made once by ffmpeg, and known frame by frame.

A stereo sweep never repeats, so that a frame or packet is found in exactly one place of its file.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.units import Walk, adts_frames, mp3_frames, ogg_packets

SECONDS = 60
TITLE = "Tone é ü"
ARTIST = "Lab Ärtist"

SWEEP = "0.3*sin(2*PI*(220+8*t)*t)|0.3*sin(2*PI*(330+5*t)*t)"


@dataclass(frozen=True, slots=True)
class Format:
    """One format encoders send.

    Attributes:
        name: as tests and mounts are called.
        content_type: what an encoder says it is.
        container: ffmpeg's name of the container.
        walk: cuts a stream of it into frames or packets.
        encode: ffmpeg's options.
    """

    name: str
    content_type: str
    container: str
    walk: Walk
    encode: tuple[str, ...]


MP3 = Format("mp3", "audio/mpeg", "mp3", mp3_frames, ("-c:a", "libmp3lame", "-b:a", "128k", "-write_xing", "0"))
MP3_VBR = Format("mp3-vbr", "audio/mpeg", "mp3", mp3_frames, ("-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0"))
AAC = Format("aac", "audio/aac", "adts", adts_frames, ("-c:a", "aac", "-b:a", "128k"))
VORBIS = Format(
    "vorbis",
    "application/ogg",
    "ogg",
    ogg_packets,
    ("-c:a", "libvorbis", "-b:a", "128k", "-minrate", "128k", "-maxrate", "128k"),
)
OPUS = Format("opus", "audio/ogg", "ogg", ogg_packets, ("-c:a", "libopus", "-ar", "48000", "-b:a", "96k"))
FLAC = Format("flac", "audio/ogg", "ogg", ogg_packets, ("-c:a", "flac", "-sample_fmt", "s16"))

FORMATS = (MP3, MP3_VBR, AAC, VORBIS, OPUS, FLAC)


@dataclass(frozen=True, slots=True)
class Media:
    """A file in one format.

    Attributes:
        format: its format.
        path: where it is.
        units: its frames (MP3, ADTS) or packets (Ogg), in order.
        times: when each begins, in seconds, and last when the last one ends.
    """

    format: Format
    path: Path
    units: tuple[bytes, ...]
    times: tuple[float, ...]

    def find(self, received: Sequence[bytes]) -> Span:
        """Where in this file a listener was.

        Raises:
            AssertionError: what it received is no unbroken part of the file.
        """
        assert received, "not one whole frame was received"
        assert received[0] in self.units, f"the first of {len(received)} frames was never sent"
        first = self.units.index(received[0])
        end = first + len(received)
        for at, (sent, got) in enumerate(zip(self.units[first:end], received, strict=True)):
            assert sent == got, f"frame {at} of {len(received)} received is not what was sent there"
        return Span(first, end, self.times[end] - self.times[first])


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a file: the units from `first` up to, not including, `end`, and how long they play."""

    first: int
    end: int
    seconds: float


def make(folder: Path, formats: Sequence[Format] = FORMATS, seconds: int = SECONDS) -> Mapping[str, Media]:
    """Encode in some formats, in one run of ffmpeg.

    Returns:
        The files by the names of their formats.
    """
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", f"aevalsrc={SWEEP}:s=44100:d={seconds}"]
    command += ["-metadata", f"title={TITLE}", "-metadata", f"artist={ARTIST}"]
    paths = {form.name: folder / f"{form.name}.{form.container}" for form in formats}
    for form in formats:
        command += ["-map", "0:a", *form.encode, "-f", form.container, str(paths[form.name])]
    subprocess.run(command, check=True)
    return {form.name: _read(form, paths[form.name]) for form in formats}


def _read(form: Format, path: Path) -> Media:
    units = form.walk(path.read_bytes())
    command = ["ffprobe", "-v", "error", "-show_entries", "packet=duration_time", "-of", "csv=p=0", str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    durations = [float(line.strip(",")) for line in printed.split()]
    assert len(durations) == len(units), f"{path}: ffprobe sees {len(durations)} packets, we {len(units)}"
    return Media(form, path, tuple(units), tuple(itertools.accumulate(durations, initial=0.0)))

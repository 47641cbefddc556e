"""Every codec in, every codec out: all of the sound, at the source's times."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from castd.levels import pyav
from castd.transcode.__main__ import Transcoder
from castd.transcode.messages import Begin, Encoded, Piece
from castd.wire.adts import write_header
from castd.wire.packets import Packet, depacketizer
from castd.wire.sniff import framer_of

FIXTURES = Path(__file__).parents[1] / "fixtures"

SOURCES = (
    ("cbr-44100-stereo.mp3", "mpeg"),
    ("layer2-48000-crc.mp3", "mpeg"),
    ("mono-22050.mp3", "mpeg"),
    ("lc-44100-stereo.aac", "aac"),
    ("opus.opus", "ogg"),
    ("vorbis.ogg", "ogg"),
    ("flac.oga", "ogg"),
    ("chain.ogg", "ogg"),
    ("opus.webm", "webm"),
)

FORMATS = {"aac": "aac", "mp3": "mpeg", "opus": "ogg"}

MOST_ASTRAY = 0.15
"""Seconds: what links of a chained stream cut off at their ends is decoded, and an encoder fills up its last frame."""


def transcoded(path: Path, form: str, codec: str, *, without: tuple[float, float] = (0.0, 0.0)) -> list[Encoded]:
    """All answers to a file.

    Args:
        without: media times, in seconds, between which runs are lost.
    """
    framer = framer_of(form)
    data = path.read_bytes()
    runs = [run for at in range(0, len(data), 1500) for run in framer.feed(data[at : at + 1500])] + framer.finish()
    transcoder = Transcoder(pyav.load(), Begin(codec, 64_000, 0))
    answers = []
    for number, run in enumerate(runs):
        assert run.start is not None
        if not without[0] <= run.start < without[1]:
            answers.append(transcoder.take(Piece(form, number == 0, run.start, run.data)))
    return [*answers, transcoder.finish()]


def seconds(path: Path, form: str) -> float:
    framer = framer_of(form)
    end = [*framer.feed(path.read_bytes()), *framer.finish()][-1].end
    assert end is not None
    return end


@pytest.mark.parametrize("codec", FORMATS)
@pytest.mark.parametrize(("name", "form"), SOURCES)
def test_all_of_it_at_its_time(name: str, form: str, codec: str, tmp_path: Path) -> None:
    path = FIXTURES / name
    answers = transcoded(path, form, codec)
    assert not any(each.trouble for each in answers)
    made = [each for each in answers if each.data]
    assert -0.11 < made[0].start < 1e-6, "an encoder's delay before the first sample, and no more"
    assert made[-1].end == pytest.approx(seconds(path, form), abs=MOST_ASTRAY)
    for before, after in pairwise(made):
        assert after.start == pytest.approx(before.end, abs=MOST_ASTRAY)
    framer = framer_of(FORMATS[codec])
    runs = [*framer.feed(b"".join(each.data for each in made)), *framer.finish()]
    assert framer.skipped_bytes == 0
    assert framer.codec == codec
    assert runs[-1].end == pytest.approx(made[-1].end - made[0].start, abs=0.05)


def test_what_is_missing_is_missing_in_time() -> None:
    answers = [each for each in transcoded(FIXTURES / "vorbis.ogg", "ogg", "aac", without=(2.0, 4.0)) if each.data]
    assert answers[-1].end == pytest.approx(6.0, abs=MOST_ASTRAY)
    (gap,) = [after.start - before.end for before, after in pairwise(answers)
              if after.start - before.end > MOST_ASTRAY]  # fmt: skip
    assert 1.0 < gap < 3.0


@pytest.mark.needs("ffmpeg")
def test_channels_that_change_on_the_way(tmp_path: Path) -> None:
    """The stream goes on with as many as the source has, at the same rate."""
    framer, transcoder = framer_of("mpeg"), Transcoder(pyav.load(), Begin("opus", 64_000, 0))
    made = b""
    for name, start in (("cbr-44100-stereo.mp3", 0.0), ("mono-22050.mp3", 1.7)):
        data = (FIXTURES / name).read_bytes()
        runs = [*framer.feed(data), *framer.finish()]
        made += transcoder.take(Piece("mpeg", True, start, b"".join(run.data for run in runs))).data
        framer = framer_of("mpeg")
    made += transcoder.finish().data
    heads = [run.head for run in framer_of("ogg").feed(made) if run.head]
    assert [head.channels for head in heads] == [2, 1]
    file = tmp_path / "made.opus"
    file.write_bytes(made)
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(file), "-f", "null", "-"]
    assert not subprocess.run(command, check=True, capture_output=True).stderr


def test_what_nothing_decodes_is_told() -> None:
    answers = transcoded(FIXTURES / "speex.spx", "ogg", "aac")
    assert "nothing here decodes speex" in {each.trouble for each in answers}
    assert not any(each.data for each in answers)


def test_frames_of_noise_are_told() -> None:
    """Each has a header that is right, and nothing else: no decoder says that of one which may be damaged."""
    random, units = Random(1), [*depacketizer("aac").feed((FIXTURES / "lc-44100-stereo.aac").read_bytes())]
    frames = [
        write_header(b"\x12\x10", len(unit.data)) + random.randbytes(len(unit.data))
        for unit in units
        if isinstance(unit, Packet)
    ]
    transcoder, troubles = Transcoder(pyav.load(), Begin("aac", 64_000, 0)), []
    for number, frame in enumerate(frames * 5):
        troubles.append(transcoder.take(Piece("aac", number == 0, number * 0.023, frame)).trouble)
    assert set(troubles) == {"", "its frames are damaged, or no sound"}
    assert not troubles[0]


def test_noise_is_no_sound_and_no_error() -> None:
    transcoder = Transcoder(pyav.load(), Begin("mp3", 64_000, 0))
    for form in ("ogg", "mpeg", "aac", "webm"):
        assert not transcoder.take(Piece(form, True, 0.0, b"\xff\xfb\x90OggS\x1a\x45\xdf\xa3" * 500)).data
    assert not transcoder.finish().data

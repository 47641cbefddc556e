"""What is told of streams of known loudness; undecoded frames of silence; and whatever else may come."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from castd.levels.decoders import Libraries
from castd.levels.empty_frames import aac_is_empty, mp3_is_empty
from castd.levels.loudness import Loudness
from castd.mount.sound import NOTHING_DBFS
from castd.wire.adts import AdtsFramer
from castd.wire.mpeg_audio import MpegAudioFramer
from castd.wire.ogg_pages import Page, PageCutter
from tests.xiph import decode

if TYPE_CHECKING:
    from castd.levels.messages import Heard

FIXTURES = Path(__file__).parents[1] / "fixtures"

TONE_DBFS = 10 * math.log10(0.3**2 / 2 + 0.2**2 / 12)
"""Of the recordings of MPEG audio and AAC: a tone of 0.3 and noise of 0.2 (README-mpeg.md)."""


@pytest.fixture(scope="module")
def libraries() -> Libraries:
    return Libraries()


def hear(libraries: Libraries, format: str, name: str) -> Heard:
    framer = {"mpeg": MpegAudioFramer, "aac": AdtsFramer}.get(format)
    data = (FIXTURES / name).read_bytes()
    if framer is not None:
        cutting = framer()
        data = b"".join(run.data for run in cutting.feed(data) + cutting.finish())
    return libraries.stream(format).hear(data)


def test_levels_of_samples() -> None:
    loudness = Loudness()
    loudness.add(array("f", [math.sin(n * 0.1) for n in range(48_000)]), 1.0)
    assert loudness.level_dbfs == pytest.approx(-3.0, abs=0.1)
    assert loudness.peak_dbfs == pytest.approx(0.0, abs=0.1)
    loudness.add(array("f", bytes(4 * 48_000)), 1.0)
    assert loudness.level_dbfs == pytest.approx(-6.0, abs=0.1)
    assert loudness.seconds == 2.0


def test_levels_of_nothing_and_of_no_numbers() -> None:
    assert Loudness().level_dbfs == Loudness().peak_dbfs == NOTHING_DBFS
    wild = Loudness()
    wild.add(array("f", [math.nan, math.inf] * 500), 1.0)
    assert not math.isnan(wild.level_dbfs)


@pytest.mark.parametrize(("codec", "name"), [
    ("opus", "opus.opus"), ("opus", "chain.opus"), ("vorbis", "vorbis.ogg"), ("vorbis", "chain.ogg"),
])  # fmt: skip
def test_ogg_is_as_loud_as_the_oracle_says(libraries: Libraries, codec: str, name: str) -> None:
    heard = hear(libraries, "ogg", name)
    decoded = decode(codec, (FIXTURES / name).read_bytes())
    pcm = memoryview(decoded.pcm).cast("h")
    level = 10 * math.log10(sum(each * each for each in pcm) / len(pcm) / 32768**2)
    assert heard.level_dbfs == pytest.approx(level, abs=0.3)
    assert heard.seconds == pytest.approx(decoded.samples / decoded.sample_rate, abs=0.2)
    assert heard.trouble == ""


@pytest.mark.parametrize("name", ["opus.opus", "vorbis.ogg"])
def test_pages_one_by_one_are_the_same(libraries: Libraries, name: str) -> None:
    stream, seconds, levels = libraries.stream("ogg"), 0.0, []
    for page in PageCutter().feed((FIXTURES / name).read_bytes()):
        heard = stream.hear(page)
        seconds += heard.seconds
        levels += [heard.level_dbfs] if heard.level_dbfs is not None else []
    whole = hear(libraries, "ogg", name)
    assert seconds == pytest.approx(whole.seconds, abs=0.05)
    assert whole.level_dbfs == pytest.approx(max(levels), abs=3.0)


def test_headers_told_twice_and_audio_from_the_middle(libraries: Libraries) -> None:
    """As one begins to listen to a source that has been here for long."""
    pages = PageCutter().feed((FIXTURES / "vorbis.ogg").read_bytes())
    headers = [page for page in pages if Page.read(page).granule_position == 0]
    heard = libraries.stream("ogg").hear(b"".join([*headers, *headers, *pages[len(pages) // 2 :]]))
    assert heard.trouble == ""
    assert heard.seconds > 2


@pytest.mark.parametrize(("format", "name"), [
    ("mpeg", "cbr-44100-stereo.mp3"), ("mpeg", "vbr-44100-stereo.mp3"), ("mpeg", "layer2-48000-crc.mp3"),
    ("aac", "lc-44100-stereo.aac"),
])  # fmt: skip
def test_mpeg_and_aac_are_decoded_by_pyav(libraries: Libraries, format: str, name: str) -> None:
    assert libraries.av is not None
    heard = hear(libraries, format, name)
    assert heard.level_dbfs == pytest.approx(TONE_DBFS, abs=0.8)
    assert heard.seconds == pytest.approx(1.6, abs=0.15)


SILENT = [
    ("mpeg", "silence-lame.mp3"), ("mpeg", "silence-shine.mp3"), ("mpeg", "silence-22050-mono.mp3"),
    ("aac", "silence-44100-stereo.aac"),
]  # fmt: skip
LOUD = [
    ("mpeg", "cbr-44100-stereo.mp3"), ("mpeg", "vbr-44100-stereo.mp3"), ("mpeg", "mono-22050.mp3"),
    ("mpeg", "mono-8000.mp3"), ("aac", "lc-44100-stereo.aac"), ("aac", "tagged-22050-mono.aac"),
    ("aac", "right-44100-stereo.aac"),
]  # fmt: skip


@pytest.mark.parametrize("with_av", [True, False])
@pytest.mark.parametrize(("format", "name"), SILENT)
def test_digital_silence(libraries: Libraries, format: str, name: str, with_av: bool) -> None:
    heard = hear(libraries if with_av else without_av(), format, name)
    assert (heard.level_dbfs, heard.peak_dbfs) == (NOTHING_DBFS, NOTHING_DBFS)
    assert heard.seconds == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("format", "name"), LOUD)
def test_anything_else_without_the_package(format: str, name: str) -> None:
    heard = hear(without_av(), format, name)
    assert (heard.level_dbfs, heard.peak_dbfs, heard.trouble) == (None, None, "")
    assert heard.seconds > 0.4


def test_layer_two_needs_the_package() -> None:
    assert "castd[levels]" in hear(without_av(), "mpeg", "layer2-48000-crc.mp3").trouble


def without_av() -> Libraries:
    libraries = Libraries()
    libraries.av = None
    return libraries


def test_every_frame_of_silence_is_empty_and_none_of_a_tone() -> None:
    silent = [is_empty for format, name in SILENT for is_empty in verdicts(format, name)]
    loud = [is_empty for format, name in LOUD for is_empty in list(verdicts(format, name))[2:-2]]
    assert set(silent) == {True}
    assert set(loud) == {False}


def verdicts(format: str, name: str) -> Iterator[bool | None]:
    framer = MpegAudioFramer() if format == "mpeg" else AdtsFramer()
    for run in framer.feed((FIXTURES / name).read_bytes()) + framer.finish():
        at = 0
        while at < len(run.data):
            header = framer.read_header(run.data, at)
            assert header is not None
            frame = run.data[at : at + header.length]
            yield mp3_is_empty(frame) if format == "mpeg" else aac_is_empty(frame)
            at += header.length


@pytest.mark.parametrize("name", ["flac.oga", "speex.spx"])
def test_what_nothing_decodes(libraries: Libraries, name: str) -> None:
    heard = hear(libraries, "ogg", name)
    assert "nothing here decodes" in heard.trouble
    assert heard.seconds == 0


def test_a_missing_library_is_one_clear_message() -> None:
    libraries = Libraries()
    del libraries.packets["opus"]
    libraries.missing["opus"] = "pyogg found no shared library for opus"
    assert hear(libraries, "ogg", "opus.opus").trouble == "pyogg found no shared library for opus"
    assert hear(libraries, "ogg", "vorbis.ogg").trouble == ""


def test_pictures_beside_sound(libraries: Libraries) -> None:
    heard = hear(libraries, "ogg", "theora.ogg")
    assert heard.trouble == "" or "sound" in heard.trouble

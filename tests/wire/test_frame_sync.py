"""Both users of the synchroniser on recordings and on noise: cut anywhere, damaged anywhere, spliced."""

from __future__ import annotations

import itertools
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castd.wire.adts import AdtsFramer
from castd.wire.frame_runs import TICKS_PER_SECOND
from castd.wire.framer import ENTRY_SECONDS, RUN_BYTES, Framer, Run
from castd.wire.mpeg_audio import MpegAudioFramer

if TYPE_CHECKING:
    from castd.wire.frame_sync import FrameSync

FIXTURES = Path(__file__).parents[1] / "fixtures"

# ffprobe -v error -count_packets -show_entries stream=nb_read_packets -of csv=p=0 FILE; see README-mpeg.md there.
PACKETS = {
    "cbr-44100-stereo.mp3": (63, 1152 / 44_100),
    "vbr-44100-stereo.mp3": (63, 1152 / 44_100),
    "cbr-48000-stereo.mp3": (68, 1152 / 48_000),
    "mono-22050.mp3": (64, 576 / 22_050),
    "mono-8000.mp3": (25, 576 / 8_000),
    "layer2-48000-crc.mp3": (67, 1152 / 48_000),
    "lc-44100-stereo.aac": (70, 1024 / 44_100),
    "tagged-22050-mono.aac": (36, 1024 / 22_050),
}


def recording(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def framer_for(name: str) -> FrameSync:
    return AdtsFramer() if name.endswith(".aac") else MpegAudioFramer()


def run_through(framer: Framer, *pieces: bytes) -> list[Run]:
    runs = [run for piece in pieces for run in framer.feed(piece)]
    return runs + framer.finish()


def frames(framer: FrameSync, runs: list[Run]) -> list[bytes]:
    """The frames in runs, which must be whole ones."""
    found = []
    for run in runs:
        at = 0
        while at < len(run.data):
            header = framer.read_header(run.data, at)
            assert header is not None
            found.append(run.data[at : at + header.length])
            at += header.length
        assert at == len(run.data)
    return found


def frames_of(name: str, *pieces: bytes) -> list[bytes]:
    framer = framer_for(name)
    return frames(framer, run_through(framer, *pieces))


def flattened(runs: list[Run]) -> tuple[bytes, list[tuple[int, float]], float | None]:
    """What must not depend on how runs are grouped: the bytes, the entries at absolute offsets, the end."""
    data, entries, end = b"", [], None
    for run in runs:
        entries += [(len(data) + entry.offset, entry.time) for entry in run.entries]
        assert run.start is not None
        assert end is None or run.start == end
        data, end = data + run.data, run.end
    return data, entries, end


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("name", PACKETS)
def test_recording_gives_the_frames_and_the_time_that_ffprobe_counts(name: str) -> None:
    framer, data = framer_for(name), recording(name)
    runs = run_through(framer, data)
    packets, seconds = PACKETS[name]
    assert len(frames(framer, runs)) == packets
    assert runs[0].start == 0
    assert runs[-1].end == pytest.approx(packets * seconds, abs=1e-12)
    # All else in these files is tags.
    assert framer.skipped_bytes == framer.tag_bytes == len(data) - sum(len(run.data) for run in runs)


@pytest.mark.parametrize("name", PACKETS)
def test_runs_are_bounded_and_entries_spaced(name: str) -> None:
    runs = run_through(framer_for(name), recording(name))
    assert all(0 < len(run.data) <= RUN_BYTES for run in runs)
    _, entries, end = flattened(runs)
    times = [time for _, time in entries]
    assert entries[0] == (0, 0.0)
    assert end is not None
    frame = PACKETS[name][1]
    for earlier, later in itertools.pairwise(times):
        assert ENTRY_SECONDS - 1e-9 <= later - earlier < ENTRY_SECONDS + frame


@pytest.mark.parametrize("name", PACKETS)
def test_fed_byte_by_byte(name: str) -> None:
    data = recording(name)
    whole = flattened(run_through(framer_for(name), data))
    assert flattened(run_through(framer_for(name), *(data[at : at + 1] for at in range(len(data))))) == whole


def damaged_stream(name: str) -> bytes:
    """A recording twice over with noise between and a damaged byte in each hundred."""
    random = Random(name)
    data = bytearray(recording(name)[:9000] + random.randbytes(700) + recording(name)[:4000])
    for _ in range(len(data) // 100):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


@pytest.mark.parametrize("name", ["cbr-44100-stereo.mp3", "vbr-44100-stereo.mp3", "tagged-22050-mono.aac"])
@given(cuts=st.lists(st.integers(0, 20_000), max_size=40), damaged=st.booleans())
@settings(max_examples=25, deadline=None)
def test_cuts_change_nothing(name: str, cuts: list[int], damaged: bool) -> None:
    data = damaged_stream(name) if damaged else recording(name)[:12_000]
    whole, cut = framer_for(name), framer_for(name)
    expected = flattened(run_through(whole, data))
    assert flattened(run_through(cut, *pieces_of(data, cuts))) == expected
    assert (cut.skipped_bytes, cut.tag_bytes) == (whole.skipped_bytes, whole.tag_bytes)


def flip_everywhere(name: str, positions: range | list[int], masks: tuple[int, ...]) -> None:
    """Any one byte damaged: all other frames are there, in order, and nothing else."""
    data = recording(name)
    intact = frames_of(name, data)
    for position in positions:
        for mask in masks:
            damaged = bytearray(data)
            damaged[position] ^= mask
            framer = framer_for(name)
            runs = run_through(framer, bytes(damaged))
            if sum(len(run.data) for run in runs) == sum(map(len, intact)):
                assert b"".join(run.data for run in runs) in damaged
                continue
            found = frames(framer, runs)
            same = next((i for i, (a, b) in enumerate(zip(intact, found, strict=False)) if a != b), len(found))
            if len(found) > len(intact):  # the Info frame, when it can no longer be told from sound
                assert found[1:] == intact, (position, mask)
            else:
                assert found == intact[:same] + intact[same + 1 :], (position, mask)


def header_positions(name: str, width: int) -> list[int]:
    data = recording(name)
    positions: list[int] = []
    at = 0
    for frame in frames_of(name, data):
        at = data.index(frame, at)
        positions += range(at, at + width)
        at += len(frame)
    return positions


@pytest.mark.parametrize(
    ("name", "masks"), [("mono-22050.mp3", (0x01, 0x40, 0x80, 0xFF)), ("tagged-22050-mono.aac", (0x01, 0x60, 0xFF))]
)
def test_any_one_byte_damaged_costs_at_most_its_frame(name: str, masks: tuple[int, ...]) -> None:
    flip_everywhere(name, range(len(recording(name))), masks)


@pytest.mark.parametrize("name", PACKETS)
def test_any_one_bit_of_a_header_damaged_costs_at_most_its_frame(name: str) -> None:
    width = 6 if name.endswith(".aac") else 3
    flip_everywhere(name, header_positions(name, width)[::2], tuple(1 << bit for bit in range(8)))


@pytest.mark.parametrize("name", PACKETS)
def test_one_byte_lost_or_doubled_costs_at_most_two_frames(name: str) -> None:
    data = recording(name)
    intact = frames_of(name, data)
    for at in Random(1).sample(range(len(data)), 40):
        for changed in (data[:at] + data[at + 1 :], data[:at] + data[at : at + 1] + data[at:]):
            found = frames_of(name, changed)
            assert len([frame for frame in intact if frame not in found]) <= 2


@pytest.mark.parametrize("name", PACKETS)
def test_cut_in_mid_frame(name: str) -> None:
    """Joined and left anywhere, only the frames cut in two are missing."""
    data = recording(name)
    intact = frames_of(name, data)
    start = data.index(intact[5]) + 30
    end = data.index(intact[20]) + 40
    assert frames_of(name, data[start:end]) == intact[6:20]
    assert frames_of(name, data[:end]) == intact[:20]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cbr-44100-stereo.mp3", "cbr-48000-stereo.mp3"),
        ("cbr-48000-stereo.mp3", "mono-22050.mp3"),
        ("mono-22050.mp3", "layer2-48000-crc.mp3"),
        ("lc-44100-stereo.aac", "tagged-22050-mono.aac"),
        ("cbr-44100-stereo.mp3", "cbr-44100-stereo.mp3"),
    ],
)
def test_spliced_streams_are_followed_and_the_clock_carries_on(first: str, second: str) -> None:
    framer = framer_for(first)
    runs = run_through(framer, recording(first) + recording(second))
    expected = frames_of(first, recording(first)) + frames_of(second, recording(second))
    assert frames(framer, runs) == expected
    seconds = sum(packets * frame for packets, frame in (PACKETS[first], PACKETS[second]))
    assert flattened(runs)[2] == pytest.approx(seconds, abs=1e-12)
    assert framer.skipped_bytes == framer.tag_bytes


def test_splice_in_mid_frame() -> None:
    intact = frames_of("cbr-48000-stereo.mp3", recording("cbr-48000-stereo.mp3"))
    other = recording("mono-22050.mp3")
    cut = b"".join(intact[:10]) + intact[10][:200]
    assert frames_of("x.mp3", cut + other) == intact[:10] + frames_of("mono-22050.mp3", other)


@pytest.mark.parametrize("framer", [MpegAudioFramer, AdtsFramer])
@given(noise=st.binary(max_size=3000), seed=st.integers(0, 2**32), sync=st.booleans())
@settings(max_examples=40, deadline=None)
def test_noise_never_raises_nor_grows(framer: type[FrameSync], noise: bytes, seed: int, sync: bool) -> None:
    """Whatever comes, no more goes out than came in, all is accounted for, and the buffer stays bounded."""
    random = Random(seed)
    data = noise + random.randbytes(20_000)
    if sync:  # as many headers as can be
        header = b"\xff\xf1\x50\x80" if framer is AdtsFramer else b"\xff\xfb\x90\x64"
        data = b"".join(header + random.randbytes(random.randrange(60)) for _ in range(1000))
    subject = framer()
    out = 0
    for at in range(0, len(data), 1000):
        out += sum(len(run.data) for run in subject.feed(data[at : at + 1000]))
        assert len(subject._buffer) <= 5 * framer.MAX_FRAME_BYTES + framer.HEADER_BYTES + 1000
    out += sum(len(run.data) for run in subject.finish())
    assert out + subject.skipped_bytes == len(data)


@pytest.mark.parametrize("name", ["cbr-44100-stereo.mp3", "lc-44100-stereo.aac"])
def test_stream_after_noise(name: str) -> None:
    noise = Random(3).randbytes(50_000)
    assert frames_of(name, noise + recording(name)) == frames_of(name, recording(name))


def test_every_sample_is_a_whole_number_of_ticks() -> None:
    rates = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350]
    assert not any(TICKS_PER_SECOND % rate for rate in rates)

"""Transport streams: every field read back, and every sample decoded by ffmpeg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castd.wire.adts import AdtsFramer
from castd.wire.mpegts import CLOCK_START, Continuity, segment
from castd.wire.timed_id3 import Event, tag
from castd.wire.track import Packet, Track, Unsupported

from .segments import frames_of, load, parted, pcm, probe
from .transport import Pes, Reader

MP3, _ = load("cbr-44100-stereo.mp3")
AAC, _ = load("lc-44100-stereo.aac")
SOUND, TITLES = 0x100, 0x101

FRAMES = st.lists(st.binary(min_size=1, max_size=500), min_size=1, max_size=12)


def of_1152(*frames: bytes) -> list[Packet]:
    return [Packet(frame, 1152) for frame in frames]


def read_one(data: bytes) -> dict[int, list[Pes]]:
    return Reader().read(data)


def joined(found: Sequence[Pes]) -> bytes:
    return b"".join(pes.data for pes in found)


@given(segments=st.lists(FRAMES, min_size=1, max_size=6), begin=st.integers(0, 1 << 50))
@settings(deadline=None, max_examples=50)
def test_segments_read_back(segments: list[list[bytes]], begin: int) -> None:
    reader, continuity, time = Reader(), Continuity(), begin
    for frames in segments:
        packets = of_1152(*frames)
        data, continuity = segment(MP3, continuity, time, packets)
        found = reader.read(data)
        assert reader.order[:2] == [0, 0x1000]
        assert set(found) == {SOUND}
        assert joined(found[SOUND]) == b"".join(frames)
        for number, pes in enumerate(found[SOUND]):
            seconds = (time + number * 3 * 1152) / 44_100  # three frames last for less than 0.1 s, four for more
            assert (pes.pts - CLOCK_START - int(seconds * 90_000)) % (1 << 33) in (0, 1, (1 << 33) - 1)
            assert pes.pcr is not None
            assert (pes.pts * 300 - pes.pcr) % (300 << 33) == 27_000_000 // 10
            assert pes.stream == 0xC0
        time += 1152 * len(frames)
    assert reader.programs == {1: 0x1000}
    assert reader.clock == SOUND


def test_the_clock_wraps() -> None:
    wrap = ((1 << 33) - CLOCK_START) * 44_100 // 90_000
    data, _ = segment(MP3, Continuity(), wrap - 5 * 1152, of_1152(*[b"frame"] * 10))
    stamps = [pes.pts for pes in read_one(data)[SOUND]]
    steps = {(later - earlier) % (1 << 33) for earlier, later in pairwise(stamps)}
    assert len(stamps) == 4
    assert stamps[1] > stamps[2]
    assert steps <= {7053, 7054}  # 3 · 1152 / 44100 · 90000 = 7053.06


def test_all_a_segment_can_be_cut_to() -> None:
    """A payload of every length modulo that of a transport packet: every way to fill it up."""
    for size in range(1, 400):
        data, _ = segment(MP3, Continuity(), 0, of_1152(bytes(size)))
        assert joined(read_one(data)[SOUND]) == bytes(size)


def test_frames_too_many_for_one_pes_packet() -> None:
    track, frame = Track("aac", 96_000, 2, "mp4a.40.2", b"\x10\x10"), b"\xab" * 8184
    data, _ = segment(track, Continuity(), 0, [Packet(frame, 1024)] * 20)
    found = read_one(data)[SOUND]
    assert [len(pes.data) for pes in found] == [7 * 8191, 7 * 8191, 6 * 8191]
    assert [pes.pts - CLOCK_START for pes in found] == [0, 6720, 13440]


def test_titles_stand_before_the_sound_they_belong_to() -> None:
    first, second, late = tag("First", "Ä"), tag("Second"), b"ID3" + b"x" * 1000
    events = [Event(0, 1, first), Event(3 * 1152 + 5, 2, second), Event(12 * 1152, 3, late)]
    reader = Reader()
    data, continuity = segment(MP3, Continuity(), 0, of_1152(*[b"f" * 417] * 12), events)
    found = reader.read(data)
    assert reader.order[2:] == [TITLES, SOUND, TITLES, SOUND, SOUND, SOUND, TITLES]
    assert [(pes.stream, pes.pts - CLOCK_START, pes.data, pes.pcr) for pes in found[TITLES]] == [
        (0xBD, 0, first, None), (0xBD, (3 * 1152 + 5) * 90_000 // 44_100, second, None),
        (0xBD, 12 * 1152 * 90_000 // 44_100, late, None),
    ]  # fmt: skip
    assert joined(found[SOUND]) == b"f" * 417 * 12
    again = reader.read(segment(MP3, continuity, 12 * 1152, of_1152(b"f"), events[:1])[0])
    assert [pes.data for pes in again[TITLES]] == [first]


@pytest.mark.parametrize(
    ("codec", "rate", "stream_type"),
    [
        ("mp3", 44_100, 3), ("mp3", 32_000, 3), ("mp3", 24_000, 4), ("mp3", 8_000, 4), ("mp2", 48_000, 3),
        ("aac", 44_100, 15),
    ],
)  # fmt: skip
def test_program_map(codec: str, rate: int, stream_type: int) -> None:
    reader = Reader()
    reader.read(segment(replace(AAC, codec=codec, sample_rate=rate), Continuity(), 0, of_1152(b"x"))[0])
    # "Timed Metadata for HTTP Live Streaming", §2.3.1 and §2.3.2
    assert reader.descriptors == b"\x25\x0f\xff\xffID3 \xffID3 \x00\x1f\x00\x01"
    assert reader.streams == {SOUND: (stream_type, b""), TITLES: (0x15, b"\x26\x0d\xff\xffID3 \xffID3 \x00\x0f")}


@pytest.mark.parametrize("profile", range(4))
@pytest.mark.parametrize(("frequency", "channels"), [(0, 1), (4, 2), (12, 7)])
@given(size=st.integers(0, 8184))
@settings(deadline=None, max_examples=20)
def test_adts_headers(profile: int, frequency: int, channels: int, size: int) -> None:
    config = (profile + 1 << 11 | frequency << 7 | channels << 3).to_bytes(2)
    data, _ = segment(replace(AAC, config=config), Continuity(), 0, [Packet(bytes(size), 1024)])
    frame = joined(read_one(data)[SOUND])
    header = AdtsFramer().read_header(frame, 0)
    assert header is not None
    assert header.length == len(frame) == size + 7
    assert header.kind == 0xFFF0_0000 | profile << 14 | frequency << 10 | channels << 6


@pytest.mark.parametrize(
    ("track", "reason"),
    [
        (load("opus.opus")[0], "no browser plays opus in MPEG-TS"),
        (load("flac.oga")[0], "no browser plays flac in MPEG-TS"),
        (Track("vorbis", 44_100, 2, "", refused="for a reason"), "for a reason"),
    ],
)
def test_refused(track: Track, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        segment(track, Continuity(), 0, [Packet(b"x", 960)])


def stream(name: str, *sizes: int, begin: int = 0) -> list[bytes]:
    """A recording in segments of so many frames."""
    track, packets = load(name)
    continuity, segments = Continuity(), []
    for time, group in parted(packets, *sizes):
        title = Event(begin + time, time, tag(f"At {time}"))
        data, continuity = segment(track, continuity, begin + time, group, [title])
        segments.append(data)
    return segments


RECORDINGS = (
    "cbr-44100-stereo.mp3", "vbr-44100-stereo.mp3", "cbr-48000-stereo.mp3", "mono-22050.mp3", "mono-8000.mp3",
    "layer2-48000-crc.mp3", "lc-44100-stereo.aac", "tagged-22050-mono.aac",
)  # fmt: skip


@pytest.mark.parametrize("sizes", [(100,), (7, 1, 12)])
@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.needs("ffmpeg")
def test_ffmpeg_decodes_the_same_samples(name: str, sizes: tuple[int, ...]) -> None:
    form = "aac" if name.endswith("aac") else "mp3"
    assert pcm(b"".join(stream(name, *sizes))) == pcm(frames_of(name), "-f", form)


@pytest.mark.needs("ffmpeg")
def test_ffmpeg_decodes_over_a_wrap_of_the_clock() -> None:
    wrap = ((1 << 33) - CLOCK_START) * 44_100 // 90_000
    segments = stream("cbr-44100-stereo.mp3", 20, begin=wrap - 30 * 1152)
    assert pcm(b"".join(segments)) == pcm(frames_of("cbr-44100-stereo.mp3"), "-f", "mp3")


@pytest.mark.needs("ffprobe")
def test_ffprobe_sees_the_titles_at_their_times() -> None:
    data = b"".join(stream("cbr-44100-stereo.mp3", 21))
    told = probe(data, "-select_streams", "d", "-show_entries", "stream=codec_name:packet=pts")
    assert "timed_id3" in told
    for time in (0, 21 * 1152, 42 * 1152):
        assert f"{CLOCK_START + time * 90_000 // 44_100}," in told

"""MPEG audio headers, tags and tables. What holds for any such format is in test_frame_sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from castd.wire.mpeg_audio import MpegAudioFramer

from .test_frame_sync import frames, recording, run_through

if TYPE_CHECKING:
    from castd.wire.framer import Framer

HEADER_128K = bytes.fromhex("fffb9064")  # MPEG-1 layer III, 128 kbit/s, 44,100 Hz, no padding: 417 bytes


def frame(header: bytes = HEADER_128K, fill: int = 0x55) -> bytes:
    parsed = MpegAudioFramer().read_header(header, 0)
    assert parsed is not None
    return header + bytes([fill]) * (parsed.length - 4)


def syncsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


@pytest.mark.parametrize(
    ("header", "length", "samples", "rate", "channels", "bitrate"),
    [
        ("fffb9064", 417, 1152, 44_100, 2, 128_000),
        ("fffb9264", 418, 1152, 44_100, 2, 128_000),  # padding_bit
        ("fffbe464", 960, 1152, 48_000, 2, 320_000),
        ("fffbe8c4", 1440, 1152, 32_000, 1, 320_000),
        ("fff38064", 208, 576, 22_050, 2, 64_000),
        ("ffe318c4", 72, 576, 8_000, 1, 8_000),  # MPEG-2.5
        ("fffdc4c4", 768, 1152, 48_000, 1, 256_000),  # layer II
        ("fff5e804", 1440, 1152, 16_000, 2, 160_000),
        ("ffffc004", 416, 384, 44_100, 2, 384_000),  # layer I
        ("ffffc204", 420, 384, 44_100, 2, 384_000),  # its slots are of 4 bytes
    ],
)
def test_headers(header: str, length: int, samples: int, rate: int, channels: int, bitrate: int) -> None:
    framer = MpegAudioFramer()
    parsed = framer.read_header(bytes.fromhex(header), 0)
    assert parsed is not None
    assert (parsed.length, parsed.sample_rate, parsed.channels, parsed.bitrate) == (length, rate, channels, bitrate)
    stream = frame(bytes.fromhex(header)) * 4
    runs = run_through(framer, stream)
    assert b"".join(run.data for run in runs) == stream
    assert runs[-1].end == pytest.approx(4 * samples / rate, abs=1e-12)


@pytest.mark.parametrize(
    "header",
    [
        "fffb0064",  # free format
        "fffbf064",  # bitrate_index 15
        "fffb9c64",  # sampling_frequency 3
        "ffeb9064",  # reserved version
        "fff99064",  # layer 0
        "ff7b9064",
        "fefb9064",
    ],
)
def test_what_is_no_header(header: str) -> None:
    assert MpegAudioFramer().read_header(bytes.fromhex(header), 0) is None


def test_longest_frame() -> None:
    assert MpegAudioFramer.MAX_FRAME_BYTES == 2881  # layer II of MPEG-2.5, 160 kbit/s at 8,000 Hz


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels", "variable"),
    [
        ("cbr-44100-stereo.mp3", "mp3", 44_100, 2, False),
        ("vbr-44100-stereo.mp3", "mp3", 44_100, 2, True),
        ("mono-22050.mp3", "mp3", 22_050, 1, False),
        ("layer2-48000-crc.mp3", "mp2", 48_000, 2, False),
    ],
)
def test_what_the_status_page_shows(name: str, codec: str, rate: int, channels: int, variable: bool) -> None:
    framer = MpegAudioFramer()
    assert (framer.codec, framer.sample_rate, framer.channels, framer.bitrate) == ("unknown", 0, 0, 0)
    assert not framer.variable_bitrate
    run_through(framer, recording(name))
    assert (framer.codec, framer.sample_rate, framer.channels) == (codec, rate, channels)
    assert framer.variable_bitrate is variable


def test_bitrate() -> None:
    framer = MpegAudioFramer()
    run_through(framer, recording("cbr-44100-stereo.mp3"))
    assert framer.bitrate == 128_000


def test_a_frame_needs_no_more_than_the_next_header() -> None:
    framer: Framer = MpegAudioFramer()
    assert framer.feed(frame() * 2 + HEADER_128K[:3]) == []
    assert [len(run.data) for run in framer.feed(HEADER_128K[3:])] == [834]
    assert framer.feed(frame()[4:] + HEADER_128K[:3]) == []
    assert [len(run.data) for run in framer.feed(HEADER_128K[3:])] == [417]


@pytest.mark.parametrize("table", ["Xing", "Info", "VBRI"])
@pytest.mark.parametrize(("header", "offset"), [("fffb9064", 36), ("fffb90c4", 21), ("fff38064", 21), ("fff380c4", 13)])
def test_tables_for_seeking_are_no_audio(table: str, header: str, offset: int) -> None:
    """At the start and where an encoder goes on with the next file."""
    at = 36 if table == "VBRI" else offset
    audio = frame(bytes.fromhex(header))
    first = audio[:at] + table.encode() + audio[at + 4 :]
    framer = MpegAudioFramer()
    runs = run_through(framer, first + audio * 5 + first + audio * 3)
    assert frames(framer, runs) == [audio] * 8
    assert framer.tag_bytes == framer.skipped_bytes == 2 * len(first)


@pytest.mark.parametrize(
    "tag",
    [
        b"TAG" + b"x" * 125,
        b"ID3\4\0\0" + syncsafe(300) + b"\xff\xfb\x90\x64" * 75,
        b"ID3\4\0\x10" + syncsafe(300) + b"x" * 300 + b"3DI\4\0\x10" + syncsafe(300),
        b"ID3\3\0\0" + syncsafe(200_000) + b"\xff" * 200_000,
        b"APETAGEX\xd0\7\0\0" + (77).to_bytes(4, "little") + bytes(16) + b"x" * 77,
        b"ID3\4\0\0" + syncsafe(5) + b"title" + b"TAG" + b"x" * 125,
    ],
)
def test_tags_cost_no_frame(tag: bytes) -> None:
    framer = MpegAudioFramer()
    runs = run_through(framer, tag + frame() * 4 + tag + frame() * 4 + tag)
    assert frames(framer, runs) == [frame()] * 8
    assert framer.tag_bytes == framer.skipped_bytes == 3 * len(tag)


def test_a_tag_is_not_kept() -> None:
    framer = MpegAudioFramer()
    framer.feed(b"ID3\4\0\0" + syncsafe(15_000_000))
    for _ in range(100):
        assert framer.feed(bytes(100_000)) == []
        assert len(framer._buffer) < 120_000
    assert framer.skipped_bytes == framer.tag_bytes > 9_900_000


def test_a_tag_that_claims_too_much_hides_no_audio() -> None:
    framer = MpegAudioFramer()
    runs = run_through(framer, b"ID3\4\0\0" + syncsafe(5_000_000) + b"x" * 50 + frame() * 10)
    assert frames(framer, runs) == [frame()] * 10
    assert framer.tag_bytes == 60


def test_a_false_sync_at_the_same_place_in_each_payload() -> None:
    """The chain it makes is as good as the true one, but was not there first."""
    audio = frame()[:100] + HEADER_128K + frame()[104:]
    stream = bytearray(audio * 20)
    stream[417 * 7 + 2] = 0x80  # 112 kbit/s
    stream[417 * 12 + 1] = 0xF3
    stream[417 * 16 + 2] = 0xF0
    framer = MpegAudioFramer()
    assert frames(framer, run_through(framer, bytes(stream))) == [audio] * 17


def test_a_bitrate_damaged_to_the_length_of_many_frames() -> None:
    """At 48 kHz one bit makes a frame of 128 kbit/s end where the second after it begins."""
    audio = frame(bytes.fromhex("fffb9464"))
    damaged = audio[:2] + b"\xd4" + audio[3:]
    for before in range(5):
        framer = MpegAudioFramer()
        assert frames(framer, run_through(framer, audio * before + damaged + audio * 5)) == [audio] * (before + 5)


def test_a_mount_full_of_rate_changes_keeps_exact_time() -> None:
    framer = MpegAudioFramer()
    part = frame() * 7 + frame(bytes.fromhex("fffb9464")) * 5 + frame(bytes.fromhex("fff38064")) * 4
    runs = run_through(framer, part * 50)
    assert runs[-1].end == 50 * (7 * 1152 / 44_100 + 5 * 1152 / 48_000 + 4 * 576 / 22_050)
    assert framer.skipped_bytes == 0

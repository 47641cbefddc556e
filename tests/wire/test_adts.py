"""ADTS headers. What holds for any such format is in test_frame_sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from castd.wire.adts import AdtsFramer

from .test_frame_sync import frames, recording, run_through

if TYPE_CHECKING:
    from castd.wire.framer import Framer


def frame(
    payload: bytes = b"x" * 100,
    *,
    mpeg2: bool = False,
    crc: bool = False,
    profile: int = 1,
    frequency: int = 4,
    channels: int = 2,
    blocks: int = 1,
) -> bytes:
    """One frame, its header written bit by bit in the standard's order (ISO/IEC 14496-3 §1.A.2.2.1, §1.A.2.2.2)."""
    length = 7 + 2 * crc + len(payload)
    fields = (
        (0xFFF, 12), (mpeg2, 1), (0, 2), (not crc, 1), (profile, 2), (frequency, 4), (0, 1), (channels, 3), (0, 1),
        (0, 1), (0, 1), (0, 1), (length, 13), (0x7FF, 11), (blocks - 1, 2),
    )  # fmt: skip
    bits = "".join(f"{int(value):0{width}b}" for value, width in fields)
    return int(bits, 2).to_bytes(7, "big") + b"\x12\x34" * crc + payload


def with_crc(plain: bytes) -> bytes:
    """The same frame with two bytes of CRC (of no value: nobody looks) behind its header."""
    length = len(plain) + 2
    header = bytearray(plain[:7])
    header[1] &= 0xFE
    header[3:6] = ((int.from_bytes(header[3:6], "big") & ~(0x1FFF << 5)) | length << 5).to_bytes(3, "big")
    return bytes(header) + b"\xab\xcd" + plain[7:]


@pytest.mark.parametrize(
    ("frequency", "rate"),
    list(
        enumerate(
            [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350]
        )
    ),
)
def test_sample_rates(frequency: int, rate: int) -> None:
    framer = AdtsFramer()
    runs = run_through(framer, frame(frequency=frequency) * 3)
    assert runs[-1].end == 3 * 1024 / rate
    assert framer.sample_rate == rate


@pytest.mark.parametrize(("configuration", "channels"), [(0, 0), (1, 1), (2, 2), (6, 6), (7, 8)])
def test_channels(configuration: int, channels: int) -> None:
    framer = AdtsFramer()
    run_through(framer, frame(channels=configuration) * 3)
    assert framer.channels == channels


@pytest.mark.parametrize("profile", range(4))
@pytest.mark.parametrize("mpeg2", [False, True])
@pytest.mark.parametrize("crc", [False, True])
def test_kinds_of_frames(profile: int, mpeg2: bool, crc: bool) -> None:
    stream = frame(profile=profile, mpeg2=mpeg2, crc=crc) * 3
    assert b"".join(run.data for run in run_through(AdtsFramer(), stream)) == stream


def test_several_raw_data_blocks_in_a_frame() -> None:
    runs = run_through(AdtsFramer(), frame(blocks=1) * 2 + frame(blocks=4) * 2 + frame(blocks=2))
    assert runs[-1].end == (2 * 1 + 2 * 4 + 2) * 1024 / 44_100


def test_lengths_up_to_the_longest() -> None:
    stream = b"".join(frame(bytes(size)) for size in (0, 1, 8184, 300, 8184, 8184))
    assert AdtsFramer.MAX_FRAME_BYTES == 8191
    for size in (1, 1000, len(stream)):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert b"".join(run.data for run in run_through(AdtsFramer(), *pieces)) == stream


@pytest.mark.parametrize(
    "header",
    [
        frame(frequency=13)[:7],
        frame(frequency=15)[:7],
        b"\xff\xf1\x50\x80\x00\xdf\xfc",  # shorter than its header
        b"\xff\xf0\x50\x80\x01\x1f\xfc",  # shorter than its header and CRC
        b"\xff\xf3\x50\x80\x20\x1f\xfc",  # layer
        b"\xff\xe1\x50\x80\x20\x1f\xfc",
    ],
)
def test_what_is_no_header(header: bytes) -> None:
    assert AdtsFramer().read_header(header, 0) is None


def test_recording_with_crc() -> None:
    plain = AdtsFramer()
    recorded = frames(plain, run_through(plain, recording("lc-44100-stereo.aac")))
    checked = [with_crc(each) for each in recorded]
    framer = AdtsFramer()
    runs = run_through(framer, b"".join(checked))
    assert frames(framer, runs) == checked
    assert runs[-1].end == pytest.approx(70 * 1024 / 44_100, abs=1e-12)


def test_what_the_status_page_shows() -> None:
    framer = AdtsFramer()
    assert (framer.codec, framer.sample_rate, framer.channels) == ("aac", 0, 0)
    run_through(framer, recording("lc-44100-stereo.aac"))
    assert (framer.codec, framer.sample_rate, framer.channels) == ("aac", 44_100, 2)


def test_a_frame_needs_no_more_than_the_next_header() -> None:
    framer: Framer = AdtsFramer()
    assert framer.feed(frame() * 2 + frame()[:6]) == []
    assert [len(run.data) for run in framer.feed(frame()[6:7])] == [214]

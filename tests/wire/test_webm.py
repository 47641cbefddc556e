"""WebM: whatever the pieces it comes in, whole blocks and clusters go out, and decoders begin where they can."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from castd.errors import FramingError
from castd.wire.ebml import UNKNOWN, children, read_element
from castd.wire.sniff import Sniffer
from castd.wire.webm import CLUSTER, HEAD_BYTES, MARK, WebmFramer

if TYPE_CHECKING:
    from castd.wire.framer import Run

FIXTURES = Path(__file__).parents[1] / "fixtures"

FILES = {"opus.webm": ("opus", 48_000, 1), "vp8-vorbis.webm": ("vorbis", 44_100, 1)}

CLUSTER_MARK = CLUSTER.to_bytes(4)


def framed(data: bytes, *cuts: int) -> tuple[WebmFramer, list[Run]]:
    framer, runs, at = WebmFramer(), [], 0
    for cut in (*sorted(cuts), len(data)):
        runs += framer.feed(data[at:cut])
        at = cut
    return framer, runs + framer.finish()


@pytest.mark.parametrize("name", FILES)
def test_a_file(name: str) -> None:
    framer, runs = framed((FIXTURES / name).read_bytes())
    assert (framer.codec, framer.sample_rate, framer.head and framer.head.channels) == FILES[name]
    assert framer.skipped_bytes == 0
    assert [run.head is not None for run in runs] == [True] + [False] * (len(runs) - 1)
    assert runs[0].data.startswith(MARK)
    assert runs[-1].end == pytest.approx(4.0, abs=0.15)
    entries = [(run, entry) for run in runs for entry in run.entries]
    assert len(entries) >= 4
    for run, entry in entries:
        assert run.data[entry.offset :].startswith(CLUSTER_MARK)
    times = [entry.time for _, entry in entries]
    assert times == sorted(times)
    assert times[0] == pytest.approx(0.0, abs=0.1)
    assert all(a.end == b.start for a, b in pairwise(runs[1:]))


def test_entries_with_pictures_are_at_keyframes() -> None:
    """Every second there is one (-g 10 at 10 Hz); clusters begin elsewhere."""
    _, runs = framed((FIXTURES / "vp8-vorbis.webm").read_bytes())
    times = [entry.time for run in runs for entry in run.entries]
    assert times == pytest.approx([0, 1, 2, 3], abs=0.1)


@given(st.lists(st.integers(0, 16_000), max_size=12))
@hypothesis_settings(max_examples=60, deadline=None)
def test_cut_anywhere_the_bytes_are_the_same(cuts: list[int]) -> None:
    data = (FIXTURES / "opus.webm").read_bytes()
    _, whole = framed(data)
    _, pieces = framed(data, *[cut for cut in cuts if cut < len(data)])
    assert b"".join(run.data for run in pieces) == b"".join(run.data for run in whole)
    places: list[list[int]] = []
    for runs in (whole, pieces):
        at, found = 0, []
        for run in runs:
            found += [at + entry.offset for entry in run.entries]
            at += len(run.data)
        places.append(found)
    assert places[0] == places[1]


def test_no_run_ends_within_a_block() -> None:
    _, runs = framed((FIXTURES / "vp8-vorbis.webm").read_bytes(), *range(0, 40_000, 97))
    for run in runs[1:]:
        at = 0
        while at < len(run.data):
            element = read_element(run.data, at)
            assert element is not None
            at = element.start if element.size == UNKNOWN else element.start + element.size
        assert at == len(run.data)


def test_the_next_stream_brings_its_own_headers() -> None:
    one, two = ((FIXTURES / name).read_bytes() for name in FILES)
    framer, runs = framed(one + two + one)
    heads = [run.head for run in runs if run.head]
    assert [head.codec for head in heads] == ["opus", "vorbis", "opus"]
    assert runs[-1].end == pytest.approx(12.0, abs=0.5)
    assert framer.skipped_bytes == 0


def test_noise_is_skipped_to_the_next_cluster() -> None:
    data = (FIXTURES / "opus.webm").read_bytes()
    second = data.find(CLUSTER_MARK, data.find(CLUSTER_MARK) + 1)
    framer, runs = framed(data[:second] + bytes(1000) + data[second:])
    assert framer.skipped_bytes == 1000
    assert runs[-1].end == pytest.approx(4.0, abs=0.15)


@pytest.mark.parametrize(
    "data",
    [
        MARK + b"\x01" + b"\xff" * 7,  # headers of unknown size
        MARK + b"\x80" + b"\x16\x54\xae\x6b" + b"\x10\xff\xff\xff" + bytes(100),  # tracks of 268 MB
        MARK + b"\x80" + b"\xec\x5f\xff" + bytes(0x1FFF) + (b"\xec\x5f\xff" + bytes(0x1FFF)) * (HEAD_BYTES // 0x1FFF),
    ],
)
def test_headers_without_end(data: bytes) -> None:
    with pytest.raises(FramingError):
        framed(data)


def test_nothing_in_a_cluster_is_gathered_without_end() -> None:
    """Times without a block, and segments where none can be, once for each megabyte."""
    data = (FIXTURES / "opus.webm").read_bytes()
    framer = WebmFramer()
    framer.feed(data)
    for _ in range(4):
        framer.feed(b"\xe7\x81\x00" * 300_000)
        framer.feed(b"\x18\x53\x80\x67\x80" * 200_000)
    held = [value for value in vars(framer).values() if isinstance(value, bytes | bytearray)]
    assert sum(map(len, held)) < 10_000


@given(st.binary(max_size=4000))
def test_noise_before_the_headers_is_skipped(noise: bytes) -> None:
    noise = noise.replace(MARK[:1], b"")
    data = (FIXTURES / "opus.webm").read_bytes()
    framer, runs = framed(noise + data)
    assert framer.skipped_bytes == len(noise)
    assert [run.data for run in runs] == [run.data for run in framed(data)[1]]


@given(st.binary(max_size=400))
@hypothesis_settings(max_examples=200, deadline=None)
def test_anything_at_all(data: bytes) -> None:
    start = (FIXTURES / "opus.webm").read_bytes()[:600]
    for stream in (data, start + data, start + CLUSTER_MARK + b"\xff" + data):
        try:
            framed(stream)
        except FramingError:
            pass
    list(children(data))


def test_the_sniffer_knows_it() -> None:
    verdict = Sniffer("audio/mpeg").feed((FIXTURES / "opus.webm").read_bytes())
    assert verdict is not None
    assert (verdict.format, verdict.content_type) == ("webm", "video/webm")
    verdict = Sniffer("audio/webm").feed((FIXTURES / "opus.webm").read_bytes())
    assert verdict is not None
    assert verdict.content_type == "audio/webm"

"""Ogg: real recordings whole, cut and damaged; headers, entries and media time; hostile granules and pages."""

from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castd.errors import FramingError
from castd.wire.framer import ENTRY_SECONDS, RUN_BYTES, Framer, Head, Run
from castd.wire.ogg import OggFramer
from castd.wire.ogg_codecs import Theora
from castd.wire.ogg_headers import HEAD_BYTES
from castd.wire.ogg_pages import BOS, CONTINUED, EOS, PAGE_BYTES, Page, PageCutter, checksum
from tests.xiph import decode

FIXTURES = Path(__file__).parent.parent / "fixtures"
RECORDINGS = {
    # name: codec, sample rate, channels, links, samples of sound
    "vorbis.ogg": ("vorbis", 44100, 2, 1, 264600),
    "opus.opus": ("opus", 48000, 2, 1, 288000),
    "flac.oga": ("flac", 16000, 1, 1, 64000),
    "speex.spx": ("speex", 16000, 1, 1, 64000 - 143),  # its encoder's look-ahead is in no granule position
    "chain.opus": ("opus", 48000, 2, 3, 288000),
    "chain.ogg": ("vorbis", 44100, 2, 3, 264600),
    "theora.ogg": ("vorbis", 44100, 2, 1, 132300),
}


def recording(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def pages_of(data: bytes) -> list[bytes]:
    cutter = PageCutter()
    return cutter.feed(data) + cutter.finish()


def frame(framer: OggFramer, *pieces: bytes) -> list[Run]:
    return [run for piece in pieces for run in framer.feed(piece)] + framer.finish()


def flat(runs: list[Run]) -> tuple[bytes, list[tuple[int, float]], list[tuple[int, Head]], float | None]:
    """What does not depend on how pages were joined into runs: bytes, entries, heads, and the time at the end."""
    data, entries, heads = b"", [], []
    for run in runs:
        entries += [(len(data) + entry.offset, entry.time) for entry in run.entries]
        data += run.data
        if run.head:
            heads.append((len(data), run.head))
    return data, entries, heads, runs[-1].end if runs else None


def page(granule: int = 0, *packets: bytes, kind: int = 0, serial: int = 1, sequence: int = 0) -> bytes:
    table = b"".join(b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,)) for packet in packets)
    return Page(kind, granule, serial, sequence, table, b"".join(packets)).write()


def opus_headers(serial: int = 1) -> bytes:
    head = page(0, b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0", kind=BOS, serial=serial)
    return head + page(0, b"OpusTags" + bytes(8), serial=serial, sequence=1)


TWENTY_MS = b"\xfc" + bytes(60)


@pytest.mark.parametrize("name", RECORDINGS)
def test_recording(name: str) -> None:
    codec, rate, channels, links, samples = RECORDINGS[name]
    data = recording(name)
    framer = OggFramer()
    runs = frame(framer, data)
    passed, entries, heads, end = flat(runs)
    assert passed == data
    assert (framer.codec, framer.sample_rate, framer.channels) == (codec, rate, channels)
    assert (framer.links, framer.heads, len(heads), framer.jumps) == (links, links, links, 0)
    assert (framer.pages, framer.skipped_bytes, framer.tag_bytes) == (len(pages_of(data)), 0, 0)
    assert end == pytest.approx(samples / rate, abs=1e-9)
    assert all(len(run.data) <= RUN_BYTES or not run.entries[1:] for run in runs)
    assert all(run.start is not None and run.end is not None and run.start <= run.end for run in runs)

    assert entries[0] == (heads[0][0], 0.0) or codec == "vorbis"  # a Theora page may come before the first sound
    assert all(data[at : at + 4] == b"OggS" and not data[at + 5] & CONTINUED for at, _ in entries)
    assert all(later[1] - entry[1] >= ENTRY_SECONDS - 1e-9 for entry, later in pairwise(entries))
    for at, head in heads:  # the headers of a link are all that stands between its first page and its data
        assert data[at - len(head.data) : at] == head.data
        assert not any(at - len(head.data) <= entry < at for entry, _ in entries)
        assert head.comment


@pytest.mark.needs("ffprobe")
@pytest.mark.parametrize("name", [name for name in RECORDINGS if not name.startswith("chain")])
def test_media_time_is_what_ffprobe_says(name: str) -> None:
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(FIXTURES / name)]
    duration = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    end = flat(frame(OggFramer(), recording(name)))[3]
    assert end == pytest.approx(
        duration, abs=0.01
    )  # it counts Opus's pre-skip and Speex's look-ahead, both under 10 ms


@pytest.mark.parametrize("name", ["vorbis.ogg", "opus.opus", "flac.oga", "chain.opus", "chain.ogg"])
def test_decoding_from_any_entry_gives_the_media_time_that_is_left(name: str) -> None:
    codec, rate, _, links, samples = RECORDINGS[name]
    data, entries, heads, _ = flat(frame(OggFramer(), recording(name)))
    if links == 1 or codec != "flac":
        assert decode(codec, data).samples == samples
    ends = [at - len(head.data) for at, head in heads[1:]] + [len(data)]
    for at, time in entries[:: max(1, len(entries) // 12)]:
        if data[at + 5] & EOS:
            continue  # where it is cut (RFC 7845 §4.4) cannot be seen from this page alone
        link = sum(at >= head_at for head_at, _ in heads) - 1
        got = decode(codec, heads[link][1].data + data[at : ends[link]])
        left = samples * (link + 1) // links - round(time * rate)
        first = at == heads[link][0]
        # joining late, Opus drops its pre-skip once more, and Vorbis the half block that the first packet overlaps with
        missing = {"opus": 0 if first else 312, "vorbis": 0 if first else 1024, "flac": 0}[codec]
        assert got.holes == 0
        assert abs(left - missing - got.samples) <= (1032 if codec == "vorbis" else 0)


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("size", [1, 27, 1400, 100_000])
def test_pieces_of_any_size(name: str, size: int) -> None:
    data = recording(name)[: 12_000 if size == 1 else None]
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert flat(frame(OggFramer(), *pieces)) == flat(frame(OggFramer(), data))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_split_gives_what_the_whole_gives(choose: st.DataObject) -> None:
    data = recording(choose.draw(st.sampled_from(sorted(RECORDINGS))))[: choose.draw(st.integers(0, 40_000))]
    if choose.draw(st.booleans()):
        at = choose.draw(st.integers(0, len(data)))
        data = data[:at] + choose.draw(st.binary(max_size=80)) + data[at + choose.draw(st.integers(0, 400)) :]
    cuts = sorted(choose.draw(st.lists(st.integers(0, len(data)), max_size=12)))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole, split = OggFramer(), OggFramer()
    assert flat(frame(split, *pieces)) == flat(frame(whole, data))
    assert split.skipped_bytes == whole.skipped_bytes


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from([b"OggS", b"OggS\0", bytes(30), b"\xff" * 300]))))
def test_noise_passes_nothing_and_raises_nothing(pieces: list[bytes]) -> None:
    framer = OggFramer()
    assert frame(framer, *pieces) == []
    assert framer.skipped_bytes == sum(map(len, pieces))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(sorted(RECORDINGS)))
def test_pages_with_hostile_bytes_and_a_right_checksum(seed: int, name: str) -> None:
    """Whatever pages say, they pass, and time does not go back."""
    dice = random.Random(seed)
    pages = []
    for raw in pages_of(recording(name)[:30_000]):
        broken = bytearray(raw)
        for _ in range(dice.choice((0, 0, 1, 3))):
            at = dice.choice((5, dice.randrange(6, 14), 14, 18, dice.randrange(27 + raw[26], len(raw))))
            broken[at] = dice.randrange(256)
        broken[22:26] = checksum(bytes(broken)).to_bytes(4, "little")
        pages.append(bytes(broken))
    framer = OggFramer()
    runs = frame(framer, *pages)
    assert b"".join(run.data for run in runs) == b"".join(pages)
    times = [time for run in runs for time in (run.start, run.end) if time is not None]
    assert times == sorted(times)
    assert not times or times[-1] <= 60 * len(pages)


@pytest.mark.parametrize("name", ["chain.opus", "chain.ogg", "flac.oga"])
def test_one_flipped_byte_costs_one_page(name: str) -> None:
    """Every byte of every page's header and segment table; a stride through the bodies."""
    data = recording(name)[:26_000]
    pages = pages_of(data)
    data, at = b"".join(pages), 0
    for number, raw in enumerate(pages):
        rest = pages[:number] + pages[number + 1 :]
        header = 27 + raw[26]
        for offset in (*range(header), *range(header, len(raw), 97)):
            flip = bytearray(data)
            flip[at + offset] ^= 0xFF if offset % 2 else 0x01
            assert flat(frame(OggFramer(), bytes(flip)))[0] == b"".join(rest), (number, offset)
        at += len(raw)


def test_a_lost_page_is_a_hole_in_the_clock_not_a_shift() -> None:
    pages = pages_of(recording("opus.opus"))
    framer = OggFramer()
    assert flat(frame(framer, b"".join(pages[:9] + pages[10:])))[3] == pytest.approx(6.0, abs=1e-9)
    assert framer.jumps == 0


@pytest.mark.parametrize("lost", [0, 1])
def test_a_link_without_its_headers_passes_and_cannot_be_joined(lost: int) -> None:
    whole = OggFramer()
    data, entries, heads, _ = flat(frame(whole, recording("chain.opus")))
    starts = [at - len(head.data) for at, head in heads]
    pages = pages_of(data)
    missing = pages.index(pages_of(data[starts[1] :])[lost])
    del pages[missing]
    framer = OggFramer()
    passed, left, heads_left, end = flat(frame(framer, b"".join(pages)))
    gone = len(data) - len(passed)
    assert passed == b"".join(pages)
    assert framer.heads == len(heads_left) == 2
    assert [at for at, _ in left if at < starts[1]] == [at for at, _ in entries if at < starts[1]]
    assert not [at for at, _ in left if starts[1] <= at < starts[2] - gone]
    assert [at for at, _ in left if at >= starts[2] - gone]
    assert end == pytest.approx(6.0 if lost else 4.0, abs=0.01)


def test_joined_midway_a_stream_starts_at_0() -> None:
    for name in ("opus.opus", "flac.oga", "speex.spx", "vorbis.ogg"):
        pages = pages_of(recording(name))
        late = OggFramer()
        _, entries, _, end = flat(frame(late, b"".join(pages[:2] + pages[12:])))
        skipped = Page.read(pages[11]).granule_position / RECORDINGS[name][1]
        whole = flat(frame(OggFramer(), b"".join(pages)))[3]
        assert entries[0][1] == 0.0
        assert whole is not None
        # Vorbis does not tell the length of a packet, so its first page counts for nothing
        assert end == pytest.approx(whole - skipped, abs=0.25 if name == "vorbis.ogg" else 0.007)
        assert late.jumps == 0


@pytest.mark.parametrize("granule", [2**40, 2**62, 2**63 - 1, -1, -2, -(2**63), 0, 5])
@pytest.mark.parametrize("name", ["opus.opus", "vorbis.ogg"])
def test_a_hostile_granule_is_no_time(name: str, granule: int) -> None:
    pages = [Page.read(raw) for raw in pages_of(recording(name))]
    pages[10] = replace(pages[10], granule_position=granule)
    framer = OggFramer()
    runs = frame(framer, *(page.write() for page in pages))
    times = [time for run in runs for time in (run.start, run.end) if time is not None]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(6.0, abs=1e-9)
    assert framer.jumps == (granule != -1)


@pytest.mark.parametrize("change", [-(2**20), 2**40])
def test_a_jump_that_lasts_counts_for_nothing(change: int) -> None:
    """Here no time but that of the first page after it; from there on the clock goes on."""
    pages = [Page.read(raw) for raw in pages_of(recording("opus.opus"))]
    pages = pages[:2] + [replace(page, granule_position=page.granule_position + 2**20) for page in pages[2:]]
    pages = pages[:10] + [replace(page, granule_position=page.granule_position + change) for page in pages[10:]]
    framer = OggFramer()
    assert flat(frame(framer, *(page.write() for page in pages)))[3] == pytest.approx(5.8, abs=1e-9)
    assert framer.jumps == 1


def test_a_page_can_end_no_packet_and_begin_none() -> None:
    """A packet over three pages: its time comes with its end, and nobody can start in its middle."""
    packet = TWENTY_MS + bytes(1375 - 61)
    table = b"\xff" * 2
    framer = OggFramer()
    runs = frame(
        framer,
        opus_headers(),
        Page(0, -1, 1, 2, table, packet[:510]).write(),
        Page(CONTINUED, -1, 1, 3, table, packet[510:1020]).write(),
        Page(CONTINUED, 48_960, 1, 4, b"\xff\x64\x3d", packet[1020:1375] + TWENTY_MS).write(),
        page(48_960 + 9600, *[TWENTY_MS] * 10, sequence=5),
        page(48_960 + 9600, sequence=6, kind=EOS),
    )
    entries = flat(runs)[1]
    assert [time for _, time in entries] == pytest.approx([0.0])
    assert runs[-1].end == pytest.approx((960 * 2 - 312 + 9600) / 48_000)


def test_no_entry_where_a_page_begins_in_the_middle_of_a_packet() -> None:
    """Ten packets end on each page and one goes on: the first page too counts only what ended on it."""
    days = 2**40  # that the stream has been running
    begun, rest, table = b"\xfc" + bytes(254), bytes(10), b"\x3d" * 10
    audio = [
        Page(0, days + 9600, 1, 2, table + b"\xff", TWENTY_MS * 10 + begun).write(),
        Page(CONTINUED, days + 20160, 1, 3, b"\x0a" + table + b"\xff", rest + TWENTY_MS * 10 + begun).write(),
        Page(CONTINUED, days + 30720, 1, 4, b"\x0a" + table, rest + TWENTY_MS * 10).write(),
        page(days + 40320, *[TWENTY_MS] * 10, sequence=5),
    ]
    data, entries, _, end = flat(frame(OggFramer(), opus_headers(), *audio))
    assert entries == [(len(opus_headers()), 0.0), (len(data) - len(audio[3]), pytest.approx((30720 - 312) / 48000))]
    assert end == pytest.approx((40320 - 312) / 48000)


def test_a_hole_in_a_long_comment_is_no_header() -> None:
    opus, _ = pages_of(opus_headers())
    comment = [
        Page(0, -1, 1, 1, b"\xff" * 2, b"OpusTags" + bytes(502)).write(),
        Page(CONTINUED, -1, 1, 2, b"\xff" * 2, bytes(510)).write(),
        Page(CONTINUED, 0, 1, 3, b"\x02", bytes(2)).write(),
    ]
    audio = [page(9600 * n, *[TWENTY_MS] * 10, sequence=n + 3) for n in (1, 2)]
    _, entries, heads, _ = flat(frame(OggFramer(), opus, *comment, *audio))
    assert len(heads[0][1].comment) == 8 + 502 + 510 + 2
    assert len(entries) == 2
    for lost in range(3):
        _, entries, heads, _ = flat(frame(OggFramer(), opus, *comment[:lost], *comment[lost + 1 :], *audio))
        assert (entries, heads) == ([], [])


def test_an_unknown_codec_passes_without_time() -> None:
    """Its headers are seen to be complete when data comes, and are in force behind that page."""
    headers = page(0, b"NewCodec", kind=BOS) + page(0, b"more", sequence=1)
    pages = [page(1000 * n, b"data", sequence=n + 1) for n in range(1, 5)]
    runs = frame(OggFramer(), headers, *pages)
    data, entries, heads, end = flat(runs)
    first = len(headers) + len(pages[0])
    assert data == headers + b"".join(pages)
    assert heads == [(first, Head(headers, "unknown", 0, 0, b""))]
    assert [at for at, _ in entries] == [first + n * len(pages[0]) for n in range(3)]
    assert end is None


def test_a_skeleton_does_not_become_the_stream_that_counts() -> None:
    skeleton = page(0, b"fishead\0" + bytes(56), kind=BOS, serial=9)
    opus, tags = pages_of(opus_headers())
    fisbone = page(0, b"fisbone\0" + bytes(40), serial=9, sequence=1)
    end = page(0, b"", serial=9, sequence=2, kind=EOS)
    audio = [page(9600 * n, *[TWENTY_MS] * 10, sequence=n + 1) for n in (1, 2)]
    headers = skeleton + opus + fisbone + tags + end
    data, entries, heads, time = flat(frame(OggFramer(), headers, *audio))
    assert heads[0][0] == len(headers)
    assert (heads[0][1].codec, heads[0][1].data) == ("opus", headers)
    assert entries[0] == (len(headers), 0.0)
    assert data == headers + b"".join(audio)
    assert time == pytest.approx((19200 - 312) / 48000)


def test_endless_headers_are_the_encoders_fault() -> None:
    framer = OggFramer()
    framer.feed(page(0, b"NewCodec", kind=BOS))
    endless = b"".join(page(0, bytes(60_000), sequence=sequence) for sequence in range(1, 2 + HEAD_BYTES // 60_000))
    with pytest.raises(FramingError, match="headers"):
        framer.feed(endless)
    framer = OggFramer()
    streams = b"".join(page(0, b"NewCodec", kind=BOS, serial=serial) for serial in range(17))
    with pytest.raises(FramingError, match="logical"):
        framer.feed(streams)


def test_a_page_that_never_comes_whole_is_kept_no_longer_than_a_page_can_be() -> None:
    cutter = PageCutter()
    for _ in range(40):
        assert cutter.feed(b"OggS\0\0" + bytes(20) + b"\xff" * 8000) == []
        assert len(cutter._buffer) <= PAGE_BYTES
    assert cutter.finish() == []
    assert cutter.skipped_bytes == 40 * 8026


@pytest.mark.parametrize("noise", [b"OggS", (b"OggS\0" + b"\xff" * 27), (b"OggS\0\0" + bytes(20) + b"\xff" * 6)])
def test_nested_capture_patterns_cost_a_bounded_number_of_checksums(
    noise: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = 0

    def count(data: bytes) -> int:
        nonlocal checked
        checked += len(data)
        return checksum(data)

    monkeypatch.setattr("castd.wire.ogg_pages.checksum", count)
    framer, attack = OggFramer(), noise * (1_000_000 // len(noise))
    clean = recording("opus.opus")
    pieces = [attack[at : at + 65_536] for at in range(0, len(attack), 65_536)]
    runs = frame(framer, *pieces, bytes(PAGE_BYTES), clean)
    assert b"".join(run.data for run in runs) == clean
    assert checked <= 10 * (len(attack) + len(clean)) + 2 * HEAD_BYTES


def test_page_round_trip() -> None:
    for name in RECORDINGS:
        for raw in pages_of(recording(name)):
            parsed = Page.read(raw)
            assert parsed.write() == raw
            assert sum(map(len, parsed.packets())) == len(parsed.body)


def test_bos_and_eos_are_read_from_their_bits() -> None:
    assert [Page.read(page(kind=kind)).bos for kind in (0, BOS, EOS, BOS | EOS)] == [False, True, False, True]
    assert [Page.read(page(kind=kind)).eos for kind in (0, BOS, EOS, BOS | EOS)] == [False, False, True, True]


def test_it_is_a_framer() -> None:
    framer: Framer = OggFramer()
    assert framer.feed(b"") == framer.finish() == []


def test_where_there_are_pictures_entries_are_whole_ones() -> None:
    framer = OggFramer()
    runs = framer.feed((FIXTURES / "theora.ogg").read_bytes()) + framer.finish()
    starts = [run.data[entry.offset :] for run in runs for entry in run.entries]
    assert starts
    for start in starts:
        page = Page.read(next(iter(PageCutter().feed(start))))
        assert Theora.is_keyframe(page.packets()[0])
    assert not Theora.is_keyframe(b"")
    assert not Theora.is_keyframe(b"\x80theora")
    assert not Theora.is_keyframe(b"\x40")

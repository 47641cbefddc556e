"""Fragmented MP4: every field read back, and every sample decoded by ffmpeg."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castd.wire.adts import write_header
from castd.wire.fmp4 import fragment, init_segment
from castd.wire.timed_id3 import Event
from castd.wire.track import Packet, Track, Unsupported

from . import boxes
from .boxes import Box, fragments
from .segments import FIXTURES, high_efficiency, length, load, parted, pcm

OPUS, _ = load("opus.opus")
AAC, _ = load("lc-44100-stereo.aac")
FLAC, _ = load("flac.oga")

EVENTS = st.lists(
    st.builds(Event, st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 32) - 1), st.binary()), max_size=3
)
PACKETS = st.lists(st.builds(Packet, st.binary(max_size=40), st.integers(1, 0xFFFF_FFFF)), min_size=1, max_size=20)


def stream(track: Track, packets: list[Packet], *sizes: int) -> bytes:
    """An init segment with fragments of so many packets each."""
    pieces = [fragment(track, 1 + number, *each) for number, each in enumerate(parted(packets, *sizes))]
    return init_segment(track) + b"".join(pieces)


@pytest.mark.parametrize("track", [AAC, OPUS, FLAC], ids=lambda track: track.codec)
def test_init_segment(track: Track) -> None:
    whole = boxes.whole(init_segment(track))
    edits = "edts(elst) " if track is OPUS else ""
    assert whole.tree() == (
        f"(ftyp moov(mvhd trak(tkhd {edits}mdia(mdhd hdlr minf(smhd dinf(dref) stbl(stsd stts stsc stsz stco)))) "
        "mvex(trex)))"
    )
    moov = whole.find("moov")
    rate = track.sample_rate
    matrix = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000)
    assert moov.find("mvhd").fields("IIIIIHHII 9I 6I I") == (
        0, 0, rate, 0, 0x10000, 0x100, 0, 0, 0, *matrix, 0, 0, 0, 0, 0, 0, 2,
    )  # fmt: skip
    assert moov.find("trak/tkhd").fields("IIIII II HHHH 9I II") == (0, 0, 1, 0, 0, 0, 0, 0, 0, 0x100, 0, *matrix, 0, 0)
    assert moov.find("trak/tkhd").flags == 7
    assert moov.find("trak/mdia/mdhd").fields("IIIIHH") == (0, 0, rate, 0, 0b10101_01110_00100, 0)
    assert moov.find("trak/mdia/hdlr").content == bytes(8) + b"soun" + bytes(12) + b"sound\0"
    assert moov.find("trak/mdia/minf/smhd").fields("HH") == (0, 0)
    assert moov.find("trak/mdia/minf/dinf/dref").content == bytes(7) + b"\1" + b"\0\0\0\x0curl \0\0\0\1"
    assert [moov.find(f"trak/mdia/minf/stbl/{empty}").content for empty in ("stts", "stsc", "stsz", "stco")] == [
        bytes(8), bytes(8), bytes(12), bytes(8),
    ]  # fmt: skip
    assert moov.find("mvex/trex").fields("IIIII") == (1, 1, 0, 0, 0x0200_0000)
    assert whole.find("ftyp").content == b"iso6" + bytes(4) + b"iso6cmfc"


def sample_entry(track: Track) -> tuple[str, tuple[int, ...], bytes]:
    """Its type, what every AudioSampleEntry has, and what is behind."""
    stsd = boxes.whole(init_segment(track)).find("moov/trak/mdia/minf/stbl/stsd")
    assert stsd.content[:8] == bytes(7) + b"\1"
    (entry,) = boxes.read(stsd.content[8:])
    return entry.kind, struct.unpack(">6xHQHHHHI", entry.content[:28]), entry.content[28:]


def test_aac() -> None:
    kind, fields, rest = sample_entry(AAC)
    assert (kind, fields) == ("mp4a", (1, 0, 2, 16, 0, 0, 44_100 << 16))
    (esds,) = boxes.read(rest)
    assert esds.kind == "esds"
    assert esds.content == bytes(4) + (
        b"\x03\x19" + b"\0\0\0"  # ES_Descriptor: ES_ID, no flags
        b"\x04\x11" + b"\x40\x15" + bytes(11) +  # DecoderConfigDescriptor
        b"\x05\x02" + b"\x12\x10"  # DecoderSpecificInfo
        b"\x06\x01" + b"\x02"  # SLConfigDescriptor
    )  # fmt: skip


def test_opus() -> None:
    kind, fields, rest = sample_entry(OPUS)
    assert (kind, fields) == ("Opus", (1, 0, 2, 16, 0, 0, 48_000 << 16))
    (entry,) = boxes.read(rest)
    assert entry.kind == "dOps"
    assert struct.unpack(">BBHIhB", entry.content) == (0, 2, 312, 48_000, 0, 0)
    elst = boxes.whole(init_segment(OPUS)).find("moov/trak/edts/elst")
    assert elst.version == 1
    assert elst.fields("IQqhh") == (1, 0, 312, 1, 0)


def test_opus_of_six_channels_and_a_gain() -> None:
    mapping = b"\x04\x02\x00\x04\x01\x02\x03\x05"
    head = b"OpusHead\x01" + struct.pack("<BHIhB", 6, 3840, 44_100, -256, 1) + mapping
    _, fields, rest = sample_entry(Track("opus", 48_000, 6, "opus", head, 3840))
    assert fields[2] == 6
    (entry,) = boxes.read(rest)
    assert struct.unpack(">BBHIhB", entry.content[:11]) == (0, 6, 3840, 44_100, -256, 1)
    assert entry.content[11:] == mapping


@pytest.mark.parametrize(("rate", "told"), [(44_100, 44_100), (65_535, 65_535), (96_000, 48_000), (192_000, 48_000)])
@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_flac(rate: int, told: int, bits: int) -> None:
    numbers = (rate << 44 | 1 << 41 | (bits - 1) << 36).to_bytes(8)
    info = b"\x10\x00\x10\x00" + bytes(6) + numbers + bytes(16)
    kind, fields, rest = sample_entry(Track("flac", rate, 2, "fLaC", info))
    assert (kind, fields) == ("fLaC", (1, 0, 2, bits, 0, 0, told << 16))
    (entry,) = boxes.read(rest)
    assert entry.kind == "dfLa"
    assert entry.content == bytes(4) + b"\x80\0\0\x22" + info


@pytest.mark.parametrize(
    ("track", "reason"),
    [
        (Track("mp3", 44_100, 2, "mp4a.40.34"), "no browser plays mp3 in MP4"),
        (replace(AAC, channels=0), "tells its channels in its frames"),
        (Track("vorbis", 44_100, 2, "", refused="for a reason"), "for a reason"),
    ],
)
def test_refused(track: Track, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        init_segment(track)


@given(
    packets=PACKETS,
    steady=st.booleans(),
    sequence_number=st.integers(0, 1 << 33),
    decode_time=st.integers(0, (1 << 64) - 1),
    track=st.sampled_from([AAC, OPUS, FLAC]),
    events=EVENTS,
)
@settings(deadline=None)
def test_a_fragment_read_back(
    packets: list[Packet], steady: bool, sequence_number: int, decode_time: int, track: Track, events: list[Event]
) -> None:
    if steady:
        packets = [packet._replace(samples=packets[0].samples) for packet in packets]
    data = fragment(track, sequence_number, decode_time, packets, events)
    (found,) = fragments(data)
    assert found.sequence_number == sequence_number % (1 << 32)
    assert found.decode_time == decode_time
    assert found.samples == packets
    *before, moof, mdat = boxes.read(data)
    assert (moof.kind, mdat.kind) == ("moof", "mdat")
    assert mdat.content == b"".join(packet.data for packet in packets)
    assert [event_of(box, track) for box in before] == events


def event_of(box: Box, track: Track) -> Event:
    assert (box.kind, box.version, box.flags) == ("emsg", 1, 0)
    timescale, time, duration, number = struct.unpack_from(">IQII", box.content, 4)
    scheme, value, data = box.content[24:].split(b"\0", 2)
    assert (timescale, duration, scheme, value) == (
        track.sample_rate, 0xFFFF_FFFF, b"https://aomedia.org/emsg/ID3", b"",
    )  # fmt: skip
    return Event(time, number, data)


@pytest.mark.parametrize(("samples", "distance"), [((960, 960), 4), ((2880,), 2), ((120, 960), 32), ((5760,), 1)])
def test_decoders_of_opus_begin_earlier(samples: tuple[int, ...], distance: int) -> None:
    (moof, _) = boxes.read(fragment(OPUS, 1, 0, [Packet(b"x", each) for each in samples]))
    described, groups = moof.find("traf/sgpd"), moof.find("traf/sbgp")
    assert described.version == 1
    roll = int.from_bytes(b"roll")
    assert described.fields("IIIh") == (roll, 2, 1, -distance)
    assert groups.fields("IIII") == (roll, 1, len(samples), 0x10001)


@pytest.mark.parametrize("sizes", [(400,), (7, 1, 12)])
@pytest.mark.parametrize("name", ["lc-44100-stereo.aac", "tagged-22050-mono.aac", "flac.oga", "opus.opus", "opus.webm"])
@pytest.mark.needs("ffmpeg")
def test_ffmpeg_decodes_the_same_samples(name: str, sizes: tuple[int, ...]) -> None:
    track, packets = load(name)
    original, decoded = pcm((FIXTURES / name).read_bytes()), pcm(stream(track, packets, *sizes))
    assert len(decoded) == 2 * track.channels * (length(packets) - track.pre_skip)
    if track.codec == "opus":  # the end that its last granule position cuts off
        assert len(original) <= len(decoded) < len(original) + 2 * track.channels * packets[-1].samples
    assert decoded[: len(original)] == original


@pytest.mark.needs("ffmpeg")
def test_ffmpeg_finds_what_makes_aac_high_efficiency() -> None:
    """SBR that nothing but the payload tells: twice the rate; and two channels, since PS may be in there, too."""
    track, packets = load("tagged-22050-mono.aac")
    packets = high_efficiency(packets)
    adts = b"".join(write_header(track.config, len(packet.data)) + packet.data for packet in packets)
    original, decoded = pcm(adts, "-f", "aac"), pcm(stream(track, packets, 7, 12))
    assert decoded == original
    assert len(decoded) == 2 * 2 * 2 * length(packets)


@pytest.mark.needs("ffmpeg")
def test_ffmpeg_decodes_links_of_opus_without_a_break() -> None:
    track, packets = load("chain.opus")
    assert len(pcm(stream(track, packets, 40))) == 2 * track.channels * (length(packets) - track.pre_skip)


@pytest.mark.parametrize("name", ["lc-44100-stereo.aac", "flac.oga", "opus.opus"])
@pytest.mark.needs("ffmpeg")
def test_ffmpeg_begins_anywhere(name: str) -> None:
    """With a fragment of a much later time, with events before it."""
    track, packets = load(name)
    (_, _), *later = parted(packets, 11)
    whole = pcm(stream(track, packets, 11))
    pieces = [
        fragment(track, number, time + (1 << 40), group, [Event(time + (1 << 40), number, b"ID3\4\0\0\0\0\0\0")])
        for number, (time, group) in enumerate(later)
    ]
    begun = pcm(init_segment(track) + b"".join(pieces))
    assert len(begun) == 2 * track.channels * (length(packets[11:]) - track.pre_skip)
    if track.codec == "flac":  # the others' decoders remember what was before, if only to make noise
        assert begun == whole[-len(begun) :]

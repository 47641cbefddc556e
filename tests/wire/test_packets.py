"""Packets of recordings, whatever the cuts and wherever they begin; what is refused; noise."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castd.wire import webm
from castd.wire.ogg_pages import BOS, CONTINUED, Page
from castd.wire.packets import PACKET_BYTES, depacketizer
from castd.wire.track import Packet, Track, Unsupported

from .segments import FIXTURES, form_of, frames_of, length, load, runs_of
from .test_adts import frame, with_crc
from .test_ogg import TWENTY_MS, opus_headers, page

OPUS_HEAD = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0"

RECORDINGS = {
    # track; packets, as ffprobe counts them (fixtures/README-mpeg.md); samples in each
    "cbr-44100-stereo.mp3": (Track("mp3", 44_100, 2, "mp4a.40.34", bitrate=128_000), 63, 1152),
    "vbr-44100-stereo.mp3": (Track("mp3", 44_100, 2, "mp4a.40.34"), 63, 1152),
    "cbr-48000-stereo.mp3": (Track("mp3", 48_000, 2, "mp4a.40.34"), 68, 1152),
    "mono-22050.mp3": (Track("mp3", 22_050, 1, "mp4a.40.34"), 64, 576),
    "mono-8000.mp3": (Track("mp3", 8_000, 1, "mp4a.40.34"), 25, 576),
    "layer2-48000-crc.mp3": (Track("mp2", 48_000, 2, "mp4a.40.33"), 67, 1152),
    "lc-44100-stereo.aac": (Track("aac", 44_100, 2, "mp4a.40.2", b"\x12\x10"), 70, 1024),
    "tagged-22050-mono.aac": (Track("aac", 22_050, 1, "mp4a.40.2", b"\x13\x88"), 36, 1024),
    "opus.opus": (Track("opus", 48_000, 2, "opus", OPUS_HEAD, 312), 301, 960),
    "chain.opus": (Track("opus", 48_000, 2, "opus", OPUS_HEAD, 312), 303, 960),
    "opus.webm": (Track("opus", 48_000, 1, "opus", OPUS_HEAD[:9] + b"\x01" + OPUS_HEAD[10:], 312), 201, 960),
    "flac.oga": (
        Track("flac", 16_000, 1, "fLaC", b"\x04\x80\x04\x80" + bytes(6) + b"\x03\xe8\x00\xf0" + bytes(20)), 56, 1152,
    ),
}  # fmt: skip

NOISE = st.lists(
    st.binary(max_size=300)
    | st.sampled_from(
        # what makes each of them look closer
        [b"OggS", webm.MARK, webm.CLUSTER_START, b"\xa3\x85\x81\0\0\0\xfc", b"\xff\xf1\x50\x80", b"\xff\xfb\x90\x64"]
    )
)


def events_of(form: str, *pieces: bytes) -> list[Track | Packet]:
    source = depacketizer(form)
    return [event for piece in pieces for event in source.feed(piece)]


def packets_of(events: list[Track | Packet]) -> list[Packet]:
    return [event for event in events if isinstance(event, Packet)]


def tracks_of(events: list[Track | Packet]) -> list[Track]:
    return [event for event in events if isinstance(event, Track)]


@pytest.mark.parametrize("name", RECORDINGS)
def test_recording(name: str) -> None:
    expected, count, samples = RECORDINGS[name]
    track, packets = load(name)
    assert track == expected
    assert len(packets) == count
    assert {packet.samples for packet in packets[:-1]} == {samples}
    assert 0 < packets[-1].samples <= samples  # FLAC's last block


def test_the_bitrate_of_the_first_frame() -> None:
    assert load("cbr-44100-stereo.mp3")[0].bitrate == 128_000
    assert load("lc-44100-stereo.aac")[0].bitrate == 0


@pytest.mark.parametrize("name", RECORDINGS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_cut_anywhere(name: str, data: st.DataObject) -> None:
    ring = frames_of(name)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ring)), max_size=40)))
    pieces = [ring[start:end] for start, end in pairwise([0, *cuts, len(ring)])]
    assert events_of(form_of(name), *pieces) == events_of(form_of(name), ring)


@pytest.mark.parametrize(
    "name", ["cbr-44100-stereo.mp3", "lc-44100-stereo.aac", "opus.opus", "chain.opus", "flac.oga", "opus.webm"]
)
def test_begun_at_any_entry(name: str) -> None:
    runs, rate = runs_of(name), RECORDINGS[name][0].sample_rate
    ring, whole = b"".join(run.data for run in runs), events_of(form_of(name), frames_of(name))
    head, at, begun = b"", 0, 0
    for run in runs:
        for entry in run.entries:
            track, *packets = events_of(form_of(name), head, ring[at + entry.offset :])
            assert track == whole[0]
            assert packets == whole[-len(packets) :]
            assert (
                length(packets_of(whole)) - length(packets_of(packets)) >= (entry.time - 0.0015) * rate
            )  # WebM counts ms
            begun += 1
        at += len(run.data)
        head = run.head.data if run.head else head
    assert begun > 5


def test_packets_that_lie_on_several_pages() -> None:
    packets = [b"\xfc" + bytes((number,)) * size for number, size in enumerate((700, 10, 2000, 509, 254, 0, 900))]
    table = b"".join(b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,)) for packet in packets)
    body, pages, at = b"".join(packets), [], 0
    for number, start in enumerate(range(0, len(table), 2)):
        lacing = table[start : start + 2]
        size, going_on = sum(lacing), start > 0 and table[start - 1] == 255
        pages.append(Page(CONTINUED * going_on, 0, 1, 2 + number, lacing, body[at : at + size]).write())
        at += size
    assert packets_of(events_of("ogg", opus_headers(), *pages)) == [Packet(packet, 960) for packet in packets]
    for lost in range(len(pages)):
        found = packets_of(events_of("ogg", opus_headers(), *pages[:lost], *pages[lost + 1 :]))
        assert all(packet in packets for packet, _ in found)
        assert len(packets) - 2 <= len(found) < len(packets)


def test_a_packet_without_an_end() -> None:
    pages = [Page(CONTINUED * (number > 0), -1, 1, 2 + number, b"\xff" * 255, TWENTY_MS[:1] + bytes(65_024)).write()
             for number in range(2 * PACKET_BYTES // 65_025)]  # fmt: skip
    source = depacketizer("ogg")
    assert packets_of(source.feed(opus_headers() + b"".join(pages))) == []
    last = page(960, TWENTY_MS, sequence=2 + len(pages))
    assert packets_of(source.feed(last)) == [Packet(TWENTY_MS, 960)]


def test_links_of_equal_parameters_are_one_track() -> None:
    events = events_of("ogg", frames_of("chain.opus"))
    assert tracks_of(events) == events[:1]


def test_a_link_of_another_codec_is_another_track() -> None:
    names = ("opus.opus", "vorbis.ogg", "flac.oga", "flac.oga")
    source = depacketizer("ogg")
    events = source.feed(frames_of(*names))
    opus, vorbis, flac = tracks_of(events)
    assert (opus.codec, vorbis.codec, flac.codec) == ("opus", "vorbis", "flac")
    assert vorbis.refused == "Vorbis cannot be put into HLS or DASH segments"
    assert (opus.refused, flac.refused) == ("", "")
    assert events[302:304] == [vorbis, flac]
    assert len(events) == 1 + 301 + 1 + 1 + 56 + 56
    assert source.track == flac


@pytest.mark.parametrize(("name", "told"), [("speex.spx", "Speex"), ("theora.ogg", "Vorbis")])
def test_refused(name: str, told: str) -> None:
    (track,) = events_of("ogg", (FIXTURES / name).read_bytes())
    assert isinstance(track, Track)
    assert track.refused.startswith(told)


@pytest.mark.parametrize("form", ["audio/x-wav", ""])
def test_unknown_formats(form: str) -> None:
    with pytest.raises(Unsupported, match="cannot be put into"):
        depacketizer(form)


def test_webm_of_other_codecs_is_refused() -> None:
    (track,) = events_of("webm", frames_of("vp8-vorbis.webm"))
    assert isinstance(track, Track)
    assert track.refused == "Vorbis in WebM cannot be put into HLS or DASH segments"


def test_webm_goes_on_behind_noise() -> None:
    ring = frames_of("opus.webm")
    second = ring.index(webm.CLUSTER_START, ring.index(webm.CLUSTER_START) + 1)
    assert events_of("webm", ring[:second] + bytes(30) + ring[second:]) == events_of("webm", ring)


def test_webm_with_several_packets_in_a_block_is_refused() -> None:
    ring = frames_of("opus.webm")
    block = ring.index(b"\xa3", ring.index(webm.CLUSTER_START))
    _, length = webm.block_track(ring[block + 1 :])
    laced = bytearray(ring)
    laced[block + 1 + length + 3] |= 0x02
    track, refused = events_of("webm", bytes(laced))
    assert isinstance(track, Track)
    assert refused == replace(track, refused="WebM with several packets in a block cannot be cut")


def test_other_parameters_of_mpeg_audio_are_another_track() -> None:
    events = events_of("mpeg", frames_of("cbr-44100-stereo.mp3") + frames_of("mono-22050.mp3"))
    assert [(track.sample_rate, track.channels) for track in tracks_of(events)] == [(44_100, 2), (22_050, 1)]
    assert events[64] == tracks_of(events)[1]


def test_headers_that_change_nothing_for_a_decoder_are_no_other_track() -> None:
    events = events_of("aac", frame(b"x", mpeg2=True), frame(b"y"), frame(b"z", mpeg2=True))
    assert [type(event) for event in events] == [Track, Packet, Packet, Packet]


def test_adts_headers_are_taken_off() -> None:
    plain, checked = frame(b"abc", channels=6, frequency=3), with_crc(frame(b"abc", channels=6, frequency=3))
    assert events_of("aac", plain) == events_of("aac", checked) == [
        Track("aac", 48_000, 6, "mp4a.40.2", b"\x11\xb0"),
        Packet(b"abc", 1024),
    ]  # fmt: skip


def test_several_raw_data_blocks_are_refused_and_then_one_is_not() -> None:
    first, second, packet = events_of("aac", frame(blocks=2) * 2 + frame(b"x"))
    assert isinstance(first, Track)
    assert first.refused == "AAC with several raw data blocks in a frame cannot be cut"
    assert isinstance(second, Track)
    assert not second.refused
    assert packet == Packet(b"x", 1024)


@pytest.mark.parametrize(
    ("head", "refused"),
    [
        (OPUS_HEAD[:9] + b"\x06" + OPUS_HEAD[10:18] + b"\x01\x04\x02\x00\x01\x02\x03\x04\x05", False),
        (OPUS_HEAD[:9] + b"\x06" + OPUS_HEAD[10:18] + b"\x01\x04\x02\x00\x01", True),
        (OPUS_HEAD[:9] + b"\x03" + OPUS_HEAD[10:], True),
    ],
)
def test_channel_mappings_of_opus(head: bytes, refused: bool) -> None:
    pages = page(0, head, kind=BOS) + page(0, b"OpusTags" + bytes(8), sequence=1) + page(960, TWENTY_MS, sequence=2)
    track, *packets = events_of("ogg", pages)
    assert isinstance(track, Track)
    assert bool(track.refused) == refused
    assert len(packets) == 1 - refused


@pytest.mark.parametrize("form", ["ogg", "mpeg", "aac", "webm"])
@given(noise=NOISE)
@settings(deadline=None)
def test_noise(form: str, noise: list[bytes]) -> None:
    found = packets_of(events_of(form, *noise))
    assert sum(len(packet.data) for packet in found) <= sum(map(len, noise))
    assert all(packet.samples > 0 for packet in found)


@given(damage=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), max_size=20))
@settings(deadline=None, max_examples=50)
def test_damaged_headers_and_packets_of_ogg(damage: list[tuple[int, int]]) -> None:
    """Pages whose checksums are right, whatever stands in them."""
    pages = [Page.read(data) for data in _pages(frames_of("chain.opus"))]
    bodies = bytearray(b"".join(each.body for each in pages))
    for at, value in damage:
        bodies[at % len(bodies)] = value
    data, at = [], 0
    for each in pages:
        body = bytes(bodies[at : at + len(each.body)])
        fields = (each.header_type, each.granule_position, each.serial, each.sequence, each.segment_table)
        data.append(Page(*fields, body).write())
        at += len(body)
    found = packets_of(events_of("ogg", *data))
    assert all(0 < packet.samples <= 5760 for packet in found)
    assert sum(len(packet.data) for packet in found) <= len(bodies)


def _pages(data: bytes) -> list[bytes]:
    starts = [at for at in range(len(data)) if data.startswith(b"OggS\0", at)]
    return [data[start:end] for start, end in pairwise([*starts, len(data)])]

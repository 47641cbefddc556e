"""Ogg's codecs: what each header says, the lengths of packets, and hostile ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.wire.ogg_codecs import Codec, Theora, comment_block, flac_samples, identify, opus_samples
from castd.wire.ogg_pages import Page, PageCutter
from tests.xiph import opus_packet_samples

FIXTURES = Path(__file__).parent.parent / "fixtures"

OPUS_HEAD = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0"


def packets_of(name: str) -> list[bytes]:
    """The packets of a recording of one logical stream."""
    packets, unfinished = [], b""
    for page in map(Page.read, PageCutter().feed((FIXTURES / name).read_bytes())):
        pieces = page.packets()
        for number, piece in enumerate(pieces, 1):
            unfinished += piece
            if number < len(pieces) or not page.unfinished:
                packets.append(unfinished)
                unfinished = b""
    return packets


def headers_of(name: str) -> tuple[Codec, int]:
    """The codec of a recording, and how many header packets it says it has."""
    packets = packets_of(name)
    codec = identify(packets[0])
    for index, packet in enumerate(packets):
        assert codec.is_header(index, packet)
        if codec.is_last_header(index, packet):
            return codec, index + 1
    raise AssertionError("the headers do not end")


@pytest.mark.parametrize(
    ("name", "expected", "headers"),
    [
        ("vorbis.ogg", ("vorbis", 44100, 2, 64000, 0), 3),
        ("opus.opus", ("opus", 48000, 2, 0, 312), 2),
        ("flac.oga", ("flac", 16000, 1, 0, 0), 2),
        ("speex.spx", ("speex", 16000, 1, 27800, 0), 2),
    ],
)
def test_recorded_headers(name: str, expected: tuple[Any, ...], headers: int) -> None:
    codec, count = headers_of(name)
    assert (codec.name, codec.sample_rate, codec.channels, codec.bitrate, codec.pre_skip) == expected
    assert count == headers
    assert codec.audio
    assert not codec.open_ended
    assert not codec.is_header(1, packets_of(name)[headers]) or name == "speex.spx"


def test_what_is_no_sound() -> None:
    theora = identify(b"\x80theora\x03\x02\x01" + bytes(32))
    assert isinstance(theora, Theora)
    assert not theora.audio
    assert theora.is_last_header(2, b"")
    assert not theora.is_last_header(1, b"")
    skeleton = identify(b"fishead\0" + bytes(56))
    assert (skeleton.name, skeleton.audio, skeleton.open_ended) == ("skeleton", False, True)
    assert identify(b"") == identify(b"BBCD\0") == Codec()


@pytest.mark.parametrize("name", ["opus.opus", "flac.oga", "speex.spx"])
def test_lengths_of_recorded_packets_add_up(name: str) -> None:
    codec, headers = headers_of(name)
    total = {"opus.opus": 6 * 48000 + 312, "flac.oga": 64000, "speex.spx": 64000}[name]
    measured = sum(codec.samples(packet) for packet in packets_of(name)[headers:])
    assert 0 <= measured - total < 960  # the last Opus packet is longer than the sound


def test_a_vorbis_packet_is_no_longer_than_its_bound() -> None:
    codec, headers = headers_of("vorbis.ogg")
    packets = packets_of("vorbis.ogg")[headers:]
    assert 264_600 <= sum(map(codec.samples, packets)) <= 264_600 * 1.2


def test_opus_lengths_are_those_of_libopus() -> None:
    for toc in range(256):
        for count in range(0, 256, 1 if toc & 3 == 3 else 128):
            packet = bytes((toc, count, 0))
            assert opus_samples(packet) == max(0, opus_packet_samples(packet)), packet
    assert opus_samples(b"") == opus_samples(b"\x03") == 0


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"\xff\xf8\x19\x00\x00\x00\x00", 192),
        (b"\xff\xf8\x29\x00\x00\x00\x00", 576),
        (b"\xff\xf9\x59\x00\x00\x00\x00", 4608),
        (b"\xff\xf8\x69\x00\x00\x1f\x00", 32),  # 8 bits behind a coded number of one byte
        (b"\xff\xf8\x79\x00\xc2\x80\x0f\xff", 4096),  # 16 bits behind one of two
        (b"\xff\xf8\x79\x00\xfe" + bytes(6) + b"\xff\xff", 65536),  # and of seven
        (b"\xff\xf8\x89\x00\x00\x00\x00", 256),
        (b"\xff\xf8\xf9\x00\x00\x00\x00", 32768),
        (b"\xff\xf8\x09\x00\x00\x00\x00", 0),  # reserved
        (b"\xff\xfb\x59\x00\x00\x00\x00", 0),  # an MPEG frame
        (b"\xff\xf8", 0),
    ],
)
def test_flac_block_sizes(packet: bytes, samples: int) -> None:
    assert flac_samples(packet) == samples


@pytest.mark.parametrize(
    "packet",
    [
        OPUS_HEAD[:18],
        b"OpusHead\x10" + OPUS_HEAD[9:],  # another major version
        b"OpusHead\x01\x00" + OPUS_HEAD[10:],  # no channel
        b"\x01vorbis\0\0\0\0\x02\0\0\0\0" + bytes(12) + b"\xb8\x01",  # 0 Hz
        b"\x01vorbis\0\0\0\0\x02\x44\xac\0\0" + bytes(12) + b"\x8b\x01",  # the long block is the shorter one
        b"\x7fFLAC\x01\0\0\x01fLaC\0\0\0\x22" + bytes(34),  # 0 Hz
        b"Speex   " + bytes(72),
    ],
)
def test_headers_that_make_no_sense_are_an_unknown_codec(packet: bytes) -> None:
    assert identify(packet) == Codec()


SIGNATURES = [b"\x01vorbis", b"OpusHead", b"\x7fFLAC\x01\0\0\x01fLaC\0", b"Speex   ", b"\x80theora", b"fishead\0", b""]


@given(st.sampled_from(SIGNATURES), st.binary(max_size=100), st.binary(max_size=300), st.integers(0, 5))
def test_hostile_packets_raise_nothing(signature: bytes, head: bytes, packet: bytes, index: int) -> None:
    codec = identify(signature + head)
    assert codec.sample_rate == 0 or 1_000 <= codec.sample_rate <= 1_000_000
    if codec.is_header(index, packet) and index:
        codec.is_last_header(index, packet)
    assert 0 <= codec.samples(packet) <= 200_000
    for name in ("vorbis", "opus", "flac", "speex", "unknown"):
        assert packet.endswith(comment_block(name, packet))


def test_comment_blocks_lose_their_prefix() -> None:
    assert comment_block("vorbis", b"\x03vorbisX") == b"X"
    assert comment_block("opus", b"OpusTagsX") == b"X"
    assert comment_block("flac", b"\x84\0\0\x01X") == b"X"
    assert comment_block("speex", b"X") == b"X"
    assert comment_block("flac", b"\x86\0\0\x01X") == b""  # a picture
    assert comment_block("vorbis", b"\x05vorbisX") == b""
    assert comment_block("unknown", b"X") == b""

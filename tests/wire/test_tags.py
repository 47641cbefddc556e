"""Tags and stream figures, through mutagen: recordings, odd comments, and damage that must not escape."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.wire.ogg import OggFramer
from castd.wire.tags import StreamInfo, Tags, comments, id3, stream_info
from castd.wire.text import TEXT_CHARACTERS

FIXTURES = Path(__file__).parent.parent / "fixtures"
OGG = {
    "vorbis.ogg": StreamInfo("vorbis", 64_000, 44_100, 2),
    "opus.opus": StreamInfo("opus", 0, 48_000, 2),
    "flac.oga": StreamInfo("flac", 0, 16_000, 1),
    "speex.spx": StreamInfo("speex", 27_800, 16_000, 1),
}
MP3 = (b"\xff\xfb\x90\x64" + bytes(413)) * 20  # 128 kbit/s, 44.1 kHz, joint stereo; every frame without its padding
ADTS = (b"\xff\xf1\x50\x80\x20\x1f\xfc" + bytes(249)) * 40  # 256 bytes a frame, 44.1 kHz, stereo


def opus_tags(*comment: bytes) -> bytes:
    entries = b"".join(struct.pack("<I", len(text)) + text for text in comment)
    return b"OpusTags" + struct.pack("<I", 5) + b"castd" + struct.pack("<I", len(comment)) + entries


def id3_tag(**frames: bytes) -> bytes:
    """An ID3v2.4 tag of frames of fewer than 128 bytes, or a longer one at the end."""
    body = b"".join(name.encode() + synchsafe(len(data)) + b"\0\0" + data for name, data in frames.items())
    return b"ID3\x04\0\0" + synchsafe(len(body)) + body


def synchsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


@pytest.mark.parametrize("name", OGG)
def test_recordings(name: str) -> None:
    framer = OggFramer()
    framer.feed((FIXTURES / name).read_bytes())
    assert framer.head is not None
    artist = {"flac.oga": "FLAC"}.get(name, framer.codec.title())
    assert comments(framer.codec, framer.head.comment) == Tags(title="Sweep", artist=artist)
    assert stream_info(framer.codec, framer.head.data) == OGG[name]


@pytest.mark.parametrize(("name", "codec"), [("chain.opus", "opus"), ("chain.ogg", "vorbis")])
def test_each_link_has_its_title(name: str, codec: str) -> None:
    runs = OggFramer().feed((FIXTURES / name).read_bytes())
    titles = [comments(codec, run.head.comment).title for run in runs if run.head]
    assert titles == ["Song 1", "Song 2", "Song 3"]


def test_every_field_and_repeated_ones() -> None:
    packet = opus_tags(b"title=T", b"Artist=A", b"ARTIST=B", b"album=L", b"GENRE=G", b"date=2026-11-22", b"x=y")
    assert comments("opus", packet) == Tags("T", "A, B", "L", "G", "2026-11-22")


@pytest.mark.parametrize(
    ("comment", "title"),
    [
        (b"TITLE=a\0b\x1b[31m", "ab[31m"),
        (b"TITLE=a\r\n\tb\xc2\x85", "a b"),
        (b"TITLE=\xff\xfe", "��"),  # two bytes that are no UTF-8
        (b"TITLE", ""),  # no '='
        (b"TITLE=<script>'\";=", "<script>'\";="),  # escaping is for who writes the page
        (b"TITLE=" + "Пе́сня ".encode() * 3, "Пе́сня Пе́сня Пе́сня"),
        (b"TITLE=" + b"x" * 60_000, "x" * TEXT_CHARACTERS),
        (b"TITLE=", ""),
    ],
)
def test_odd_titles(comment: bytes, title: str) -> None:
    assert comments("opus", opus_tags(comment, b"ARTIST=A")) == Tags(title=title, artist="A")


def test_cover_art_beyond_what_mutagen_is_given() -> None:
    picture = b"METADATA_BLOCK_PICTURE=" + b"A" * 500_000
    assert comments("opus", opus_tags(b"TITLE=T", picture, b"ARTIST=A")) == Tags(title="T")


def test_counts_and_lengths_that_lie() -> None:
    honest = opus_tags(b"TITLE=T")
    assert comments("opus", honest[:17] + b"\xff\xff\xff\xff" + honest[21:]) == Tags(title="T")
    assert comments("opus", honest[:8] + b"\xff\xff\xff\xff" + honest[12:]) == Tags()
    assert comments("opus", b"OpusTags") == comments("unknown", honest) == Tags()


def test_stream_info_of_frames() -> None:
    assert stream_info("mp3", MP3) == StreamInfo("mp3", 128_000, 44_100, 2)
    info = stream_info("aac", ADTS)
    assert (info.codec, info.sample_rate, info.channels) == ("aac", 44_100, 2)
    assert info.bitrate == pytest.approx(256 * 8 * 44_100 / 1024, rel=0.05)
    assert stream_info("mp3", b"noise" * 99) == stream_info("aac", b"") == stream_info("unknown", MP3) == StreamInfo()


def test_id3() -> None:
    tag = id3_tag(TIT2=b"\x03T\0", TPE1=b"\x03A\0B", TALB=b"\x03L", TCON=b"\x03G", TDRC=b"\x032026")
    assert id3(tag + MP3) == Tags("T", "A, B", "L", "G", "2026")
    assert id3(MP3) == id3(b"") == id3(tag[:9]) == Tags()


def test_id3_with_cover_art_longer_than_what_mutagen_is_given() -> None:
    tag = id3_tag(TIT2=b"\x03T", APIC=b"\0image/png\0\x03\0" + bytes(300_000))
    assert id3(tag) == id3(tag[:500]) == Tags(title="T")


@given(st.integers(0, 2**32))
def test_damage_never_escapes(seed: int) -> None:
    dice = random.Random(seed)
    packet = opus_tags(b"TITLE=T" * 9, b"ARTIST=A", b"ALBUM=L")
    tag = id3_tag(TIT2=b"\x01T\0", APIC=b"\0image/png\0\x03\0" + bytes(99), COMM=b"\x03engx\0y", TDRC=b"\x032026")
    vorbis = (FIXTURES / "vorbis.ogg").read_bytes()[:4000]
    broken = []
    for data in (packet, tag, MP3[:2000], ADTS[:2000], vorbis):
        damaged = bytearray(data)
        for _ in range(dice.randrange(1, 20)):
            damaged[dice.randrange(len(damaged))] = dice.choice((0, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        broken.append(bytes(damaged[: dice.choice((None, dice.randrange(len(damaged))))]))
    for data in broken:
        for found in (comments("opus", data), comments("speex", data), id3(data)):
            for text in (found.title, found.artist, found.album, found.genre, found.date):
                assert len(text) <= TEXT_CHARACTERS
                assert text.encode().decode() == text == text.strip()
        for codec in ("mp3", "aac", "vorbis"):
            assert stream_info(codec, data).bitrate >= 0

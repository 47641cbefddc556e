"""Pictures in comments, FLAC headers and ID3 tags: found, believed by their bytes alone, and harmless when broken."""

from __future__ import annotations

import base64
import random
import shutil
import struct
from pathlib import Path

import pytest
from mutagen.flac import Picture as Block
from mutagen.id3 import APIC, ID3, TIT2
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from castd.wire.frame_sync import TAG_BYTES
from castd.wire.mpeg_audio import MpegAudioFramer
from castd.wire.ogg import OggFramer
from castd.wire.picture import PICTURE_BYTES, Picture, in_id3, in_ogg, recognise
from tests.wire.test_tags import FIXTURES, MP3

PNG = b"\x89PNG\r\n\x1a\n" + bytes(300)
JPEG = b"\xff\xd8\xff\xe0" + bytes(200)
WEBP = b"RIFF\x10\0\0\0WEBPVP8 " + bytes(60)


def block(data: bytes, kind: int = 3, mime: str = "image/png") -> bytes:
    made = Block()  # type: ignore[no-untyped-call]
    made.type, made.mime, made.data = kind, mime, data
    return bytes(made.write())  # type: ignore[no-untyped-call]


def comment(*blocks: bytes) -> bytes:
    entries = [b"METADATA_BLOCK_PICTURE=" + base64.b64encode(each) for each in blocks]
    body = b"".join(struct.pack("<I", len(each)) + each for each in entries)
    return b"OpusTags" + struct.pack("<I", 0) + struct.pack("<I", len(entries)) + body


def id3(*pictures: tuple[int, bytes], padding: int = 0) -> bytes:
    tag = ID3()  # type: ignore[no-untyped-call]
    tag.add(TIT2(encoding=3, text="Song"))  # type: ignore[no-untyped-call]
    for number, (kind, data) in enumerate(pictures):
        tag.add(APIC(encoding=3, mime="text/html", type=kind, desc=str(number), data=data))  # type: ignore[no-untyped-call]
    path = Path("/dev/shm/castd-test-id3") if Path("/dev/shm").is_dir() else Path("id3")
    path.write_bytes(b"")
    tag.save(path, padding=lambda info: padding)
    data = path.read_bytes()
    path.unlink()
    return data


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (WEBP, "image/webp"),
        (b"GIF89a" + bytes(9), "image/gif"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"<!doctype html><script>", None),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"", None),
    ],
)
def test_what_it_is_its_bytes_say(data: bytes, content_type: str | None) -> None:
    assert recognise(data) == (Picture(data, content_type) if content_type else None)


@pytest.mark.parametrize(("name", "kind"), [("opus.opus", OggOpus), ("vorbis.ogg", OggVorbis), ("flac.oga", OggFLAC)])
def test_in_recordings(name: str, kind: type, tmp_path: Path) -> None:
    path = tmp_path / name
    shutil.copy(FIXTURES / name, path)
    file = kind(path)
    file["metadata_block_picture"] = [base64.b64encode(block(JPEG + bytes(90_000))).decode()]
    file.save()
    framer = OggFramer()
    framer.feed(path.read_bytes())
    assert framer.head is not None
    found = in_ogg(framer.codec, framer.head.comment, framer.head.data)
    assert found == Picture(JPEG + bytes(90_000), "image/jpeg")


def test_of_several_the_front_cover() -> None:
    assert in_ogg("opus", comment(block(PNG, 4), block(JPEG, 3)), b"") == Picture(JPEG, "image/jpeg")
    assert in_ogg("opus", comment(block(b"<html>", 3), block(PNG, 4)), b"") == Picture(PNG, "image/png")
    assert in_ogg("opus", comment(), b"") is None
    assert in_id3(id3((4, PNG), (3, JPEG))) == Picture(JPEG, "image/jpeg")


def test_sizes() -> None:
    assert in_ogg("opus", comment(block(PNG + bytes(PICTURE_BYTES))), b"") is None
    assert in_id3(id3((3, PNG + bytes(PICTURE_BYTES)))) is None


def test_damage_does_no_harm() -> None:
    source = random.Random(4)
    for whole in (comment(block(PNG), block(JPEG)), id3((3, PNG))):
        for _ in range(3000):
            broken = bytearray(whole)
            for _ in range(source.randint(1, 8)):
                broken[source.randrange(len(broken))] = source.randrange(256)
            cut = bytes(broken[: source.randrange(len(broken))])
            for data in (bytes(broken), cut):
                in_id3(data)
                for codec in ("opus", "vorbis", "flac", "unknown"):
                    in_ogg(codec, data, data)


@pytest.mark.parametrize("piece", [1, 7, 1000, 1 << 20])
def test_a_tag_between_frames_goes_with_the_frames_after_it(piece: int) -> None:
    tag = id3((3, PNG), padding=500)
    stream = tag + MP3 + tag + MP3
    framer = MpegAudioFramer()
    runs = [
        run for at in range(0, len(stream), piece) for run in framer.feed(stream[at : at + piece])
    ] + framer.finish()
    assert [run.tag for run in runs if run.tag] == [tag, tag] if piece < len(stream) else [tag]
    assert b"".join(run.data for run in runs) == MP3 * 2
    assert framer.skipped_bytes == framer.tag_bytes == 2 * len(tag)


def test_a_tag_that_is_too_long_is_only_counted() -> None:
    tag = id3((3, PNG), padding=TAG_BYTES)
    framer = MpegAudioFramer()
    runs = framer.feed(tag + MP3) + framer.finish()
    assert [run.tag for run in runs if run.tag] == []
    assert b"".join(run.data for run in runs) == MP3

"""Targets: what streams and clients say about themselves, and what castd writes of it."""

from __future__ import annotations

import unicodedata
from dataclasses import astuple
from xml.etree import ElementTree

from castd.http.media_types import media_type
from castd.wire import icy, playlist, tags
from castd.wire.form import form
from castd.wire.ogg_codecs import comment_block, flac_samples, identify, opus_samples
from castd.wire.picture import PICTURE_BYTES, Picture, in_id3, in_ogg, recognise
from castd.wire.text import TEXT_CHARACTERS, one_line
from tests.fuzz.harness import split_off, target

CODECS = ("vorbis", "opus", "flac", "speex", "unknown")
FRAMED = ("mp3", "aac", "vorbis")


def text_of(data: bytes) -> str:
    """Any text at all, lone surrogates too."""
    return data.decode("utf-8", "surrogateescape")


def check_line(text: str, limit: int = TEXT_CHARACTERS) -> None:
    """A text that harms no header, log line, page or block."""
    assert len(text) <= limit
    assert text == text.strip()
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Cn", "Zl", "Zp") for char in text)
    text.encode()


@target
def text(data: bytes) -> None:
    """Any text becomes one line that every encoding can carry, and stays as it is then."""
    line = one_line(text_of(data))
    check_line(line)
    assert one_line(line) == line


@target
def icy_block(data: bytes) -> None:
    """A block is never refused nor too long, holds no field but its own, and is read back as it was written."""
    how, data = split_off(data)
    title, url = text_of(data[how:]), text_of(data[:how])
    block = icy.block(title, url)
    assert len(block) == 1 + 16 * block[0]
    said = block[1:].rstrip(b"\0").decode()
    assert said.lower().count("streamtitle='") == 1
    fields = icy.parse(block[1:])
    assert fields is not None
    assert icy.block(fields.title, fields.url) == block
    if not how:
        assert not fields.url


@target
def icy_text(data: bytes) -> None:
    """Any block is read or is none; what was read has no control characters, and can be written again."""
    fields = icy.parse(data[: icy.MAX_TEXT_BYTES])
    assert (fields is not None) == data.startswith(b"StreamTitle='")
    if fields is not None:
        assert not any(unicodedata.category(char) == "Cc" for char in fields.title + fields.url)
        again = icy.parse(icy.block(fields.title, fields.url)[1:])
        assert again is not None


@target
def comment_tags(data: bytes) -> None:
    """Any comment header gives lines, perhaps empty ones, and pictures of the kinds there are."""
    how, data = split_off(data)
    codec = CODECS[how % len(CODECS)]
    for line in astuple(tags.comments(codec, data)):
        check_line(line)
    assert comment_block(codec, data) in data
    check_picture(in_ogg(codec, data, b""), len(data))
    check_picture(in_ogg(codec, b"", data), len(data))


def check_picture(found: Picture | None, most: int) -> None:
    """A picture is of a kind that browsers show, and no larger than what it was in."""
    if found is not None:
        assert recognise(found.data) == found
        assert 0 < len(found.data) <= min(PICTURE_BYTES, most)
        assert found.content_type in ("image/jpeg", "image/png", "image/gif", "image/webp")


@target
def id3_tags(data: bytes) -> None:
    """Any ID3 tag gives lines, perhaps empty ones, and a picture no larger than the tag."""
    for line in astuple(tags.id3(data)):
        check_line(line)
    check_picture(in_id3(data), len(data))


@target
def stream_info(data: bytes) -> None:
    """Any beginning of a stream gives figures or none."""
    how, data = split_off(data)
    codec = FRAMED[how % len(FRAMED)]
    info = tags.stream_info(codec, data)
    assert info.codec in ("mp1", "mp2", "mp3", "aac", *CODECS)
    assert min(info.bitrate, info.sample_rate, info.channels) >= 0


@target
def ogg_packets(data: bytes) -> None:
    """Any packet is one of a codec or of none, and lasts no longer than a packet can."""
    codec = identify(data)
    assert codec.name in ("vorbis", "opus", "flac", "speex", "theora", "skeleton", "unknown")
    assert 0 <= codec.samples(data) <= 200_000
    for index in range(3):
        codec.is_header(index, data)
        if data:
            codec.is_last_header(index, data)
    if data and codec.name != "unknown":
        codec.parameters(0, data)
    assert 0 <= opus_samples(data) <= 5760
    assert 0 <= flac_samples(data) <= 65_536


@target
def playlists(data: bytes) -> None:
    """Only ValueError is raised, for what is no URL; every kind is one line a thing, or XML."""
    fields = text_of(data).split("\0", 3)
    track = playlist.Track(*fields) if len(fields) == 4 else playlist.Track(fields[0], fields[-1])
    for suffix, kind in playlist.FORMATS.items():
        try:
            written = kind.write([track, track])
        except ValueError:
            assert not playlist.WEB.match(track.location)
            continue
        assert written.decode().isascii() or track.title or track.annotation
        if suffix == ".xspf":
            root = ElementTree.fromstring(written)
            assert len(root.findall(".//{http://xspf.org/ns/0/}track")) == 2
        else:
            lines = written.decode().splitlines()
            assert lines == written.decode().rstrip("\r\n").replace("\r\n", "\n").split("\n")
            assert sum(playlist.web_url(track.location) in line for line in lines) >= 2
            assert len(lines) <= 9


@target
def forms(data: bytes) -> None:
    """Any fields make a form of ASCII in which nothing but the separators separates."""
    name, _, value = text_of(data).partition("=")
    body = form({"mount": value, f"ClientHeader.{name.encode().hex() if name.isascii() else 'x'}": value})
    assert body.isascii()
    assert body.count("&") == 1
    assert body.count("=") == 2 or value == "-"
    assert media_type(text_of(data)).isprintable()

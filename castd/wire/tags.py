"""What a stream says about itself, read by mutagen: titles, and the figures of its first frames.

This is the one module through which mutagen enters, but for pictures (castd.wire.picture). mutagen is made for files.
On hostile input it lets errors of every kind escape, and once took 128 ms; so it is given at most MUTAGEN_BYTES, or
what castd.wire.id3_frames leaves of a tag, every Exception of its is answered with what is known so far, and callers
run these functions in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from mutagen.aac import AACInfo
from mutagen.flac import VCFLACDict
from mutagen.id3 import ID3
from mutagen.mp3 import MPEGInfo

from castd.wire.id3_frames import TEXTS, reduced
from castd.wire.ogg_codecs import comment_block, identify
from castd.wire.ogg_pages import Page, PageCutter
from castd.wire.text import one_line

MUTAGEN_BYTES = 64 * 1024
"""Comments stand before cover art, and a few frames are enough: this holds what matters of either."""


@dataclass(frozen=True, slots=True)
class Tags:
    """Texts for people, each made safe by castd.wire.text.one_line; "" where the stream gives none."""

    title: str = ""
    artist: str = ""
    album: str = ""
    genre: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The figures of a stream.

    Attributes:
        codec: as in Head.codec, or "mp3", "mp2", "mp1", "aac"; "unknown".
        bitrate: in bit/s; 0 if unknown.
        sample_rate: in Hz; 0 if unknown.
        channels: 0 if unknown.
    """

    codec: str = "unknown"
    bitrate: int = 0
    sample_rate: int = 0
    channels: int = 0


def comments(codec: str, packet: bytes) -> Tags:
    """Read a comment header; a field that occurs more than once is joined by commas.

    Args:
        codec: as in Head.codec.
        packet: as in Head.comment. Untrusted, and possibly cut short by MUTAGEN_BYTES: what precedes the cut counts.
    """
    # of mutagen's readers the one that asks for no framing bit, which only Vorbis has
    found: Any = VCFLACDict()  # type: ignore[no-untyped-call]
    try:
        found.load(BytesIO(comment_block(codec, packet)[:MUTAGEN_BYTES]))
    except Exception:
        pass  # what was read before the damage stays in `found`
    fields: dict[str, list[str]] = {}
    for name, text in found:
        fields.setdefault(name.lower(), []).append(text)
    # the names of https://xiph.org/vorbis/doc/v-comment.html, in the order of Tags
    return Tags(*(_text(fields.get(name, ())) for name in ("title", "artist", "album", "genre", "date")))


def id3(data: bytes) -> Tags:
    """Read an ID3v2 tag that stands at the start of some bytes.

    Args:
        data: the tag, as much of it as there is. Untrusted.
    """
    try:
        frames: Any = ID3(BytesIO(reduced(data, TEXTS)), load_v1=False)  # type: ignore[no-untyped-call]
        # https://id3.org/id3v2.4.0-frames, §4.2, in the order of Tags
        found = [frames.getall(name) for name in ("TIT2", "TPE1", "TALB", "TCON", "TDRC")]
        return Tags(*(_text(str(text) for frame in each for text in frame.text) for each in found))
    except Exception:
        return Tags()


def stream_info(codec: str, start: bytes) -> StreamInfo:
    """Read the figures of a stream.

    Args:
        codec: what the framer found; see StreamInfo.codec.
        start: the first kilobytes of frames, or the header pages of an Ogg link. Untrusted.
    """
    start = start[:MUTAGEN_BYTES]
    try:
        if codec in ("mp3", "mp2", "mp1"):
            info: Any = MPEGInfo(BytesIO(start))
            return StreamInfo(f"mp{info.layer}", int(info.bitrate), info.sample_rate, info.channels)
        if codec == "aac":
            info = AACInfo(BytesIO(start))
            return StreamInfo(codec, int(info.bitrate), info.sample_rate, info.channels)
    except Exception:
        return StreamInfo()
    return _ogg_info(start)


def _ogg_info(headers: bytes) -> StreamInfo:
    """The first stream with sound. mutagen would look for the last page, to no end in a live stream."""
    for page in map(Page.read, PageCutter().feed(headers)):
        codec = identify(b"".join(page.packets()[:1]))
        if page.bos and codec.audio:
            return StreamInfo(codec.name, codec.bitrate, codec.sample_rate, codec.channels)
    return StreamInfo()


def _text(values: Iterable[str]) -> str:
    """A field's values as one line."""
    return one_line(", ".join(value for value in values if value))

"""No input makes a parser's work grow faster than the input: for four times the bytes, about four times the work.

Work is counted in calls, of Python's functions and of C's, which are the same in each run. Calls do not tell what a
search or a copy within one call costs: for that the processor's time is looked at, where there is enough of it to tell.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from castd.access.address import Trust, derive, network
from castd.access.authorise import _decode_basic
from castd.access.networks import GlobTable
from castd.access.sign_ins import _cookie
from castd.errors import ClientError, FramingError
from castd.http.conditions import Validators, outcome
from castd.http.messages import Request, decode_path, parse_query
from castd.http.ranges import requested_part
from castd.wire import icy, playlist, tags
from castd.wire.adts import AdtsFramer
from castd.wire.icecast_head import HeadLimits, split_head
from castd.wire.icy import IcyDemuxer
from castd.wire.mpeg_audio import MpegAudioFramer
from castd.wire.ogg import OggFramer
from castd.wire.ogg_pages import Page
from castd.wire.ogg_unchain import Unchainer
from castd.wire.picture import in_id3, in_ogg
from castd.wire.reply_head import NotAReply, find_reply_head
from castd.wire.shoutcast import password_line, split_fields
from castd.wire.text import one_line
from castd.wire.webm import MARK, WebmFramer

if TYPE_CHECKING:
    from castd.wire.framer import Framer

SMALL, LARGE = 16 * 1024, 64 * 1024

CALLS_RATIO = 5.0
"""At most; four is in proportion, and there is what is done once."""

TIME_RATIO = 9.0
"""At most: a quadratic parser has 16."""

TELLING_SECONDS = 0.1
"""Of the processor; less of it says nothing, and does no harm."""

LIMITS = HeadLimits(1 << 30, 1 << 30)
TRUST = Trust((network("192.0.2.0/24"),), "forwarded")


def framed(framer: Framer, data: bytes) -> None:
    try:
        framer.feed(data)
        framer.finish()
    except FramingError:
        pass


def head(data: bytes) -> None:
    try:
        split_head(b"GET / HTTP/1.1\r\n" + data + b"x\r\n\r\n", LIMITS)
        split_head(b"GET " + data + b"x HTTP/1.1\r\n\r\n", LIMITS)
        split_head(b"GET / HTTP/1.1\r\n" + data, LIMITS)
    except ClientError:
        pass


def shoutcast(data: bytes) -> None:
    password_line(data)
    split_fields(data + b"x\r\n\r\n", max_bytes=1 << 30, max_fields=1 << 30)
    split_fields(data, max_bytes=1 << 30, max_fields=1 << 30)


def reply(data: bytes) -> None:
    for tail in (b"", b"\r\n\r\n"):
        try:
            find_reply_head(b"HTTP/1.0 200 OK\r\n" + data + tail)
        except NotAReply:
            pass


def demuxed(data: bytes) -> None:
    IcyDemuxer(1).feed(data)


def unchained(data: bytes) -> None:
    unchainer = Unchainer()
    for run in OggFramer().feed(data):
        unchainer.rewrite(run)


def fields(data: bytes) -> None:
    text = data.decode("latin-1")
    names = ("if-match", "if-none-match", "if-modified-since", "cookie", "forwarded", "x-forwarded-host")
    request = Request("GET", "/", {}, dict.fromkeys(names, text), "1.1", "192.0.2.1", "")
    outcome(request, Validators('"x"', 1))
    derive(TRUST, "192.0.2.1", request.headers)
    _cookie(request)
    _decode_basic(text)
    parse_query(text)
    requested_part(text, 1000)
    try:
        decode_path(f"/{text}")
    except ClientError:
        pass


def texts(data: bytes) -> None:
    text = data.decode("latin-1")
    one_line(text)
    icy.block(text, text)
    icy.parse(b"StreamTitle='" + data)
    playlist.write_xspf([playlist.Track("http://e.org/" + text, text, text, "http://e.org/" + text)])
    table = GlobTable[int]()
    table.add("*a*b*c*d[!x]*e", 1)
    list(table.matching(text))


def comments(data: bytes) -> None:
    block = b"\4\0\0\0test\xff\xff\xff\x7f" + data
    for codec, prefix in (("opus", b"OpusTags"), ("flac", b"\4\0\0\0")):
        tags.comments(codec, prefix + block)
        in_ogg(codec, prefix + block, data)


def id3(data: bytes) -> None:
    for version in (2, 3, 4):
        size = bytes(len(data) >> shift & 0x7F for shift in (21, 14, 7, 0))
        tag = b"ID3" + bytes((version, 0, 0)) + size + data
        tags.id3(tag)
        in_id3(tag)


def noisy(step: bytes, seed: int = 1) -> Callable[[int], bytes]:
    """Headers with noise of any length between them."""

    def make(size: int) -> bytes:
        random, made = Random(seed), bytearray()
        while len(made) < size:
            made += step + random.randbytes(random.randrange(4))
        return bytes(made[:size])

    return make


def repeated(step: bytes) -> Callable[[int], bytes]:
    return lambda size: step * (size // len(step))


def nested_frames(size: int) -> bytes:
    """ADTS headers of every length, each within the frames before it."""
    random, made = Random(2), bytearray()
    while len(made) < size:
        length = random.choice((7, 8, 9, 4000, 8191, 8190))
        made += bytes((0xFF, 0xF1, 0x50, 0x80 | length >> 11, length >> 3 & 0xFF, (length & 7) << 5 | 0x1F, 0xFC))
        made += random.randbytes(random.randrange(3))
    return bytes(made[:size])


def small_pages(size: int) -> bytes:
    """An Ogg stream of the smallest pages, its headers first, and again and again."""
    bos = Page(2, 0, 1, 0, b"\x13", b"OpusHead\1\2\x38\1\x80\xbb\0\0\0\0\0").write()
    comment = Page(0, 0, 1, 1, b"\x10", b"OpusTags\0\0\0\0\0\0\0\0").write()
    data = b"".join(Page(0, number * 960, 1, number + 2, b"\1", b"\xfc").write() for number in range(20))
    return repeated(bos + comment + data)(size)


def small_headers(size: int) -> bytes:
    """The headers of one link on as many pages as there can be."""
    made = Page(
        2, 0, 1, 0, b"\x33", b"\x7fFLAC\1\0\0\1fLaC\0\0\0\x22" + bytes(10) + b"\x0a\xc4\x42" + bytes(21)
    ).write()
    number = 1
    while len(made) < size:
        made += Page(0, 0, 1, number, b"\1", b"\6").write()
        number += 1
    return made + Page(0, 0, 1, number, b"\1", b"\x81").write()


def false_pages(size: int) -> bytes:
    """Pages with wrong checksums, within one another."""
    page = b"OggS\0\0" + bytes(20) + b"\x20" + b"\xff" * 32
    return repeated(page)(size)


def deflated(size: int) -> bytes:
    frame = zlib.compress(bytes(size * 200))
    return b"APIC" + len(frame).to_bytes(4, "big") + b"\0\x80" + frame


PREFIX = MARK + b"\x80\x16\x54\xae\x6b\x80\x1f\x43\xb6\x75\x01" + b"\xff" * 7
"""Of WebM: as much as lets a framer go on to blocks."""

FRAMERS: dict[str, Callable[[], Framer]] = {
    "mpeg": MpegAudioFramer,
    "adts": AdtsFramer,
    "ogg": OggFramer,
    "webm": WebmFramer,
}

STREAMS: dict[str, Callable[[int], bytes]] = {
    "sync": repeated(b"\xff"),
    "mpeg headers": noisy(b"\xff\xfb\x90\x64"),
    "mpeg frames": noisy(b"\xff\xf3\x14\xc4" + bytes(20)),
    "adts headers": noisy(b"\xff\xf1\x50\x80"),
    "adts frames": repeated(b"\xff\xf1\x50\x80\x00\xff\xfc"),
    "nested adts frames": nested_frames,
    "tags": repeated(b"ID3\4\0\0\0\0\0\1x"),
    "large tags": repeated(b"ID3\4\0\0\0\x7f\x7f\x7f"),
    "ID3v1": repeated(b"TAG"),
    "capture patterns": repeated(b"OggS"),
    "false pages": false_pages,
    "small pages": small_pages,
    "small headers": small_headers,
    "clusters": lambda size: PREFIX + repeated(b"\x1f\x43\xb6\x75\x00")(size),
    "clusters without headers": repeated(b"\x1f\x43\xb6\x75"),
    "elements": lambda size: PREFIX + repeated(b"\xec\x80")(size),
    "blocks": lambda size: PREFIX + repeated(b"\xa3\x84\x81\0\0\x80")(size),
    "a group of nothing": lambda size: PREFIX + b"\xa0\x10" + size.to_bytes(3, "big") + repeated(b"\xec\x80")(size),
    "tracks": lambda size: MARK + b"\x80\x16\x54\xae\x6b\x10" + size.to_bytes(3, "big") + repeated(b"\xae\x80")(size),
}

OTHERS: dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = {
    "head": (head, (b"\r", b"\n\r", b"\r\n", b"x:y\r\n", b" ", b":", b"\xff", b"\t\r")),
    "shoutcast": (shoutcast, (b"\r", b"\n\r", b"x:y\n", b"\n", b" ", b"A ")),
    "reply": (reply, (b"\r", b"\n\r", b"x:y\n", b"\r\nx")),
    "fields": (
        fields,
        (b'"', b'W/"', b",", b'" ', b";", b"a=", b'a="', b',a="', b'",a=";', b"\\", b"9", b"&", b"%", b"%2", b"+", b" ",
         b'for="[', b"bytes=", b"1:", b'a="b";', b"a=b,", b", ", b"\t;"),
    ),
    "texts": (texts, (b"'", b"';", b"'; ", b" ", b"\n", b"StreamUrl='", b"a='", b"&", b"abcd", b"e", b"\x80")),
    "comments": (
        comments,
        (b"\0\0\0\0", b"\1\0\0\0x", b"\xff\xff\xff\0metadata_block_picture=", b"\x20\0\0\0metadata_block_picture=AAAA",
         Page(1, 0, 1, 0, b"\1", b"\6").write()),
    ),
    "id3": (
        id3,
        (b"TIT2\0\0\0\2\0\0\0a", b"APIC\0\0\0\6\0\0\0a\0\0\0b", b"TXXX\0\0\0\4\0\0\0a\0b", b"TT2\0\0\2\0a",
         b"PIC\0\0\7\0PNG\0\0b",
         b"TCON\0\0\1\0\0\0\0" + b"(1)" * 85, b"ABCD\0\0\0\0\0\0", b"\xff\0"),
    ),
    "icy": (demuxed, (b"\0", b"\1", b"x\1" + b"StreamTitle='" + b"a" * 3)),
    "unchained": (unchained, ()),
}  # fmt: skip


def calls(run: Callable[[bytes], None], data: bytes) -> int:
    """How many functions it calls."""
    count = 0

    def tell(_: FrameType, event: str, __: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tell)
    try:
        run(data)
    finally:
        sys.setprofile(None)
    return count


def seconds(run: Callable[[bytes], None], data: bytes) -> float:
    """Of the processor, at best."""
    best = float("inf")
    for _ in range(3):
        begun = time.thread_time()
        run(data)
        best = min(best, time.thread_time() - begun)
        if best < TELLING_SECONDS:
            break
    return best


def check(run: Callable[[bytes], None], make: Callable[[int], bytes]) -> None:
    small, large = make(SMALL), make(LARGE)
    assert calls(run, large) <= CALLS_RATIO * calls(run, small) + 1000
    if (took := seconds(run, large)) >= TELLING_SECONDS:
        assert took <= TIME_RATIO * seconds(run, small)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("framer", FRAMERS)
def test_framers(framer: str, stream: str) -> None:
    check(lambda data: framed(FRAMERS[framer](), data), STREAMS[stream])


@pytest.mark.parametrize(("name", "step"), [(name, step) for name, (_, steps) in OTHERS.items() for step in steps])
def test_others(name: str, step: bytes) -> None:
    check(OTHERS[name][0], repeated(step))


@pytest.mark.parametrize("make", [small_pages, small_headers])
def test_links_made_one(make: Callable[[int], bytes]) -> None:
    check(unchained, make)


def test_what_was_packed_stays_packed() -> None:
    """A tag that would become a thousand times as large is not unpacked."""
    check(id3, deflated)

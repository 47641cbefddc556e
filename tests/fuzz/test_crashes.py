"""What fuzzing broke, each by its name: the inputs are in crashes/, and what must come of them is here."""

from __future__ import annotations

import struct
import tomllib
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from castd.config.rules import WEB_URL
from castd.errors import ConfigError
from castd.http.fetch import redirected
from castd.http.post import NoAnswer
from castd.icecast_xml import convert
from castd.wire.icecast_head import HeadLimits, split_head
from castd.wire.id3_frames import TEXT_BYTES, written_synchsafe
from castd.wire.picture import in_id3, in_ogg
from castd.wire.reply_head import MAX_HEAD_BYTES, NotAReply, find_reply_head
from castd.wire.tags import id3
from castd.wire.text import one_line
from castd.wire.webm import CLUSTER_START, MARK, SEGMENT_START, WebmFramer
from tests.fuzz.harness import CRASHES, split_off
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from castd.wire.framer import Run

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def crash(target: str, name: str) -> bytes:
    """An input that broke a target once."""
    data = (CRASHES / target / name).read_bytes()
    TARGETS[target](data)
    return data


def element(identifier: int, data: bytes) -> bytes:
    size = identifier.bit_length() + 7 >> 3
    return identifier.to_bytes(size) + (1 << 28 | len(data)).to_bytes(4) + data


def webm(*tracks: bytes, scale: bytes = b"\x0f\x42\x40", timestamp: bytes = b"\0", block: bytes = b"") -> bytes:
    info = element(0x1549A966, element(0x2AD7B1, scale))
    group = block or element(0xA3, b"\x81\0\0\x80abc")
    cluster = CLUSTER_START + element(0xE7, timestamp) + group
    return MARK + b"\x80" + SEGMENT_START + info + element(0x1654AE6B, b"".join(tracks)) + cluster


def sound(rate: bytes) -> bytes:
    audio = element(0xE1, element(0xB5, rate) + element(0x9F, b"\2"))
    return element(0xAE, element(0xD7, b"\1") + element(0x83, b"\2") + element(0x86, b"A_OPUS") + audio)


def framed(data: bytes) -> tuple[WebmFramer, list[Run]]:
    framer = WebmFramer()
    return framer, framer.feed(data) + framer.finish()


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("rate-nan", struct.pack(">f", float("nan"))),
        ("rate-infinite", struct.pack(">d", float("inf"))),
        ("rate-negative", struct.pack(">d", -1e300)),
    ],
    ids=["nan", "infinite", "negative"],
)
def test_webm_rate_that_is_none(name: str, rate: bytes) -> None:
    """Was a ValueError, an OverflowError, and a rate below zero."""
    framer, runs = framed(split_off(crash("webm", name))[1])
    assert framed(webm(sound(rate)))[0].sample_rate == framer.sample_rate == 8000
    assert len(runs) == 2


def test_webm_times_of_129_bytes() -> None:
    """Were an OverflowError: an integer longer than any float."""
    for name in ("scale-of-129-bytes", "timestamp-of-129-bytes"):
        framer, runs = framed(split_off(crash("webm", name))[1])
        assert framer.sample_rate == 48_000
        assert len(runs) == 2


def test_webm_noise_is_noise_at_any_cuts() -> None:
    """What stood last in a piece of noise was taken for an element, if the next piece made it look like one."""
    _, data = split_off(crash("webm", "noise-at-a-cut"))
    good = webm(sound(struct.pack(">f", 48_000.0)))
    noise = b"\0" * 20 + b"\xa3\x10\x01" + b"\0\0" + b"\0" * 20
    cut = WebmFramer()
    runs = cut.feed(good + noise[:23]) + cut.feed(noise[23:] + good) + cut.finish()
    assert b"".join(run.data for run in runs) == b"".join(run.data for run in framed(good + noise + good)[1])
    assert data


def test_webm_group_of_a_million_elements() -> None:
    """Held the server for seconds: only the first few elements of a block's group are looked at."""
    group = element(0xA0, element(0xA1, b"\x81\0\0\0abc") + b"\xec\x80" * 1_000_000)
    _, runs = framed(webm(sound(struct.pack(">f", 48_000.0)), block=group))
    assert runs[-1].data.endswith(b"\xec\x80")
    assert runs[-1].entries


def test_head_of_carriage_returns() -> None:
    """Took 0.4 s of a stranger's 16 KB; see test_growth."""
    limits = HeadLimits(16_384, 100)
    split = split_head(b"GET / HTTP/1.1\r\nx: " + b"\r" * 16_000 + b"y\r\r\n\r\nrest", limits)
    assert split == (b"GET / HTTP/1.1\r\nx: " + b"\r" * 16_000 + b"y\r\n\r\n", b"rest")


def test_reply_head_is_bounded_at_any_cuts() -> None:
    """One that came at once could be as long as a read."""
    reply = b"ICY 200 OK\r\nx: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n"
    with pytest.raises(NotAReply, match="answered with a head of more than 16384 bytes"):
        find_reply_head(reply)


def test_text_is_one_line_at_once() -> None:
    """Two spaces stayed where something unwanted between them went."""
    crash("text", "unwanted-between-spaces")
    assert one_line("a \udcc3 b") == "a b"


def test_redirects_to_half_an_address() -> None:
    """Were a ValueError: the relay's log had a traceback, a picture's reply was a 500."""
    for location in (
        "http://[::1",
        "//[",
        "http://h:99999/",
        "http://a..b/",
        "http://" + "x" * 64 + "/",
        "ftp://h/",
        "",
    ):
        if location:
            with pytest.raises(NoAnswer, match="redirects to what is no web address"):
                redirected("http://e.org/x", location)
    assert redirected("http://e.org/a/b?c", "../d") == "http://e.org/d"
    crash("redirects", "half-an-address")


def test_names_no_resolver_takes() -> None:
    """Were a UnicodeError when a picture was fetched: 500."""
    assert not WEB_URL.holds("http://a..b/")
    assert not WEB_URL.holds("http://" + "x" * 64 + ".org/")
    assert WEB_URL.holds("http://" + "x" * 63 + ".org./")
    assert WEB_URL.holds("https://[2001:db8::1]:8443/x")


@pytest.mark.parametrize(
    ("name", "words"), [("unknown-encoding", "unknown encoding"), ("multi-byte-encoding", "multi-byte encodings")]
)
def test_icecast_xml_in_no_encoding(name: str, words: str, tmp_path: Path) -> None:
    """Was a traceback."""
    path = tmp_path / "icecast.xml"
    path.write_bytes(crash("icecast_xml", name))
    with pytest.raises(ConfigError, match=words):
        convert(path)


def test_icecast_xml_names_that_toml_wants_otherwise(tmp_path: Path) -> None:
    """U+007F, and a mount's name beyond the first plane, made a castd.toml that castd did not read."""
    crash("icecast_xml", "delete-character")
    path = tmp_path / "icecast.xml"
    mount = "<mount><mount-name>/\U0001f4fb</mount-name><stream-name>a\x7fb</stream-name></mount>"
    path.write_text(f"<icecast>{mount}</icecast>")
    assert tomllib.loads(convert(path).text())["mounts"] == {"/\U0001f4fb": {"name": "a\x7fb"}}


def test_icecast_xml_fallback_whose_name_is_too_long(tmp_path: Path) -> None:
    """Was an OSError."""
    path = tmp_path / "icecast.xml"
    mount = f"<mount><mount-name>/a</mount-name><fallback-mount>/{'x' * 300}.mp3</fallback-mount></mount>"
    path.write_text(f"<icecast>{mount}</icecast>")
    assert convert(path).mounts["/a"]["fallback_file"] == f"/{'x' * 300}.mp3"


def tag(version: int, *frames: bytes, flags: int = 0) -> bytes:
    body = b"".join(frames)
    return b"ID3" + bytes((version, 0, flags)) + written_synchsafe(len(body)) + body


def frame(name: bytes, data: bytes, flags: int = 0) -> bytes:
    return name + written_synchsafe(len(data)) + flags.to_bytes(2) + data


def test_id3_of_many_frames() -> None:
    """Took time with the square of their number: pictures of one description were compared each with each."""
    picture = frame(b"APIC", b"\0image/png\0\3\0" + PNG)
    found = in_id3(tag(4, frame(b"TIT2", b"\3one"), picture * 10_000))
    assert found is not None
    assert found.data == PNG
    titles = tag(4, *(frame(b"TIT2", f"\3{number}".encode()) for number in range(20_000)))
    assert id3(titles).title == "0"


def test_id3_packed() -> None:
    """A compressed frame of a megabyte became a gigabyte."""
    packed = (8).to_bytes(4) + zlib.compress(b"\3title")
    assert id3(tag(4, frame(b"TIT2", packed, 0x0009), frame(b"TPE1", b"\3artist"))).title == ""
    assert id3(tag(3, frame(b"TIT2", packed, 0x0080), frame(b"TPE1", b"\0artist"))).artist == "artist"


def test_id3_title_behind_its_picture() -> None:
    """Was not found: mutagen was shown the first 64 KB."""
    art = frame(b"APIC", b"\0image/png\0\3\0" + PNG + bytes(200_000))
    assert id3(tag(4, art, frame(b"TIT2", b"\3behind"))).title == "behind"
    assert id3(tag(4, frame(b"TIT2", b"\3" + b"x" * TEXT_BYTES), frame(b"TPE1", b"\3me"))).artist == "me"


def test_id3_sizes_as_itunes_wrote_them() -> None:
    """Eight bits a byte, in a tag of version 2.4."""
    long = b"\3" + b"x" * 299
    raw = b"TIT2" + len(long).to_bytes(4) + bytes(2) + long
    assert id3(tag(4, raw, frame(b"TPE1", b"\3me"))) == id3(tag(4, frame(b"TIT2", long), frame(b"TPE1", b"\3me")))


def test_comments_full_of_the_name_of_pictures() -> None:
    """Each made a copy of all that followed it, a gigabyte in all, on the way to find that none is a picture."""
    block = (b"\xff\xff\xff\0metadata_block_picture=") * 40_000
    assert in_ogg("speex", block, b"") is None


@pytest.mark.parametrize("name", ["aa782be25d4e", "cb70b5fcd2a1", "f3538bf73bb4"])
def test_moments_that_do_not_stay_on_a_line(name: str) -> None:
    """Any character may stand between date and time; a refusal said it again as it was."""
    TARGETS["rewinds"](crash("rewinds", name))

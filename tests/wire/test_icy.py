"""ICY blocks written, read and taken out of streams."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.wire import icy
from castd.wire.icy import Fields, IcyDemuxer, InlineTitle


def text_of(block: bytes) -> bytes:
    assert len(block) == 1 + 16 * block[0]
    return block[1:]


def test_block_as_recorded() -> None:
    assert icy.block("A - B") == b"\2StreamTitle='A - B';" + bytes(12)
    assert icy.block("") == b"\1StreamTitle='';\0"
    assert icy.block("x", "http://e.org/") == b"\3StreamTitle='x';StreamUrl='http://e.org/';" + bytes(6)


@pytest.mark.parametrize(
    ("title", "sent"),
    [
        ("It's Bob's", "It's Bob's"),
        ("It's Bob's; 'quoted'; x", "It's Bob's; 'quoted’; x"),  # noqa: RUF001
        ("x';StreamUrl='http://evil/", "x’;StreamUrl=’http://evil/"),  # noqa: RUF001
        ("x StreamUrl='http://evil/", "x StreamUrl=’http://evil/"),  # noqa: RUF001
        ("a\r\nb\0c\x85d\te", "a  b c d e"),
        ("'\n;", "' ;"),
        ("ends in '", "ends in '"),
        ("; begins", " ; begins"),
        ("Ünï Пример 🎵", "Ünï Пример 🎵"),
        ("lone \udcff surrogate", "lone ? surrogate"),
    ],
)
def test_titles(title: str, sent: str) -> None:
    text = text_of(icy.block(title, "http://e.org/"))
    assert text.rstrip(b"\0").decode() == f"StreamTitle='{sent}';StreamUrl='http://e.org/';"
    assert icy.parse(text) == Fields(sent, "http://e.org/")


@given(title=st.text(st.characters(codec=None), max_size=3000), url=st.text(max_size=3000))
def test_block_never_fails_and_holds_two_fields_at_most(title: str, url: str) -> None:
    text = text_of(icy.block(title, url)).rstrip(b"\0").decode()
    assert text.startswith("StreamTitle='")
    assert text.endswith("';")
    assert text.count("';") == 1 + ("';StreamUrl='" in text)
    assert text.isprintable() or not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in text)
    fields = icy.parse(text.encode())
    assert fields is not None
    assert icy.parse(icy.block(fields.title, fields.url)[1:]) == fields


@pytest.mark.parametrize("letter", ["x", "ü", "€", "🎵"])
def test_long_title_is_cut_at_a_character(letter: str) -> None:
    for offset in range(4):
        block = icy.block("a" * offset + letter * 5000)
        text = text_of(block).rstrip(b"\0").decode()
        assert icy.MAX_TEXT_BYTES - 4 < len(text.encode()) <= icy.MAX_TEXT_BYTES
        assert text.endswith(letter + "';")


def test_an_address_is_whole_or_absent() -> None:
    assert b"StreamUrl" not in icy.block("x", "http://e.org/" + "a" * 4080)
    fields = icy.parse(icy.block("x" * 5000, "http://e.org/" + "a" * 1000)[1:])
    assert fields is not None
    assert fields.url == "http://e.org/" + "a" * 1000
    assert fields.title == "x" * (4080 - 15 - 13 - 1013)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (b"StreamTitle='A - B';", Fields("A - B")),
        (b"StreamTitle='A - B';\0\0\0", Fields("A - B")),
        (b"StreamTitle='';", Fields("")),
        (b"StreamTitle='It's Bob's; 'quoted'; x';", Fields("It's Bob's; 'quoted'; x")),
        (b"StreamTitle='a';b';StreamUrl='http://e.org/';", Fields("a';b", "http://e.org/")),
        (b"StreamTitle='a'; StreamUrl='u';", Fields("a", "u")),
        (b"StreamTitle='a';StreamUrl='u'", Fields("a", "u")),
        (b"StreamTitle='a';StreamUrl='", Fields("a")),
        (b"StreamTitle='a';StreamUrl=;", Fields("a")),
        (b"StreamTitle='a';adw_ad='true';durationMilliseconds='1';", Fields("a")),
        (b"StreamTitle='a';foo='b';StreamUrl='u';", Fields("a", "u")),
        (b"StreamTitle='cut off", Fields("cut off")),
        (b"StreamTitle='cut off'", Fields("cut off")),
        ("StreamTitle='Ünï';".encode(), Fields("Ünï")),
        ("StreamTitle='Ünï';".encode("latin-1"), Fields("Ünï")),
        (b"StreamTitle='a\r\nb';", Fields("a  b")),
        (b"", None),
        (bytes(16), None),
        (b"streamtitle='a';", None),
        (b"\xff\xfb\x90\x64 audio", None),
        (b" StreamTitle='a';", None),
    ],
)
def test_parse(text: bytes, fields: Fields | None) -> None:
    assert icy.parse(text) == fields


@given(st.binary(max_size=4080))
def test_parse_never_raises(tail: bytes) -> None:
    assert icy.parse(b"StreamTitle='" + tail) is not None
    icy.parse(tail)


def flattened(found: list[bytes | InlineTitle]) -> tuple[bytes, list[InlineTitle]]:
    audio, titles = b"", []
    for each in found:
        if isinstance(each, bytes):
            audio += each
        else:
            assert each.position == len(audio)
            titles.append(each)
    return audio, titles


@given(
    audio=st.binary(max_size=400),
    metaint=st.integers(1, 100),
    titles=st.lists(st.none() | st.text(max_size=40), min_size=1),
    cuts=st.lists(st.integers(0, 2000), max_size=20),
)
def test_interleaved_and_taken_apart_at_any_cuts(
    audio: bytes, metaint: int, titles: list[str | None], cuts: list[int]
) -> None:
    stream, expected = b"", []
    for turn, at in enumerate(range(0, len(audio), metaint)):
        piece = audio[at : at + metaint]
        stream += piece
        if len(piece) == metaint:
            title = titles[turn % len(titles)]
            block = icy.EMPTY if title is None else icy.block(title)
            stream += block
            if (fields := icy.parse(block[1:])) is not None:
                expected.append(InlineTitle(at + metaint, fields))
    demuxer = IcyDemuxer(metaint)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    found = [each for a, b in itertools.pairwise(edges) for each in demuxer.feed(stream[a:b])]
    assert flattened(found) == (audio, expected)
    assert demuxer.audio_bytes == len(audio)
    assert demuxer.ignored_blocks == 0


def test_a_bad_block_is_ignored() -> None:
    demuxer = IcyDemuxer(4)
    assert demuxer.feed(b"abcd\1" + b"x" * 16 + b"efgh\0ij") == [b"abcd", b"efgh", b"ij"]
    assert demuxer.ignored_blocks == 1


@given(st.binary(max_size=5000), st.integers(1, 50))
def test_noise_gives_out_less_than_came_in(noise: bytes, metaint: int) -> None:
    demuxer = IcyDemuxer(metaint)
    audio, _ = flattened(demuxer.feed(noise))
    assert len(audio) == demuxer.audio_bytes <= len(noise)


@pytest.mark.parametrize("metaint", [0, -1, icy.MAX_METAINT + 1])
def test_metaint_out_of_bounds(metaint: int) -> None:
    with pytest.raises(ValueError, match="icy-metaint must be 1 to"):
        IcyDemuxer(metaint)

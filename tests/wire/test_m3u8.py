"""HLS playlists as text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from castd.wire.m3u8 import (
    DateRange,
    LowLatency,
    Media,
    Part,
    Report,
    Segment,
    Variant,
    date_time,
    quoted,
    write_media,
    write_multivariant,
)
from tests import hls

FIRST = Segment("s-7.m4s", 4.0, 1_000_000_000.5, map_uri="s-0.mp4")
SECOND = Segment("s-8.m4s", 3.98933, 1_000_000_010.0, discontinuities=1, map_uri="s-1.mp4")
OPEN = Segment("", 0.5, 1_000_000_013.989, parts=(Part("s-9.0.m4s", 0.5),))
MEDIA = Media(4, 7, 2, (FIRST, SECOND))


def test_a_media_playlist() -> None:
    assert (
        write_media(MEDIA).decode()
        == """\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:4
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-DISCONTINUITY-SEQUENCE:2
#EXT-X-MAP:URI="s-0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2001-09-09T01:46:40.500Z
#EXTINF:4.00000,
s-7.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="s-1.mp4"
#EXT-X-PROGRAM-DATE-TIME:2001-09-09T01:46:50.000Z
#EXTINF:3.98933,
s-8.m4s
"""
    )
    assert [each.discontinuity for each in hls.parse(write_media(MEDIA)).segments] == [2, 3]


def test_low_latency() -> None:
    low = LowLatency(0.524, 1.572, 12, 24, "s-9.1.m4s")
    ranges = [DateRange("a1", "titles", 1_000_000_000, {"TITLE": 'The "best"\nof', "ARTIST": "É"})]
    text = write_media(
        replace(MEDIA, segments=(FIRST, SECOND, OPEN), low_latency=low, ranges=ranges, reports=[Report("../b", 8, 1)])
    ).decode()
    assert text.splitlines()[4:6] == [
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=24.000,HOLD-BACK=12.000,PART-HOLD-BACK=1.572",
        "#EXT-X-PART-INF:PART-TARGET=0.524",
    ]
    assert text.splitlines()[-5:] == [
        "#EXT-X-PROGRAM-DATE-TIME:2001-09-09T01:46:53.989Z",
        '#EXT-X-PART:DURATION=0.50000,URI="s-9.0.m4s",INDEPENDENT=YES',
        '#EXT-X-DATERANGE:ID="a1",CLASS="titles",START-DATE="2001-09-09T01:46:40.000Z",END-ON-NEXT=YES,'
        'X-TITLE="The \N{RIGHT DOUBLE QUOTATION MARK}best\N{RIGHT DOUBLE QUOTATION MARK} of",X-ARTIST="É"',
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="s-9.1.m4s"',
        '#EXT-X-RENDITION-REPORT:URI="../b",LAST-MSN=8,LAST-PART=1',
    ]


def test_a_delta_update_leaves_the_first_segments_out() -> None:
    playlist = hls.parse(write_media(replace(MEDIA, skipped=1)))
    assert (playlist.once["EXT-X-VERSION"], playlist.skipped) == ("9", 1)
    assert [(each.number, each.uri) for each in playlist.segments] == [(8, "s-8.m4s")]


def test_a_multivariant_playlist() -> None:
    assert (
        write_multivariant([Variant("audio.m3u8?x=1", 140_000, 128_000, "mp4a.40.2")]).decode()
        == """\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-STREAM-INF:BANDWIDTH=140000,AVERAGE-BANDWIDTH=128000,CODECS="mp4a.40.2"
audio.m3u8?x=1
"""
    )


@pytest.mark.parametrize("text", ['a"b', "a\nb", "\x00", "\ud800", "x" * 5000])
def test_no_text_ends_its_quotes(text: str) -> None:
    written = quoted(text)
    assert not set(written) & {'"', "\n", "\r", "\x00"}
    write_media(replace(MEDIA, ranges=[DateRange("a", "b", 0, {"TITLE": text})])).decode("utf-8")


def test_dates_are_to_the_millisecond() -> None:
    assert date_time(0.9996) == "1970-01-01T00:00:00.999Z"

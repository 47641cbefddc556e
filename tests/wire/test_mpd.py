"""Manifests against the schema's rules: whatever values they are written of, and whether those rules find anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.wire import mpd
from tests import mpd_schema

WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), max_size=20)

QUERIES = st.from_regex(r"[A-Za-z0-9&=%;.~'()-]{0,40}", fullmatch=True)

SECONDS = st.floats(0.001, 4e5)

EVENTS = st.builds(mpd.Event, id=st.integers(0, 2**32 - 1), time=st.integers(0, 2**50), data=st.just("SUQz"))

REPRESENTATIONS = st.builds(
    mpd.Representation,
    id=st.from_regex(r"[a-z/0-9-]{1,9}", fullmatch=True),
    timescale=st.integers(8000, 192_000),
    offset=st.integers(0, 2**50),
    initialization=WORDS,
    media=WORDS.map(lambda text: f"{text}$Time$.m4s"),
    segments=st.lists(st.tuples(st.integers(0, 2**50), st.integers(1, 2**30)), min_size=1, max_size=20),
    codecs=st.sampled_from(["mp4a.40.2", "mp4a.40.29", "opus", "fLaC"]),
    bandwidth=st.integers(1, 2**31),
    sample_rate=st.integers(8000, 192_000),
    channels=st.integers(0, 8),
)

SETS = st.builds(mpd.AdaptationSet, st.lists(REPRESENTATIONS, min_size=1, max_size=4), st.booleans())

PERIODS = st.builds(
    mpd.Period,
    id=WORDS,
    start=st.floats(0, 4e9),
    sets=st.lists(SETS, min_size=1, max_size=3),
    events=st.lists(EVENTS, max_size=4),
)

MANIFESTS = st.builds(
    mpd.Manifest,
    availability_start=st.floats(0, 4e9),
    publish_time=st.floats(0, 4e9),
    minimum_update_period=SECONDS,
    min_buffer_time=SECONDS,
    time_shift_buffer_depth=SECONDS,
    suggested_presentation_delay=SECONDS,
    max_segment_duration=SECONDS,
    utc_timing=WORDS,
    event_scheme=st.just("https://aomedia.org/emsg/ID3"),
    periods=st.lists(PERIODS, min_size=1, max_size=5),
)


@given(MANIFESTS, QUERIES)
def test_any_manifest_is_valid(manifest: mpd.Manifest, query: str) -> None:
    mpd_schema.validate(written := mpd.write_mpd(manifest))
    mpd_schema.validate(mpd.with_location(written, f"http://radio.example/live/dash/manifest.mpd?{query}"))


SOUND = mpd.Manifest(
    availability_start=0.0,
    publish_time=60.0,
    minimum_update_period=2.0,
    min_buffer_time=4.0,
    time_shift_buffer_depth=24.0,
    suggested_presentation_delay=12.0,
    max_segment_duration=4.0,
    utc_timing="time",
    event_scheme="urn:x:events",
    periods=[
        mpd.Period(
            id="a-0",
            start=0.0,
            sets=[
                mpd.AdaptationSet(
                    [
                        mpd.Representation(
                            id="audio",
                            timescale=48_000,
                            offset=0,
                            initialization="a-0.mp4",
                            media="a-0t$Time$.m4s",
                            segments=[(0, 192_000), (192_000, 192_000)],
                            codecs="mp4a.40.2",
                            bandwidth=128_000,
                            sample_rate=48_000,
                            channels=2,
                        )
                    ]
                )
            ],
            events=[mpd.Event(7, 0, "SUQz")],
        )
    ],
)


@pytest.mark.parametrize(
    ("sound", "broken"),
    [
        ('type="dynamic"', 'type="live"'),
        ('minBufferTime="PT4S"', ""),
        ('minBufferTime="PT4S"', 'minBufferTime="4"'),
        ("1970-01-01T00:01:00.000000Z", "1970-01-01 00:01"),
        ("<MPD ", '<MPD volume="1" '),
        ('id="0"', 'id="first"'),
        ('d="192000"', 'd="4.0"'),
        ('d="192000" r="1"', 'r="1"'),
        ('id="audio"', 'id="a sound"'),
        ('bandwidth="128000"', 'bandwidth="-1"'),
        ('startWithSAP="1"', 'startWithSAP="7"'),
        ('contentType="audio"', 'contentType="sound"'),
        ('id="7"', 'id="4294967296"'),
        ('contentEncoding="base64"', 'contentEncoding="hex"'),
        ("</SegmentTimeline>", "</SegmentTimeline><S/>"),
        ("</SegmentTimeline>", "</SegmentTimeline><SegmentTimeline/>"),
        ("</MPD>", "<Location>late</Location></MPD>"),
        ("</Period>", "a word</Period>"),
        ('xmlns="urn:mpeg:dash:schema:mpd:2011"', 'xmlns="urn:mpeg:dash:schema:mpd:2099"'),
    ],
)
def test_what_is_not_valid(sound: str, broken: str) -> None:
    data = mpd.write_mpd(SOUND)
    mpd_schema.validate(data)
    assert sound.encode() in data
    with pytest.raises((AssertionError, KeyError)):
        mpd_schema.validate(data.replace(sound.encode(), broken.encode(), 1))

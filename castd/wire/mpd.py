"""MPEG-DASH manifests: ISO/IEC 23009-1, the live profile for ISO files (§8.4), written from values.

Elements and attributes have the standard's names; children stand in the order of its schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTENT_TYPE = "application/dash+xml"

NAMESPACE = "urn:mpeg:dash:schema:mpd:2011"

PROFILE = "urn:mpeg:dash:profile:isoff-live:2011"

UTC_TIMING = "urn:mpeg:dash:utc:http-iso:2014"
"""A URL that answers with the time (§5.8.5.7)."""

CHANNELS = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"
"""What a number of channels stands for."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens in a period (§5.10.2).

    Attributes:
        time: in units of the period's timescale, as its first representation's segments have it.
        data: in base64.
    """

    id: int
    time: int
    data: str


@dataclass(frozen=True, slots=True)
class Representation:
    """The sound in one quality (§5.3.5).

    Attributes:
        id: within its period; the same in the next one of the same quality.
        timescale: units of a second.
        offset: media time that the start of the period stands for, in those units.
        initialization: URL of the initialisation segment.
        media: URL of the media segments, $Time$ in it.
        segments: media time and duration of each, in those units.
        codecs: as RFC 6381 names them.
        bandwidth: in bit/s.
        sample_rate: in Hz.
        channels: 0 if unknown.
    """

    id: str
    timescale: int
    offset: int
    initialization: str
    media: str
    segments: Sequence[tuple[int, int]]
    codecs: str
    bandwidth: int
    sample_rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class AdaptationSet:
    """Representations between which a player may change (§5.3.3).

    Attributes:
        representations: at least one.
        aligned: segments of two of them that are not of the same time do not overlap.
    """

    representations: Sequence[Representation]
    aligned: bool = True


@dataclass(frozen=True, slots=True)
class Period:
    """A part of the programme within which every representation has one decoder set-up and one clock (§5.3.2).

    Attributes:
        id: that of the period in each manifest it is in.
        start: seconds since availabilityStartTime.
        sets: at least one.
        events: their scheme is the manifest's.
    """

    id: str
    start: float
    sets: Sequence[AdaptationSet]
    events: Sequence[Event] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A dynamic MPD. Times are wall times in seconds since 1970, durations in seconds.

    Attributes:
        availability_start: from which periods count; never changes.
        utc_timing: URL that answers with the time.
        event_scheme: URI of what events are.
    """

    availability_start: float
    publish_time: float
    minimum_update_period: float
    min_buffer_time: float
    time_shift_buffer_depth: float
    suggested_presentation_delay: float
    max_segment_duration: float
    utc_timing: str
    event_scheme: str
    periods: Sequence[Period]


def write_mpd(manifest: Manifest) -> bytes:
    """A manifest, as bytes."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<MPD xmlns="{NAMESPACE}" profiles="{PROFILE}" type="dynamic"'
        f' availabilityStartTime="{date_time(manifest.availability_start)}"'
        f' publishTime="{date_time(manifest.publish_time)}"'
        f' minimumUpdatePeriod="{duration(manifest.minimum_update_period)}"'
        f' minBufferTime="{duration(manifest.min_buffer_time)}"'
        f' timeShiftBufferDepth="{duration(manifest.time_shift_buffer_depth)}"'
        f' suggestedPresentationDelay="{duration(manifest.suggested_presentation_delay)}"'
        f' maxSegmentDuration="{duration(manifest.max_segment_duration)}">',
    ]
    for each in manifest.periods:
        lines += _period(each, manifest.event_scheme)
    lines.append(f"<UTCTiming schemeIdUri={quoteattr(UTC_TIMING)} value={quoteattr(manifest.utc_timing)}/>")
    return "\n".join([*lines, "</MPD>", ""]).encode()


def with_location(manifest: bytes, location: str) -> bytes:
    """A manifest that sends whoever asks for the next one elsewhere (§5.4).

    Args:
        manifest: as write_mpd made it for everybody.
        location: URL.
    """
    at = manifest.index(b">\n", manifest.index(b"<MPD ")) + 2
    return b"%s<Location>%s</Location>\n%s" % (manifest[:at], _text(location).encode(), manifest[at:])


def _period(period: Period, event_scheme: str) -> list[str]:
    lines = [f'<Period id={quoteattr(period.id)} start="{duration(period.start)}">']
    if period.events:
        clock = period.sets[0].representations[0]
        lines.append(
            f'<EventStream schemeIdUri={quoteattr(event_scheme)} value="" timescale="{clock.timescale}"'
            f' presentationTimeOffset="{clock.offset}">'
        )
        lines += [
            f'<Event presentationTime="{each.time}" id="{each.id}" contentEncoding="base64">{each.data}</Event>'
            for each in period.events
        ]
        lines.append("</EventStream>")
    for number, each in enumerate(period.sets):
        lines.append(
            f'<AdaptationSet id="{number}" contentType="audio" mimeType="audio/mp4"'
            f' segmentAlignment="{str(each.aligned).lower()}" startWithSAP="1">'
        )
        for representation in each.representations:
            lines += _representation(representation)
        lines.append("</AdaptationSet>")
    return [*lines, "</Period>"]


def _representation(each: Representation) -> list[str]:
    lines = [
        f'<Representation id={quoteattr(each.id)} codecs={quoteattr(each.codecs)} bandwidth="{each.bandwidth}"'
        f' audioSamplingRate="{each.sample_rate}">'
    ]
    if each.channels:
        lines.append(f'<AudioChannelConfiguration schemeIdUri="{CHANNELS}" value="{each.channels}"/>')
    return [
        *lines,
        f'<SegmentTemplate timescale="{each.timescale}" presentationTimeOffset="{each.offset}"'
        f" initialization={quoteattr(each.initialization)} media={quoteattr(each.media)}>",
        "<SegmentTimeline>",
        *_timeline(each.segments),
        "</SegmentTimeline>",
        "</SegmentTemplate>",
        "</Representation>",
    ]


def _timeline(segments: Sequence[tuple[int, int]]) -> list[str]:
    """S elements (§5.3.9.6): repeated durations share one, and a time is told where it is not the sum of the others."""
    runs: list[list[int]] = []  # time, duration, how many, whether the time is told
    end = -1
    for time, length in segments:
        if runs and time == end and runs[-1][1] == length:
            runs[-1][2] += 1
        else:
            runs.append([time, length, 1, time != end])
        end = time + length
    return [
        "<S"
        + (f' t="{time}"' if told else "")
        + f' d="{length}"'
        + (f' r="{count - 1}"' if count > 1 else "")
        + "/>"
        for time, length, count, told in runs
    ]  # fmt: skip


def duration(seconds: float) -> str:
    """A duration to the microsecond (xs:duration)."""
    return f"PT{seconds:.6f}".rstrip("0").rstrip(".") + "S"


def date_time(wall: float) -> str:
    """A moment to the microsecond, in UTC (xs:dateTime).

    Args:
        wall: seconds since 1970.
    """
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

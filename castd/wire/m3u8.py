"""HLS playlists: RFC 8216 and its second edition, draft-pantos-hls-rfc8216bis ("bis" below), written from values.

Tags stand in the order in which bis §4.4 lists them, except that what applies to a segment stands before its first
part, as bis §4.4.4.9 wants it. Nothing is checked here: what makes a playlist a valid one over time (tests/hls.py knows
the rules) is up to castd.adaptive.playlists.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from castd.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CONTENT_TYPE = "application/vnd.apple.mpegurl"

PLAIN_VERSION = 6
"""EXT-X-MAP in a playlist without EXT-X-I-FRAMES-ONLY needs it (bis §8)."""

SKIP_VERSION = 9
"""EXT-X-SKIP needs it."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One stream of a multivariant playlist (bis §4.4.6.2).

    Attributes:
        uri: of its media playlist.
        bandwidth: bit/s that no segment exceeds.
        average_bandwidth: bit/s in the long run.
        codecs: as RFC 6381 names them.
    """

    uri: str
    bandwidth: int
    average_bandwidth: int
    codecs: str


@dataclass(frozen=True, slots=True)
class DateRange:
    """What is on from a moment until the next of its class begins (bis §4.4.5.1).

    Attributes:
        start: wall time, seconds since 1970.
        attributes: client-defined ones, by names without their "X-"; values as they are shown.
    """

    id: str
    class_name: str
    start: float
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """A partial segment (bis §4.4.4.9); each of audio can be decoded by itself.

    Attributes:
        seconds: its duration.
    """

    uri: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A media segment and what applies to it.

    Attributes:
        uri: "" for one that is not complete yet: only its parts are.
        seconds: its duration.
        date: wall time of its first sample; None where nothing says so.
        discontinuities: so often what comes is no continuation of what was; more than once where a variant lacks what
            others have in between.
        map_uri: of the initialisation section, where it is another than the segment's before; "" for the same or none.
        parts: if they are to be listed.
    """

    uri: str
    seconds: float
    date: float | None = None
    discontinuities: int = 0
    map_uri: str = ""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class LowLatency:
    """What a playlist with parts says of them (bis §4.4.3.7, §4.4.3.8).

    Attributes:
        part_target: seconds, of the longest part.
        part_hold_back: seconds from the end at which a player should be.
        hold_back: likewise for one that does not ask for parts.
        can_skip_until: seconds from the end before which segments may be left out of an answer.
        preload: the part that comes next; "" for none.
    """

    part_target: float
    part_hold_back: float
    hold_back: float
    can_skip_until: float
    preload: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """How far another rendition of the same programme is (bis §4.4.5.4).

    Attributes:
        last_part: None where it has no parts.
    """

    uri: str
    last_msn: int
    last_part: int | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """A live media playlist.

    Attributes:
        target: seconds, whole; no segment's duration rounds to more, and it never changes.
        sequence: number of the first segment.
        discontinuity_sequence: discontinuities before the first segment.
        segments: from the first on, those left out included; the last may be one that is not complete.
        skipped: how many of the first segments are left out.
        low_latency: None where there are no parts.
        ranges, reports: behind the segments.
    """

    target: int
    sequence: int
    discontinuity_sequence: int
    segments: Sequence[Segment]
    skipped: int = 0
    low_latency: LowLatency | None = None
    ranges: Sequence[DateRange] = ()
    reports: Sequence[Report] = ()


def write_multivariant(variants: Sequence[Variant]) -> bytes:
    """A multivariant playlist, as bytes."""
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{PLAIN_VERSION}", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for each in variants:
        lines.append(
            f"#EXT-X-STREAM-INF:BANDWIDTH={each.bandwidth},AVERAGE-BANDWIDTH={each.average_bandwidth},"
            f'CODECS="{each.codecs}"'
        )
        lines.append(each.uri)
    return _joined(lines)


def write_media(media: Media) -> bytes:
    """A media playlist, as bytes."""
    return write_head(media) + write_rows(media.segments[media.skipped :]) + write_end(media)


def write_head(media: Media) -> bytes:
    """What stands in a media playlist before its segments."""
    low = media.low_latency
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{SKIP_VERSION if media.skipped else PLAIN_VERSION}",
        f"#EXT-X-TARGETDURATION:{media.target}",
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    if low is not None:
        lines.append(
            f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={low.can_skip_until:.3f},"
            f"HOLD-BACK={low.hold_back:.3f},PART-HOLD-BACK={low.part_hold_back:.3f}"
        )
        lines.append(f"#EXT-X-PART-INF:PART-TARGET={low.part_target:.3f}")
    lines.append(f"#EXT-X-MEDIA-SEQUENCE:{media.sequence}")
    if media.discontinuity_sequence:
        lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{media.discontinuity_sequence}")
    if media.skipped:
        lines.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={media.skipped}")
    return _joined(lines)


def write_rows(segments: Iterable[Segment]) -> bytes:
    """The rows of segments."""
    return _joined([line for each in segments for line in _segment(each)])


def write_end(media: Media) -> bytes:
    """What stands in a media playlist behind its segments."""
    low = media.low_latency
    lines = [_date_range(each) for each in media.ranges]
    if low is not None and low.preload:
        lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{low.preload}"')
    for report in media.reports:
        part = "" if report.last_part is None else f",LAST-PART={report.last_part}"
        lines.append(f'#EXT-X-RENDITION-REPORT:URI="{report.uri}",LAST-MSN={report.last_msn}{part}')
    return _joined(lines)


def _segment(segment: Segment) -> list[str]:
    lines = ["#EXT-X-DISCONTINUITY"] * segment.discontinuities
    if segment.map_uri:
        lines.append(f'#EXT-X-MAP:URI="{segment.map_uri}"')
    if segment.date is not None:
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{date_time(segment.date)}")
    lines += [f'#EXT-X-PART:DURATION={each.seconds:.5f},URI="{each.uri}",INDEPENDENT=YES' for each in segment.parts]
    return [*lines, f"#EXTINF:{segment.seconds:.5f},", segment.uri] if segment.uri else lines


def _date_range(each: DateRange) -> str:
    shown = "".join(f',X-{name}="{quoted(value)}"' for name, value in each.attributes.items())
    return (
        f'#EXT-X-DATERANGE:ID="{each.id}",CLASS="{each.class_name}",START-DATE="{date_time(each.start)}",'
        f"END-ON-NEXT=YES{shown}"
    )


def quoted(text: str) -> str:
    """Text as it can stand in a quoted string, which knows no way to write a quotation mark (bis §4.2)."""
    return one_line(text).replace('"', "\N{RIGHT DOUBLE QUOTATION MARK}")


def date_time(wall: float) -> str:
    """A moment with milliseconds, in UTC (ISO 8601).

    Args:
        wall: seconds since 1970.
    """
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _joined(lines: list[str]) -> bytes:
    return "\n".join([*lines, ""]).encode("utf-8", "replace")

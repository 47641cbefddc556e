"""What ISO/IEC 23009-1 demands of a dynamic MPD as castd writes them, checked: of one, and of one after another.

tests.mpd_schema has the rules of the schema; here are those of the text.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from itertools import pairwise
from xml.etree import ElementTree

from mutagen.id3 import ID3

from castd.wire.mpd import NAMESPACE
from tests import mpd_schema

REQUIRED = {
    "MPD": {"profiles", "minBufferTime", "availabilityStartTime", "publishTime"},
    "Period": {"id", "start"},
    "EventStream": {"schemeIdUri", "timescale"},
    "SegmentTemplate": {"timescale", "media", "initialization"},
    "S": {"d"},
    "Representation": {"id", "bandwidth", "codecs"},
    "UTCTiming": {"schemeIdUri", "value"},
}
"""By §5.3.1.2 for dynamic ones, and for us."""

DURATION = re.compile(r"PT(\d+(?:\.\d+)?)S")

ROUNDING = 0.002


@dataclass
class Segment:
    start: float
    seconds: float


@dataclass
class Period:
    """`segments` by their time in the period's units."""

    start: float
    codecs: str
    segments: dict[int, Segment]


@dataclass
class Manifest:
    availability_start: datetime
    publish_time: datetime
    periods: dict[str, Period]


def seconds(text: str) -> float:
    match = DURATION.fullmatch(text)
    assert match is not None, text
    return float(match[1])


def check(data: bytes) -> Manifest:
    """One manifest by itself."""
    mpd_schema.validate(data)
    root = ElementTree.fromstring(data)
    _check_element(root)
    assert root.attrib["type"] == "dynamic"
    for name in ("minimumUpdatePeriod", "timeShiftBufferDepth", "suggestedPresentationDelay", "maxSegmentDuration"):
        assert seconds(root.attrib[name]) > 0
    periods = {each.attrib["id"]: _period(each) for each in _all(root, "Period")}
    assert periods
    for one, other in pairwise(periods.values()):
        assert other.start > one.start
        end = max(segment.start + segment.seconds for segment in one.segments.values())
        assert other.start >= end - ROUNDING, "a period begins before the one before it ends"
    longest = max(each.seconds for period in periods.values() for each in period.segments.values())
    assert longest <= seconds(root.attrib["maxSegmentDuration"]) + ROUNDING
    return Manifest(
        datetime.fromisoformat(root.attrib["availabilityStartTime"]),
        datetime.fromisoformat(root.attrib["publishTime"]),
        periods,
    )


def check_update(old: Manifest, new: Manifest) -> None:
    """A manifest after another of the same URL (§5.4)."""
    assert new.availability_start == old.availability_start
    assert new.publish_time >= old.publish_time
    for name, period in new.periods.items():
        known = old.periods.get(name)
        if known is None:
            continue
        assert (period.start, period.codecs) == (known.start, known.codecs)
        for number, segment in period.segments.items():
            assert known.segments.get(number, segment) == segment, f"the segment at {number} changed"


def check_group(data: bytes) -> dict[str, list[dict[float, float]]]:
    """The manifest of a group by itself.

    Returns:
        By period, for each representation its segments: when they begin, and for how many seconds.
    """
    mpd_schema.validate(data)
    root = ElementTree.fromstring(data)
    assert root.attrib["availabilityStartTime"] == "1970-01-01T00:00:00.000000Z"
    found: dict[str, list[dict[float, float]]] = {}
    starts = []
    for period in _all(root, "Period"):
        starts.append(seconds(period.attrib["start"]))
        assert period.attrib["id"] not in found
        there = found[period.attrib["id"]] = []
        names = []
        for adaptation in _all(period, "AdaptationSet"):
            representations = _all(adaptation, "Representation")
            names += [each.attrib["id"] for each in representations]
            here = [_representation(each, starts[-1])[1] for each in representations]
            if adaptation.attrib["segmentAlignment"] == "true":
                _check_aligned(here)
            there += here
        assert len(set(names)) == len(names)
    assert starts == sorted(set(starts))
    return found


def _check_aligned(representations: list[dict[float, float]]) -> None:
    """Where two representations are, they are cut alike (§5.3.3.2)."""
    for one in representations:
        for other in representations:
            begin, end = max(min(one), min(other)), min(max(one), max(other))
            cuts = [{each for each in segments if begin < each < end} for segments in (one, other)]
            assert cuts[0] == cuts[1]


def _all(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return element.findall(f"{{{NAMESPACE}}}{name}")


def _check_element(element: ElementTree.Element) -> None:
    name = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    assert REQUIRED.get(name, set()) <= element.attrib.keys(), f"{name} lacks attributes"
    for child in element:
        _check_element(child)


def _period(element: ElementTree.Element) -> Period:
    [adaptation] = _all(element, "AdaptationSet")
    assert adaptation.attrib["mimeType"] == "audio/mp4"
    [representation] = _all(adaptation, "Representation")
    start = seconds(element.attrib["start"])
    [template] = _all(representation, "SegmentTemplate")
    timescale, offset = int(template.attrib["timescale"]), int(template.attrib["presentationTimeOffset"])
    segments, _ = _representation(representation, start)
    assert min(segments) >= offset, "a segment before its period"
    for stream in _all(element, "EventStream"):
        assert int(stream.attrib["timescale"]) == timescale
        events = _all(stream, "Event")
        times = [int(each.attrib["presentationTime"]) for each in events]
        assert times == sorted(times)
        assert all(each >= offset for each in times)
        assert len({each.attrib["id"] for each in events}) == len(events)
        for each in events:
            ID3(BytesIO(base64.b64decode(each.text or "")))  # type: ignore[no-untyped-call]
    return Period(start, representation.attrib["codecs"], segments)


def _representation(element: ElementTree.Element, start: float) -> tuple[dict[int, Segment], dict[float, float]]:
    """The segments of one: by their time in its units; and the wall times at which they begin, with their seconds."""
    [template] = _all(element, "SegmentTemplate")
    assert "$Time$" in template.attrib["media"]
    timescale, offset = int(template.attrib["timescale"]), int(template.attrib["presentationTimeOffset"])
    segments: dict[int, Segment] = {}
    time = None
    [timeline] = _all(template, "SegmentTimeline")
    for each in _all(timeline, "S"):
        time = int(each.attrib.get("t", -1 if time is None else time))
        assert time >= 0
        for _ in range(int(each.attrib.get("r", 0)) + 1):
            length = int(each.attrib["d"])
            assert time not in segments
            segments[time] = Segment(start + (time - offset) / timescale, length / timescale)
            time += length
    return segments, {each / timescale: found.seconds for each, found in segments.items()}

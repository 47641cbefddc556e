"""What draft-pantos-hls-rfc8216bis ("bis") demands of live playlists, checked: of one, and of one after another.

`parse` reads a playlist; `check` raises AssertionError where one breaks a rule, `check_update` where it does not go on
from an older one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)(?:,|$)')

TAGS_ONCE = (
    "EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-INDEPENDENT-SEGMENTS", "EXT-X-SERVER-CONTROL", "EXT-X-PART-INF",
    "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-SKIP",
)  # fmt: skip
"""Each at most once, before the first segment (bis §4.4.3)."""

LEAST_OF_A_PART = 0.85

ROUNDING = 0.003
"""Seconds by which dates, in milliseconds, and sums of durations may differ."""


@dataclass
class Part:
    uri: str
    seconds: float
    independent: bool


@dataclass
class Segment:
    """`number` and `discontinuity` (its discontinuity sequence number) are absolute."""

    number: int
    discontinuity: int
    uri: str = ""
    seconds: float = 0.0
    date: float | None = None
    map_uri: str = ""
    parts: list[Part] = field(default_factory=list)


@dataclass
class Playlist:
    """A media playlist as it was read; the attributes of a tag are without their quotes."""

    once: dict[str, str] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    ranges: list[dict[str, str]] = field(default_factory=list)
    hints: list[dict[str, str]] = field(default_factory=list)
    reports: list[dict[str, str]] = field(default_factory=list)

    @property
    def target(self) -> int:
        return int(self.once["EXT-X-TARGETDURATION"])

    @property
    def control(self) -> dict[str, str]:
        return attributes(self.once.get("EXT-X-SERVER-CONTROL", ""))

    @property
    def part_target(self) -> float:
        return float(attributes(self.once["EXT-X-PART-INF"])["PART-TARGET"])

    @property
    def sequence(self) -> int:
        return int(self.once.get("EXT-X-MEDIA-SEQUENCE", "0"))

    @property
    def skipped(self) -> int:
        return int(attributes(self.once.get("EXT-X-SKIP", "")).get("SKIPPED-SEGMENTS", "0"))

    @property
    def complete(self) -> list[Segment]:
        return [each for each in self.segments if each.uri]

    @property
    def seconds(self) -> float:
        return sum(each.seconds or sum(part.seconds for part in each.parts) for each in self.segments)


def attributes(text: str) -> dict[str, str]:
    """An attribute list (bis §4.2)."""
    found, at = {}, 0
    while at < len(text):
        match = ATTRIBUTE.match(text, at)
        assert match is not None, f"no attribute list: {text!r}"
        assert match[1] not in found, f"{match[1]} twice: {text!r}"
        found[match[1]] = match[2].strip('"')
        at = match.end()
    return found


def parse(data: bytes) -> Playlist:
    """Read a media playlist."""
    lines = data.decode("utf-8").split("\n")
    assert lines[0] == "#EXTM3U"
    assert lines[-1] == "", "the last line has no end"
    playlist = Playlist()
    number = discontinuity = -1
    segment: Segment | None = None
    map_uri = ""

    def current() -> Segment:
        nonlocal segment, number, discontinuity
        if segment is None:
            if number < 0:
                number = playlist.sequence + playlist.skipped
                discontinuity = int(playlist.once.get("EXT-X-DISCONTINUITY-SEQUENCE", "0"))
            segment = Segment(number, discontinuity, map_uri=map_uri)
            playlist.segments.append(segment)
        return segment

    for line in lines[1:-1]:
        assert line, "an empty line"
        name, _, value = line.removeprefix("#").partition(":")
        if not line.startswith("#"):
            assert current().seconds > 0, f"{line} without EXTINF"
            current().uri = line
            segment, number = None, number + 1
        elif name in TAGS_ONCE:
            assert name not in playlist.once, f"{name} twice"
            assert not playlist.segments, f"{name} behind a segment"
            playlist.once[name] = value
        elif name == "EXT-X-DISCONTINUITY":
            assert not current().parts
            discontinuity += 1
            current().discontinuity = discontinuity
        elif name == "EXT-X-MAP":
            assert not current().parts, "EXT-X-MAP behind a part"
            map_uri = current().map_uri = attributes(value)["URI"]
        elif name == "EXT-X-PROGRAM-DATE-TIME":
            assert not current().parts, "EXT-X-PROGRAM-DATE-TIME behind a part"
            current().date = datetime.fromisoformat(value).timestamp()
        elif name == "EXT-X-PART":
            part = attributes(value)
            current().parts.append(Part(part["URI"], float(part["DURATION"]), part.get("INDEPENDENT") == "YES"))
        elif name == "EXTINF":
            current().seconds = float(value.rstrip(","))
        else:
            table = {
                "EXT-X-DATERANGE": playlist.ranges,
                "EXT-X-PRELOAD-HINT": playlist.hints,
                "EXT-X-RENDITION-REPORT": playlist.reports,
            }
            assert name in table, f"unknown tag {name}"
            table[name].append(attributes(value))
    return playlist


def check_multivariant(data: bytes) -> None:
    """A multivariant playlist."""
    lines = data.decode("utf-8").split("\n")
    assert lines[0] == "#EXTM3U"
    assert lines.count("#EXT-X-INDEPENDENT-SEGMENTS") == 1
    uris = [line for line in lines[1:] if line and not line.startswith("#")]
    assert len(set(uris)) == len(uris), "a variant twice"
    assert uris, "no variant"
    for at, line in enumerate(lines):
        if line.startswith("#EXT-X-STREAM-INF:"):
            told = attributes(line.partition(":")[2])
            assert int(told["BANDWIDTH"]) >= int(told["AVERAGE-BANDWIDTH"]) > 0
            assert told["CODECS"]
            assert lines[at + 1] in uris, "EXT-X-STREAM-INF without its URI"


def check_variants(playlists: list[Playlist]) -> None:
    """Media playlists of variants that were read at one moment (bis §6.2.4)."""
    assert len({each.target for each in playlists}) <= 1, "another target duration"
    for one in playlists:
        for other in playlists:
            _check_same_numbers(one, other)


def _check_same_numbers(one: Playlist, other: Playlist) -> None:
    """What has the same date has the same discontinuity sequence number, but for less than 1.5 s of it."""
    for each in one.complete:
        assert each.date is not None
        for there in other.complete:
            assert there.date is not None
            begin, end = max(each.date, there.date), min(each.date + each.seconds, there.date + there.seconds)
            if end - begin > 1.5:
                assert each.discontinuity == there.discontinuity, f"{each} and {there} are of one moment"


def check(playlist: Playlist) -> None:
    """One live playlist by itself."""
    once = playlist.once
    version = int(once["EXT-X-VERSION"])
    assert version >= 6 or not any(each.map_uri for each in playlist.segments), "EXT-X-MAP before version 6 (§8)"
    assert ("EXT-X-SKIP" in once) <= (version >= 9), "EXT-X-SKIP before version 9 (§8)"
    assert "EXT-X-INDEPENDENT-SEGMENTS" in once
    assert playlist.segments, "no segment"
    for each in playlist.complete:
        assert round(each.seconds) <= playlist.target, f"{each} is longer than the target duration (§4.4.3.1)"
        assert each.seconds <= playlist.target + 0.5, f"{each} exceeds the target (HLS Authoring 7.7)"
        assert not each.uri.endswith(".m4s") or each.map_uri or playlist.skipped, f"{each} without EXT-X-MAP"
    assert any(each.date is not None for each in playlist.segments), "no EXT-X-PROGRAM-DATE-TIME"
    assert [each.number for each in playlist.segments if not each.uri] in ([], [playlist.segments[-1].number])
    _check_dates(playlist)
    _check_ranges(playlist)
    if "EXT-X-PART-INF" in once:
        _check_parts(playlist)
    else:
        assert not playlist.hints
        assert not any(each.parts for each in playlist.segments)


def _check_dates(playlist: Playlist) -> None:
    for one, other in pairwise(playlist.segments):
        if one.date is None or other.date is None or not one.uri:
            continue
        end = one.date + one.seconds
        if one.discontinuity == other.discontinuity:
            assert abs(other.date - end) < ROUNDING, f"{other} does not follow {one}"
            assert one.map_uri == other.map_uri
        else:
            assert other.date > end - ROUNDING, f"{other} begins before {one} ends"


def _check_ranges(playlist: Playlist) -> None:
    assert len({each["ID"] for each in playlist.ranges}) == len(playlist.ranges), "an ID twice (§4.4.5.1)"
    starts = [datetime.fromisoformat(each["START-DATE"]) for each in playlist.ranges]
    assert all(one < other for one, other in pairwise(starts)), "ranges of one class overlap"
    for each in playlist.ranges:
        assert each["END-ON-NEXT"] == "YES"
        assert "CLASS" in each, "END-ON-NEXT without CLASS"
        assert not {"DURATION", "END-DATE"} & each.keys()
        client_defined = each.keys() - {"ID", "CLASS", "START-DATE", "END-ON-NEXT"}
        assert all(name.startswith("X-") for name in client_defined)


def _check_parts(playlist: Playlist) -> None:
    control, target, longest = playlist.control, playlist.target, playlist.part_target
    assert control["CAN-BLOCK-RELOAD"] == "YES"
    assert float(control["HOLD-BACK"]) >= 3 * target, "HOLD-BACK (§4.4.3.8)"
    assert float(control["PART-HOLD-BACK"]) >= 2 * longest, "PART-HOLD-BACK (§4.4.3.8)"
    assert float(control["CAN-SKIP-UNTIL"]) >= 6 * target, "CAN-SKIP-UNTIL (§4.4.3.8)"
    assert len(playlist.hints) == 1
    assert playlist.hints[0]["TYPE"] == "PART"
    end = playlist.seconds
    reached = 0.0
    for each in playlist.segments:
        reached += each.seconds or sum(part.seconds for part in each.parts)
        for at, part in enumerate(each.parts):
            assert part.seconds <= longest + 1e-5, f"{part} is longer than PART-TARGET"
            is_last = each.uri and at == len(each.parts) - 1
            assert part.independent or is_last or part.seconds >= LEAST_OF_A_PART * longest, f"{part} is too short"
        if each.parts:
            assert end - reached <= 3 * target + ROUNDING, f"parts of {each.number} should be gone (§6.2.2)"
            if each.uri:
                assert abs(each.seconds - sum(part.seconds for part in each.parts)) < 0.001
        else:
            assert end - reached > 3 * target - ROUNDING or playlist.skipped, f"parts of {each.number} are missing"


def check_update(old: Playlist, new: Playlist) -> None:
    """A playlist after another of the same URL."""
    assert old.target == new.target, "the target duration changed (§6.2.1)"
    assert new.sequence >= old.sequence, "the media sequence went back"
    assert new.segments[-1].number >= old.complete[-1].number
    before = {each.number: each for each in old.segments}
    for each in new.segments:
        known = before.get(each.number)
        if known is None:
            continue
        assert each.discontinuity == known.discontinuity, f"{each.number}: another discontinuity sequence number"
        assert each.date == known.date
        if known.uri:
            assert (each.uri, each.seconds) == (known.uri, known.seconds)
        if known.parts and each.parts:
            assert each.parts[: len(known.parts)] == known.parts, "parts changed"
    removed = [each for each in old.complete if each.number < new.sequence]
    if removed:
        assert new.seconds >= 3 * new.target, "less than three target durations are left (§6.2.2)"
    ranges = {each["ID"]: each for each in old.ranges}
    for tag in new.ranges:
        assert ranges.get(tag["ID"], tag) == tag, "attributes of a date range changed (§4.4.5.1)"
    if "EXT-X-PART-INF" in old.once and "EXT-X-PART-INF" in new.once:
        assert old.part_target == new.part_target

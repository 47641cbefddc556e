"""The rules of the MPD schema (ISO/IEC 23009-1 Annex B) for the elements that castd may write, checked.

ISO's schema itself is under ISO's copyright, and no licence lets us carry a copy. This has its rules in words of our
own, after the schema as MPEG maintains it (github.com/MPEGGroup/DASHSchema, DASH-MPD.xsd): which elements stand where,
in which order and how often; which attributes there are, which must be, and what each may hold. It is narrower in one
thing: elements, attributes and namespaces that castd has no use for are refused, though the schema has them.

Once, the schema's own types for these elements were put before libxml2: of 757 manifests that the suite makes, 19 of
them broken on purpose, it said the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from xml.etree import ElementTree

from castd.wire.mpd import NAMESPACE

Check = Callable[[str], bool]


def _matches(pattern: str) -> Check:
    return lambda text: re.fullmatch(pattern, text) is not None


def _one_of(*words: str) -> Check:
    return lambda text: text in words


def _whole(text: str, most: int) -> bool:
    return re.fullmatch(r"\+?[0-9]+", text) is not None and int(text) <= most


def _date_time(text: str) -> bool:
    """xs:dateTime, with a time zone: without one a wall time means nothing."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text):
        return False
    datetime.fromisoformat(text)
    return True


ANY = _matches(r"(?s).*")
UNSIGNED_INT = partial(_whole, most=2**32 - 1)
UNSIGNED_LONG = partial(_whole, most=2**64 - 1)
INTEGER = _matches(r"[+-]?[0-9]+")
DOUBLE = _matches(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|INF|-INF|NaN")
BOOLEAN = _one_of("true", "false", "1", "0")
DURATION = _matches(r"P(?=.)(\d+Y)?(\d+M)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?")
URI = _matches(r"[^\s<>\"{}|\\^`]*")
NO_SPACE = _matches(r"\S*")
LANGUAGE = _matches(r"[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*")
PROFILES = _matches(r"[^\s,]+(,[^\s,]*)*")
CODECS = _matches(r"[a-zA-Z0-9!#$%^*_+{}|'.`~&-]+(,[a-zA-Z0-9!#$%^*_+{}|'.`~&-]+)*")
CONTENT_TYPE = _one_of("text", "image", "audio", "video", "application", "font")
SAP = _one_of(*"0123456")
RATES = _matches(r"[0-9]+( [0-9]+)?")


def _aligned(text: str) -> bool:
    return UNSIGNED_INT(text) or BOOLEAN(text)


@dataclass(frozen=True)
class Rule:
    """What an element may hold.

    Attributes:
        children: names in their order, each followed by how often it may stand there: "?" once, "*" any number of
            times, "+" once or more, nothing exactly once.
        attributes: by name; a name with "!" must be there.
        text: what stands between; None for white space only.
    """

    children: tuple[str, ...] = ()
    attributes: Mapping[str, Check] = field(default_factory=dict)
    text: Check | None = None


DESCRIPTOR = Rule(attributes={"schemeIdUri!": URI, "value": ANY, "id": ANY})

BASE_CHILDREN = (
    "AudioChannelConfiguration*",
    "EssentialProperty*",
    "SupplementalProperty*",
    "InbandEventStream*",
    "Label*",
)
BASE_ATTRIBUTES: Mapping[str, Check] = {
    "profiles": PROFILES, "audioSamplingRate": RATES, "mimeType": ANY, "codecs": CODECS, "maximumSAPPeriod": DOUBLE,
    "startWithSAP": SAP, "selectionPriority": UNSIGNED_INT,
}  # fmt: skip
"""RepresentationBaseType, of which AdaptationSet and Representation are."""

EVENTS: Mapping[str, Check] = {
    "schemeIdUri!": URI,
    "value": ANY,
    "timescale": UNSIGNED_INT,
    "presentationTimeOffset": UNSIGNED_LONG,
}

RULES = {
    "MPD": Rule(
        ("ProgramInformation*", "BaseURL*", "Location*", "ServiceDescription*", "Period+", "EssentialProperty*",
         "SupplementalProperty*", "UTCTiming*"),
        {
            "id": ANY, "profiles!": PROFILES, "type": _one_of("static", "dynamic"), "availabilityStartTime": _date_time,
            "availabilityEndTime": _date_time, "publishTime": _date_time, "mediaPresentationDuration": DURATION,
            "minimumUpdatePeriod": DURATION, "minBufferTime!": DURATION, "timeShiftBufferDepth": DURATION,
            "suggestedPresentationDelay": DURATION, "maxSegmentDuration": DURATION, "maxSubsegmentDuration": DURATION,
        },
    ),
    "ProgramInformation": Rule(("Title?", "Source?", "Copyright?"), {"lang": LANGUAGE, "moreInformationURL": URI}),
    "Title": Rule(text=ANY),
    "Source": Rule(text=ANY),
    "Copyright": Rule(text=ANY),
    "BaseURL": Rule(text=URI),
    "Location": Rule(text=URI),
    "ServiceDescription": Rule(("Latency*", "PlaybackRate*"), {"id": UNSIGNED_INT}),
    "Latency": Rule(
        attributes={"referenceId": UNSIGNED_INT, "target": UNSIGNED_INT, "max": UNSIGNED_INT, "min": UNSIGNED_INT}
    ),
    "PlaybackRate": Rule(attributes={"max": DOUBLE, "min": DOUBLE}),
    "Period": Rule(
        ("BaseURL*", "SegmentTemplate?", "AssetIdentifier?", "EventStream*", "AdaptationSet*", "SupplementalProperty*"),
        {"id": ANY, "start": DURATION, "duration": DURATION, "bitstreamSwitching": BOOLEAN},
    ),
    "AssetIdentifier": DESCRIPTOR,
    "EventStream": Rule(("Event*",), EVENTS),
    "InbandEventStream": Rule((), EVENTS),
    "Event": Rule(
        attributes={
            "presentationTime": UNSIGNED_LONG, "duration": UNSIGNED_LONG, "id": UNSIGNED_INT,
            "contentEncoding": _one_of("base64"), "messageData": ANY,
        },
        text=ANY,
    ),
    "AdaptationSet": Rule(
        (*BASE_CHILDREN, "Accessibility*", "Role*", "BaseURL*", "SegmentTemplate?", "Representation*"),
        {
            **BASE_ATTRIBUTES, "id": UNSIGNED_INT, "group": UNSIGNED_INT, "lang": LANGUAGE, "contentType": CONTENT_TYPE,
            "minBandwidth": UNSIGNED_INT, "maxBandwidth": UNSIGNED_INT, "segmentAlignment": _aligned,
            "subsegmentAlignment": _aligned, "subsegmentStartsWithSAP": SAP, "bitstreamSwitching": BOOLEAN,
        },
    ),
    "Representation": Rule(
        (*BASE_CHILDREN, "BaseURL*", "SegmentTemplate?"),
        {**BASE_ATTRIBUTES, "id!": NO_SPACE, "bandwidth!": UNSIGNED_INT, "qualityRanking": UNSIGNED_INT},
    ),
    "SegmentTemplate": Rule(
        ("SegmentTimeline?",),
        {
            "timescale": UNSIGNED_INT, "eptDelta": INTEGER, "presentationTimeOffset": UNSIGNED_LONG,
            "presentationDuration": UNSIGNED_LONG, "timeShiftBufferDepth": DURATION, "availabilityTimeOffset": DOUBLE,
            "availabilityTimeComplete": BOOLEAN, "duration": UNSIGNED_INT, "startNumber": UNSIGNED_INT,
            "endNumber": UNSIGNED_INT, "media": ANY, "index": ANY, "initialization": ANY, "bitstreamSwitching": ANY,
        },
    ),
    "SegmentTimeline": Rule(("S*",)),
    "S": Rule(
        attributes={"t": UNSIGNED_LONG, "n": UNSIGNED_LONG, "d!": UNSIGNED_LONG, "r": INTEGER, "k": UNSIGNED_LONG}
    ),
    "Label": Rule(attributes={"id": UNSIGNED_INT, "lang": LANGUAGE}, text=ANY),
    "AudioChannelConfiguration": DESCRIPTOR,
    "EssentialProperty": DESCRIPTOR,
    "SupplementalProperty": DESCRIPTOR,
    "Accessibility": DESCRIPTOR,
    "Role": DESCRIPTOR,
    "UTCTiming": DESCRIPTOR,
}  # fmt: skip


def validate(data: bytes) -> None:
    """One manifest, whatever it is of: of a mount or a group, with one period or many.

    Raises:
        AssertionError: it breaks a rule of the schema.
        xml.etree.ElementTree.ParseError: it is no XML.
    """
    root = ElementTree.fromstring(data)
    assert _name(root) == "MPD", f"{root.tag} is no manifest"
    _check(root)


def _name(element: ElementTree.Element) -> str:
    namespace, _, name = element.tag.removeprefix("{").rpartition("}")
    assert namespace == NAMESPACE, f"{element.tag} is not of the schema's namespace"
    return name


def _check(element: ElementTree.Element) -> None:
    name = _name(element)
    rule = RULES[name]
    known = {each.removesuffix("!"): check for each, check in rule.attributes.items()}
    for attribute, value in element.attrib.items():
        assert attribute in known, f"{name} has no attribute {attribute}"
        assert known[attribute](value), f'{name} {attribute}="{value}"'
    for attribute in rule.attributes:
        assert not attribute.endswith("!") or attribute[:-1] in element.attrib, f"{name} without {attribute[:-1]}"
    children = "".join(f"{_name(child)} " for child in element)
    order = "".join(f"({each.rstrip('?*+')} ){each[-1] if each[-1] in '?*+' else ''}" for each in rule.children)
    assert re.fullmatch(order, children), f"{name} must not have these, or not so: {children}"
    text = (element.text or "") + "".join(child.tail or "" for child in element)
    assert (rule.text or str.isspace)(text or " "), f"{name}: {text!r}"
    for child in element:
        _check(child)

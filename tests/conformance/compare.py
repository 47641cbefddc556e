"""An answer, and in what two of them differ that matters to a client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

VARIES = frozenset({"date", "server"})
"""Fields whose values are each server's own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        headers: by name as written; of repeated ones the last.
    """

    status: int
    headers: dict[str, str]
    body: bytes


def parse(received: bytes) -> Answer:
    """The answer, after what was sent to have a body continued."""
    if received.startswith((b"HTTP/1.1 100 ", b"HTTP/1.0 100 ")):
        received = received.partition(b"\r\n\r\n")[2]
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("utf-8", "replace").split("\r\n")
    match = re.match(r"(?:HTTP/1\.[01]) (\d{3})", first)
    headers = dict(line.split(":", 1) for line in lines if ":" in line)
    return Answer(int(match[1]) if match else 0, {name: value.strip() for name, value in headers.items()}, body)


def shape(answer: Answer) -> set[str]:
    """Of a body in XML or JSON, every path to a value, with its kind; of any other nothing."""
    kind = next((value for name, value in answer.headers.items() if name.lower() == "content-type"), "")
    try:
        if "json" in kind:
            return set(_json_paths(json.loads(answer.body), ""))
        if "xml" in kind:
            return set(_xml_paths(ElementTree.fromstring(answer.body), ""))
    except (ValueError, ElementTree.ParseError):
        return {"broken"}
    return set()


def _json_paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _json_paths(each, f"{path}.{name}")
    elif isinstance(value, list):
        for each in value:
            yield from _json_paths(each, f"{path}[]")
    else:
        yield f"{path}: {type(value).__name__}"


def _xml_paths(element: ElementTree.Element, path: str) -> Iterator[str]:
    here = "/".join(filter(None, [path, element.tag])) + "".join(f"[@{name}]" for name in element.attrib)
    yield here
    for each in element:
        yield from _xml_paths(each, here)


def message(answer: Answer) -> str:
    """What a command says, or an error."""
    text = answer.body.decode("utf-8", "replace")
    found = re.search(r"<message>(.*?)</message><return>(\d)|<b>(.*?)</b>", text)
    return " ".join(filter(None, found.groups())) if found else ""


def differences(icecast: Answer, castd: Answer) -> set[str]:
    """In words: what only one of them has is marked "-" for Icecast's and "+" for castd's."""
    found = set()
    if icecast.status != castd.status:
        found.add(f"status {icecast.status} -> {castd.status}")
    ours, theirs = ({name.lower(): value for name, value in each.headers.items()} for each in (castd, icecast))
    found |= {f"- {name}" for name in theirs.keys() - ours.keys()}
    found |= {f"+ {name}" for name in ours.keys() - theirs.keys()}
    for name in ours.keys() & theirs.keys() - VARIES - {"content-length"}:
        if ours[name].lower().replace('"', "") != theirs[name].lower().replace('"', ""):
            found.add(f"{name}: {theirs[name]} -> {ours[name]}")
    found |= {f"- {path}" for path in shape(icecast) - shape(castd)} | {
        f"+ {path}" for path in shape(castd) - shape(icecast)
    }
    if message(icecast) != message(castd):
        found.add(f"says {message(icecast)!r} -> {message(castd)!r}")
    return found

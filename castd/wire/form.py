"""Forms as Icecast writes them for other services: all but letters and digits of ASCII escaped, in lower case."""

from __future__ import annotations

import re
from collections.abc import Mapping


def escaped(text: str) -> str:
    """The text in UTF-8, as %xx where it is no letter or digit."""
    data = text.encode("utf-8", "surrogateescape")
    return re.sub(rb"[^A-Za-z0-9]", lambda found: b"%%%02x" % found[0][0], data).decode()


def form(fields: Mapping[str, str]) -> str:
    """Fields as a body: the action, a directory's session and the dash that stands for nothing as they are; under the
    name "" the value alone, if there is one."""
    pairs = []
    for name, value in fields.items():
        text = value if name in ("action", "sid") or value == "-" else escaped(value)
        if name or text:
            pairs.append(f"{name}={text}" if name else text)
    return "&".join(pairs)

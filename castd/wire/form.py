"""Forms as Icecast writes them for other services: all but letters and digits of ASCII escaped, in lower case."""

from __future__ import annotations

import re


def escaped(text: str) -> str:
    """The text in UTF-8, as %xx where it is no letter or digit."""
    data = text.encode("utf-8", "surrogateescape")
    return re.sub(rb"[^A-Za-z0-9]", lambda found: b"%%%02x" % found[0][0], data).decode()

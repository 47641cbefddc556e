"""URLs for logs: as the client sent them, without what opens doors.

SHOUTcast's clients send the password in the query, players send tokens, and both appear as Referer of what comes next.
This is the one function through which URLs go into logs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_from_bytes

from castd.http.messages import parse_query

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET_NAMES = re.compile(r"pass|pwd|pw$|key|token|secret|auth|sig|cred|session|code", re.IGNORECASE)
"""Names of arguments whose values are masked, wherever in the name it stands: too many rather than one too few."""

MASK = "***"

LOGGED_CHARACTERS = 1024
"""Of one URL."""

_USER_INFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*@")

_SAFE = "/;,:@!$'()*~-._"


def masked_query(query: Mapping[str, bytes]) -> str:
    """The query of a URL, with its question mark; "" if there are no arguments."""
    text = "&".join(f"{quote(name, _SAFE, errors='replace')}={_masked(name, value)}" for name, value in query.items())
    return f"?{text}"[:LOGGED_CHARACTERS] if text else ""


def _masked(name: str, value: bytes) -> str:
    return MASK if SECRET_NAMES.search(name) else quote_from_bytes(value, _SAFE)


def masked_target(path: str, query: Mapping[str, bytes]) -> str:
    """The target of a request."""
    return path[:LOGGED_CHARACTERS] + masked_query(query)


def masked_url(url: str) -> str:
    """A URL as a client wrote it, such as a Referer; fragments and users with passwords are left out."""
    path, _, query = url.partition("#")[0].partition("?")
    path = _USER_INFO.sub(lambda match: f"{match[1] or ''}//", path)
    return masked_target(path, parse_query(query))

"""Heads of replies, as h11 writes them; those that many get are written once.

h11 sees to it that no value of a field ends the head it stands in.
"""

from __future__ import annotations

import time
from functools import lru_cache

import h11

from castd import __version__
from castd.http.conditions import http_time
from castd.http.messages import phrase

SERVER = f"castd/{__version__}"

KEPT = 512
"""Heads kept: of playlists and segments that are asked for now, and of whatever else comes by."""

Fields = tuple[tuple[str, str], ...]


def reply_head(status: int, fields: Fields) -> bytes:
    """The head of a reply, with Server and Date besides what is given.

    Args:
        fields: names and values; framed by Content-Length, unless the status has no content.

    Raises:
        h11.LocalProtocolError: a value that no field can have.
    """
    # a cookie opens a door, and nobody gets the same
    write = _write.__wrapped__ if any(name == "Set-Cookie" for name, _ in fields) else _write
    line, rest = write(status, fields)
    return line + b"Date: " + http_time(int(time.time())).encode() + b"\r\n" + rest


@lru_cache(KEPT)
def _write(status: int, fields: Fields) -> tuple[bytes, bytes]:
    """The status line, and all that follows."""
    fields = (("Server", SERVER), *fields)
    headers = [(name.encode("ascii"), value.encode("utf-8", "replace")) for name, value in fields]
    response = h11.Response(status_code=status, reason=phrase(status), headers=headers)
    line, end, rest = (h11.Connection(h11.SERVER).send(response) or b"").partition(b"\r\n")
    return line + end, rest

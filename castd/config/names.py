"""What a mount may be called: one spelling for the configuration, for encoders and for listeners."""

from __future__ import annotations

import re
from urllib.parse import unquote

MAX_NAME_BYTES = 255
"""Of the decoded name in UTF-8: room for any real name, and short enough for file names made from it."""

RESERVED = re.compile(
    r"""/ | /(admin|api|p|static)(/.*)? | /healthz | /metrics | /favicon\.ico | /robots\.txt | /index\.html
    | .*/(hls|dash)(/.*)? | .*/clip                                                      # outputs beside a mount
    | /(status-json|status2?|server_version|auth|7)\.xsl                                 # Icecast's pages
    | /(7|home|played)\.html | /stats | /statistics | /currentsong | /played | /admin\.cgi | /;.*  # SHOUTcast's
    | .*\.(m3u8?|xspf|pls|vclt|mpd)                                                      # playlists made for a mount
    """,
    re.VERBOSE | re.DOTALL,
)
"""Paths castd keeps for itself: nobody may have a mount there."""


def mount_name(text: str) -> str:
    """Bring a mount's name to its one spelling: percent-encoding decoded, with a leading slash.

    Args:
        text: as an operator or a client writes it, without query: "live", "/live", "/caf%C3%A9".

    Returns:
        The normalised name, such as "/live"; it normalises to itself.

    Raises:
        ValueError: no mount can be called so; the message completes the sentence "the name ...".
    """
    try:
        name = unquote(text, errors="strict")
        size = len(name.encode())
    except UnicodeError:
        raise ValueError("is not UTF-8") from None
    if not name.startswith("/"):
        name, size = f"/{name}", size + 1
    if size > MAX_NAME_BYTES:
        raise ValueError(f"is longer than {MAX_NAME_BYTES} bytes")
    if not name.isprintable():
        raise ValueError("holds control characters")
    # A percent sign left after decoding would be decoded once more by whoever normalises the name again.
    if bad := sorted(set(name) & set('%?#\\"<>')):
        raise ValueError(f"holds {bad[0]}")
    if RESERVED.fullmatch(name):
        raise ValueError("is one of castd's own pages")
    if not {"", ".", ".."}.isdisjoint(name[1:].split("/")):
        raise ValueError('has an empty segment, "." or ".."')
    return name

"""Content types of files by their names."""

from __future__ import annotations

import mimetypes
import os

TYPES = {
    ".mp3": "audio/mpeg",
    ".mp2": "audio/mpeg",
    ".aac": "audio/aac",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".spx": "audio/ogg",
    ".ogv": "video/ogg",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "video/webm",
    ".mka": "audio/x-matroska",
    ".m3u": "audio/x-mpegurl",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".pls": "audio/x-scpls",
    ".xspf": "application/xspf+xml",
    ".lrc": "text/plain",
    ".js": "text/javascript",
    ".xml": "application/xml",  # as text/xml, a charset would go before what the file itself says
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""What browsers and players want to hear, where Python's table has nothing or another word."""

UNKNOWN = "application/octet-stream"

_OTHERS = mimetypes.MimeTypes()
"""Python's own table only: /etc/mime.types would make the answer another one on each machine."""

_PLAYLISTS = (TYPES[".m3u"], TYPES[".pls"])


def media_type(name: str) -> str:
    """The Content-Type of a file, with the charset of text.

    Args:
        name: its name or path; the content is not looked at.
    """
    suffix = os.path.splitext(name)[1].lower()
    known = TYPES.get(suffix) or _OTHERS.types_map[True].get(suffix, UNKNOWN)
    return f"{known}; charset=utf-8" if known.startswith("text/") else known


def plays(content_type: str) -> bool:
    """Whether a player can be sent there, so that a playlist makes sense."""
    return content_type.startswith(("audio/", "video/")) and content_type not in _PLAYLISTS

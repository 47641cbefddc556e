"""Reading the small files a configuration consists of; what is wrong with one is a ValueError, never a traceback."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 4 << 20
"""Somebody's disk image must not fill the memory; a thousand mounts are a tenth of this."""

TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
"""How tomllib ends its messages."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ValueError: it cannot be read or is no TOML; the message begins with the file, and the line where there is one.
    """
    try:
        data = _read(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    try:
        # Windows editors begin UTF-8 with a byte order mark, which TOML itself does not allow.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{line}: not UTF-8 text") from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: numbers of thousands of digits and brackets nested as deep raise other errors.
        message = str(error)
        place = TOML_PLACE.search(message)
        if not place:
            raise ValueError(f"{path}: not usable as TOML: {message}") from None
        line = int(place[1] or len(text.splitlines()) or 1)
        raise ValueError(f"{path}:{line}: {message[: place.start()]}") from None


def read_secret(path: Path) -> str:
    """A secret kept in a file of its own, as container tools and systemd's LoadCredential hand them over.

    Returns:
        The text without the line break at its end.

    Raises:
        ValueError: missing, unreadable, not text or empty; the message never holds the content.
    """
    try:
        text = _read(path).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text") from None
    if not text:
        raise ValueError("the file is empty")
    return text


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES:,} bytes")
    return data

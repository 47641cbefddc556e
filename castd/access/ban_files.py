"""Lists of bans as Icecast and icecast-kh keep them: one entry a line, "#" begins a comment.

deny-ip and allow-ip hold addresses, networks too, and in kh's "192.0.2.*"; deny-agents holds globs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from castd.errors import ConfigError

MAX_BYTES = 64 << 20
"""Of one file; a million addresses are 20 MB."""

Entry = TypeVar("Entry")


def read_entries(path: str, parse: Callable[[str], Entry]) -> list[tuple[str, Entry]]:
    """The entries of a file: as written, and parsed.

    Raises:
        ConfigError: it cannot be read, or a line of it cannot be; the message names file and line.
    """
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes")
        text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        try:
            found.append((entry, parse(entry)))
        except ValueError as error:
            raise ConfigError(f"{path}:{number}: {entry[:60]!r}: {error}") from None
    return found


def agent_glob(text: str) -> str:
    """A User-Agent or a glob of them.

    Raises:
        ValueError: it is too long.
    """
    if len(text) > 256:
        raise ValueError("longer than 256 characters")
    return text

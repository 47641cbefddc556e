"""Everything wrong with a configuration, collected so that the operator reads it all at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches

from castd.errors import ConfigError

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
"""What TOML allows as a key without quotes."""


class Problems:
    """Collects one line for each mistake.

    Attributes:
        failed: names of keys (without section) that have no usable value: checks between keys leave them out.
    """

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self._lines: list[str] = []

    def add(self, source: object, what: str, key: str = "") -> None:
        """Note one mistake.

        Args:
            source: the file, or "environment".
            what: names the key, the value and what is allowed.
            key: the name of the key that is now without a value.
        """
        self.failed.add(key)
        line = f"{source}: {what}"
        if line not in self._lines:
            self._lines.append(line)

    def raise_any(self) -> None:
        """Raise ConfigError with one line for each mistake, if there is any."""
        if self._lines:
            raise ConfigError("\n".join(self._lines))


def dotted(*parts: str) -> str:
    """A key's name with its sections, quoted where TOML wants it: mounts."/live".name."""
    return ".".join(part if BARE_KEY.fullmatch(part) else json.dumps(part) for part in parts)


def nearest(word: str, known: Iterable[str]) -> str:
    """The remedy for an unknown word: "; did you mean ...?" or, with nothing near, what is known.

    Args:
        word: what the operator wrote.
        known: what would have been right.
    """
    names = list(known)
    if near := get_close_matches(word, names, n=1, cutoff=0.5):
        return f"; did you mean {near[0]}?"
    return f"; known: {', '.join(names)}"

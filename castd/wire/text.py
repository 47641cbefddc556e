"""Text from strangers, made safe to stand in a header, a log line, a page, XML or an ICY block."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TEXT_CHARACTERS = 1024
"""Longest text kept: longer than any title; what ICY, pages and the history can carry."""

_UNWANTED = ("Cc", "Cs", "Cn")
"""Unicode categories: control characters; halves of a surrogate pair, which no encoding carries; code points that are
no characters, which XML forbids."""


def one_line(text: str, limit: int = TEXT_CHARACTERS) -> str:
    """The text on one line, without control characters, at most `limit` characters of it."""
    kept: Iterable[str] = text[: 4 * limit]
    if not (text.isascii() and text.isprintable()):  # what clients call themselves, with each request, mostly is
        kept = (char for char in kept if char.isspace() or unicodedata.category(char) not in _UNWANTED)
    return " ".join("".join(kept).split())[:limit].strip()

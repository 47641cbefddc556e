"""Conditional requests: does the client have this already? RFC 9110 §8.8 and §13. And may it come packed?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import formatdate, mktime_tz, parsedate_tz
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.http.messages import Request

ENTITY_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\uffff]*")')
"""§8.8.3, with the opaque part as its group."""

OK, NOT_MODIFIED, PRECONDITION_FAILED = 200, 304, 412


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one state of a file from another.

    Attributes:
        etag: a strong entity tag, in its quotes.
        modified: whole seconds since the epoch, as Last-Modified can carry them.
    """

    etag: str
    modified: int

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The header fields that tell them."""
        return (("ETag", self.etag), ("Last-Modified", http_time(self.modified)))


@lru_cache(256)
def http_time(seconds: int) -> str:
    """A moment as HTTP writes it (§5.6.7).

    Args:
        seconds: since the epoch.
    """
    return formatdate(seconds, usegmt=True)


def outcome(request: Request, validators: Validators) -> int:
    """What the conditions of a GET or HEAD make of it, in the order of §13.2.2.

    Returns:
        OK: answer as if there were none; NOT_MODIFIED; PRECONDITION_FAILED.
    """
    if match := request.header("if-match"):
        if not _lists(match, validators.etag, strong=True):
            return PRECONDITION_FAILED
    elif (since := http_date(request.header("if-unmodified-since"))) is not None and validators.modified > since:
        return PRECONDITION_FAILED
    if none_match := request.header("if-none-match"):
        return NOT_MODIFIED if _lists(none_match, validators.etag, strong=False) else OK
    since = http_date(request.header("if-modified-since"))
    return NOT_MODIFIED if since is not None and validators.modified <= since else OK


def part_is_of_this(request: Request, validators: Validators, now: float) -> bool:
    """Whether the client's If-Range (§13.1.5), if it sent one, means the state there is; else it wants the whole.

    Args:
        now: seconds since the epoch.
    """
    field = request.header("if-range").strip()
    if not field:
        return True
    if field.endswith('"'):
        return field == validators.etag
    # within the second of its date a file may change again and keep that date (§8.8.2.2)
    return http_date(field) == validators.modified < int(now)


def http_date(text: str) -> int | None:
    """Seconds since the epoch from any of the three forms of §5.6.7; None for anything else."""
    try:
        parsed = parsedate_tz(text)
        return None if parsed is None else int(mktime_tz(parsed))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None  # a day of no calendar, a year of no clock


def _lists(field: str, etag: str, *, strong: bool) -> bool:
    """Whether a list of entity tags has this one, by weak or strong comparison (§8.8.3.2)."""
    if field.strip() == "*":
        return True
    return any(match[1] == etag and not (strong and match[0].startswith("W/")) for match in ENTITY_TAG.finditer(field))


def takes_gzip(request: Request) -> bool:
    """Whether a reply may be packed by gzip: RFC 9110 §12.5.3, as far as browsers use it."""
    for each in request.header("accept-encoding").lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False

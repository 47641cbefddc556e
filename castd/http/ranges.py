"""Range requests for one part of a representation: RFC 9110 §14.

A set of several ranges is answered with the whole, as §14.2 allows: players ask for one, and many overlapping ones
are how a server is made to send a file a hundred times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from castd.errors import ClientError

SPECIFIER = re.compile(r"[ \t]*bytes[ \t]*=[ \t]*([0-9]{0,40})-([0-9]{0,40})[ \t]*", re.IGNORECASE | re.ASCII)
"""§14.1.2, a set of one. Forty digits are more than any file has bytes, and few enough for int()."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of something, in bytes.

    Attributes:
        start: its first byte.
        size: never 0.
        whole: bytes of what it is a part of.
    """

    start: int
    size: int
    whole: int

    @property
    def content_range(self) -> str:
        """The value of Content-Range (§14.4)."""
        return f"bytes {self.start}-{self.start + self.size - 1}/{self.whole}"


def requested_part(field: str, whole: int) -> Part | None:
    """What a Range header field asks for.

    Args:
        field: its value, "" if there is none.
        whole: bytes of the representation.

    Returns:
        The part; None where the whole is the answer: no field, one that is not understood, several ranges, the suffix
        of nothing.

    Raises:
        ClientError: 416 with the length there is: the part lies beyond the end.
    """
    match = SPECIFIER.fullmatch(field)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        size = min(int(last), whole)
        if int(last) == 0:
            raise not_satisfiable(whole)
        return Part(whole - size, size, whole) if size else None
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= whole:
        raise not_satisfiable(whole)
    end = min(int(last), whole - 1) if last else whole - 1
    return Part(start, end - start + 1, whole)


def not_satisfiable(whole: int) -> ClientError:
    """The refusal of a range beyond the end (§15.5.17)."""
    return ClientError(416, f"there are {whole} bytes", (("Content-Range", f"bytes */{whole}"),))

"""The head of another server's reply: HTTP's, or SHOUTcast's, which begins with `ICY 200 OK`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_HEAD_BYTES = 16 * 1024

_STATUS = re.compile(rb"(?:HTTP/\d\.\d|ICY) (\d{3})(?: ([^\r\n]*))?")

_BLANK = re.compile(rb"\r?\n\r?\n")


class NotAReply(Exception):
    """The other server's fault; the message completes "it ..."."""


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """A reply's head.

    Attributes:
        headers: by lower-case name; of repeated ones the first. Untrusted.
    """

    status: int
    phrase: str
    headers: Mapping[str, str]


def find_reply_head(received: bytes) -> tuple[ReplyHead, bytes] | None:
    """The head, and what of the body came with it; None while it is not whole.

    Raises:
        NotAReply: it is something else, or longer than MAX_HEAD_BYTES.
    """
    if not (b"HTTP/".startswith(received[:5]) or b"ICY ".startswith(received[:4])):
        raise NotAReply("does not speak HTTP")
    end = _BLANK.search(received)
    if (end.end() if end else len(received)) > MAX_HEAD_BYTES:
        raise NotAReply(f"answered with a head of more than {MAX_HEAD_BYTES} bytes")
    if end is None:
        return None
    first, *lines = received[: end.start()].splitlines()
    status = _STATUS.fullmatch(first)
    if status is None:
        raise NotAReply("does not speak HTTP")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            headers.setdefault(name.strip().decode("latin-1").lower(), _text(value.strip()))
    phrase = _text((status[2] or b"").strip())[:100]
    return ReplyHead(int(status[1]), phrase, headers), received[end.end() :]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")

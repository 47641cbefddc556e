"""SHOUTcast 1's way to push a stream: a line with the password, fields like a mail's, then audio.

There is no document; the recorded exchanges are captures C50 to C63 and K44 to K46, quirks 28 to 33 tell who sends
what. A password may bring a user ("dj:secret"), a mount ("/live:secret", as icecast-kh has it), or a stream id
("secret:#2", as SHOUTcast 2 has it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from castd.errors import ClientError
from castd.wire.text import one_line

WELCOME = b"OK2\r\nicy-caps:11\r\n\r\n"

BAD_PASSWORD = b"invalid password\r\n"
"""The original's answer; encoders show it to their users."""

MAX_PASSWORD_LINE = 1024
"""Bytes of the first line."""

_REQUEST_LINE = re.compile(rb"\S+ .*\S (HTTP|ICE)/\d\.\d\r*")
_METHOD = re.compile(rb"[A-Z]+( .*)?\r*", re.DOTALL)
_HEAD_END = re.compile(rb"(?:^|\n)\r*\n")
_STREAM_ID = re.compile(r"(.*):#([1-9]\d{0,3})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Login:
    """What a password line, or the `pass` of admin.cgi, says.

    Attributes:
        secrets: user and password as they may be meant, the likeliest first; user "" is the mount's own.
        mount: "" if it names none.
        stream_id: from 1; 0 if it names none.
    """

    secrets: tuple[tuple[str, str], ...]
    mount: str = ""
    stream_id: int = 0


def password_line(received: bytes) -> tuple[str, bytes] | None:
    """Does a connection begin as SHOUTcast's encoders do?

    Args:
        received: everything so far.

    Returns:
        The line without its end, and what follows it; None if the line is not whole yet, or no password: all of HTTP's
        begin with a method.
    """
    end = received.find(b"\n")
    line = received[:end].rstrip(b"\r")
    if end <= 0 or end > MAX_PASSWORD_LINE or not line or _REQUEST_LINE.fullmatch(line):
        return None
    if b" " in line and _METHOD.fullmatch(line.split(b" ", 1)[0]):  # more likely a mistake in HTTP
        return None
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    return (text, received[end + 1 :]) if text.isprintable() and text == text.strip() else None


def login(text: str) -> Login:
    """Take a password line apart."""
    mount, stream_id = "", 0
    if match := _STREAM_ID.fullmatch(text):
        text, stream_id = match[1], int(match[2])
    if text.startswith("/"):
        mount, _, text = text.partition(":")
    secrets = [("", text)]
    user, colon, password = text.partition(":")
    if colon:
        secrets.append((user, password))
    return Login(tuple(secrets), mount, stream_id)


def split_fields(received: bytes, *, max_bytes: int, max_fields: int) -> tuple[dict[str, str], bytes] | None:
    """The fields after the password, and what follows them.

    Args:
        received: everything after the password line.
        max_bytes, max_fields: what there may be of them.

    Returns:
        The values by lower-case name; None if their end has not come yet. An encoder that sends none begins with an
        empty line.

    Raises:
        ClientError: 431.
    """
    end = _HEAD_END.search(received)
    if (end.end() if end else len(received)) > max_bytes:
        raise ClientError(431, f"fields larger than {max_bytes} bytes")
    if end is None:
        return None
    lines = [line for line in received[: end.start()].split(b"\n") if line.rstrip(b"\r")]
    if len(lines) > max_fields:
        raise ClientError(431, f"more than {max_fields} fields")
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            fields[name.decode("latin-1").strip().lower()] = one_line(_text(value))
    return fields, received[end.end() :]


def refusal(status: int, reason: str) -> bytes:
    """What an encoder is told instead of WELCOME."""
    return BAD_PASSWORD if status == 401 else f"{one_line(reason)}\r\n".encode()


def _text(value: bytes) -> str:
    try:
        return value.strip().decode()
    except UnicodeDecodeError:
        return value.strip().decode("latin-1")

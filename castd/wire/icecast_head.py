"""Request heads as Icecast's clients really send them, made fit for h11.

h11 parses the heads, but some of what encoders send it refuses (verdicts on every recorded client: the h11-verdicts
recordings; RFC 9112 §2-3): `SOURCE /m ICE/1.0`, raw non-ASCII bytes and spaces in the target (BUTT's titles), heads
ended by `\\r\\r\\n`. This front parser finds the end of a head, keeps its bounds, which h11 does not apply to a head
that comes complete in one segment, refuses folded fields, and rewrites the request line; it judges nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from castd.errors import ClientError

_HEAD_END = re.compile(rb"\n\r*\n")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")  # token, RFC 9110 §5.6.2; no method is longer
_PROTOCOL = re.compile(rb"(HTTP|ICE)/(\d)\.(\d)")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_NEEDS_ESCAPE = re.compile(rb"[^\x21-\x7e]")
_TLS_HANDSHAKE = b"\x16\x03"  # RFC 8446 §5.1: the first bytes of a ClientHello record


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bounds of one request head.

    Attributes:
        bytes: all of it, the empty line included.
        fields: header lines.
    """

    bytes: int
    fields: int


def split_head(received: bytes | bytearray, limits: HeadLimits) -> tuple[bytes, bytes] | None:
    """Find and normalise the head at the start of what a client sent.

    Args:
        received: everything received so far.
        limits: what a head may be.

    Returns:
        The head in a form h11 reads and the bytes after it; None if its end has not come yet.

    Raises:
        ClientError: 400, 414, 431 or 505, the client's fault; TLS on a plain port is status 400 too.
    """
    size = len(received)
    received = bytes(received).lstrip(b"\r\n")  # RFC 9112 §2.2: empty lines before a request line are ignored
    if received.startswith(_TLS_HANDSHAKE):
        raise ClientError(400, "TLS on a port that speaks plain HTTP")
    if received and not 0x20 < received[0] < 0x7F:
        raise ClientError(400, "not an HTTP request")
    end = _HEAD_END.search(received)
    if end is not None:
        size += end.end() - len(received)
    if size > limits.bytes:  # ignored lines count, too: nothing else would end a client that sends only these
        _too_large(received, limits)
    if end is None:
        return None
    head, rest = received[: end.start()], received[end.end() :]
    first, *fields = head.split(b"\n")
    if len(fields) > limits.fields:
        raise ClientError(431, f"more than {limits.fields} header fields")
    if any(field.startswith((b" ", b"\t")) for field in fields):
        # RFC 9112 §5.2: a line that continues the one before; a proxy may take it for a field of its own
        raise ClientError(400, "a header field over several lines")
    lines = [_request_line(first.rstrip(b"\r")), *(field.rstrip(b"\r") for field in fields)]
    return b"\r\n".join(lines) + b"\r\n\r\n", rest


def _too_large(received: bytes, limits: HeadLimits) -> None:
    newline = received.find(b"\n")
    if len(received) > limits.bytes and (newline < 0 or newline > limits.bytes):
        raise ClientError(414, f"request line longer than {limits.bytes} bytes")
    raise ClientError(431, f"request head larger than {limits.bytes} bytes")


def _request_line(line: bytes) -> bytes:
    method, _, rest = line.partition(b" ")
    target, _, protocol = rest.strip(b" ").rpartition(b" ")
    target = target.strip(b" ")
    match = _PROTOCOL.fullmatch(protocol)
    if not _METHOD.fullmatch(method) or not target or match is None or _CONTROL.search(target):
        raise ClientError(400, "not an HTTP request line")
    name, major, minor = match.groups()
    if major != b"1":
        raise ClientError(505, f"protocol {protocol.decode('ascii')} is not spoken here")
    version = b"HTTP/1.0" if name == b"ICE" or minor == b"0" else b"HTTP/1.1"
    target = _NEEDS_ESCAPE.sub(lambda byte: b"%%%02X" % byte.group()[0], target)
    return b" ".join((method, target, version))

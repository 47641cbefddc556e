"""What one value of the configuration may be: each rule tests a value and says in words what it allows.

A rule stands beside its field as `Annotated[type, rule]` in castd.config.model; castd.config.schema applies it once the
type itself is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network
from typing import Any
from urllib.parse import urlsplit

from castd.config.events import EVENT_NAMES, matching
from castd.config.names import mount_name

HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""A host name or an IPv4 address, told apart later by the resolver."""

WELL_KNOWN_PASSWORDS = frozenset({"hackme", "changeme"})
"""What Icecast's example files ship with and scanners try first; never a password here, configured or given."""

MAX_TEXT = 1000
"""Characters of one text: several become one response header field, and clients limit a whole head to 8 KB or so."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value may be, beyond its type.

    Attributes:
        allowed: completes the sentence "must be ..."; with the unit.
        holds: whether a value of the right type is allowed.
        secret: the value never appears in a message, and a file may hold it instead (the key with _file added).
    """

    allowed: str
    holds: Callable[[Any], bool]
    secret: bool = False


def _is_codec(name: str) -> bool:
    try:
        return "".encode(name) == b""
    except LookupError:
        return False


def between(low: float, high: float, unit: str = "") -> Rule:
    """A number from low to high, both included; the unit, such as "seconds", is for the message."""
    # Also refuses nan and inf, which TOML allows.
    return Rule(f"{low:,} to {high:,} {unit}".rstrip(), lambda number: low <= number <= high)


def _printable(text: str) -> bool:
    # Control characters would end a header field or a log line early; lone surrogates cannot be sent at all.
    return len(text) <= MAX_TEXT and text.isprintable()


TEXT = Rule(f"text of at most {MAX_TEXT} characters without line breaks or control characters", _printable)


def _host(text: str) -> bool:
    if ":" not in text:
        return len(text) <= 253 and HOST_NAME.fullmatch(text) is not None
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


NAME = Rule("a host name without port or scheme, such as radio.example.org", _host)

ADDRESS = Rule(
    'an IP address or host name without brackets or port, or "" for every address',
    lambda text: text == "" or _host(text),
)


def _network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return "%" not in text


NETWORK = Rule(
    'an IP address, or a network such as "10.0.0.0/8" with only zeros after its prefix',
    _network,
)

AGENT = Rule(
    'a User-Agent of 1 to 256 printable characters, "*", "?" and "[...]" standing for others, such as "*bot*"',
    lambda text: 0 < len(text) <= 256 and text.isprintable(),
)

LINK = re.compile(r"https?://[A-Za-z0-9\[][!-~]{0,998}")

REDIRECT = Rule(
    'an http:// or https:// URL, "{mount}" in it standing for the name of a mount, or "" for none',
    lambda text: text == "" or LINK.fullmatch(text) is not None,
)

TEXT_CHARSET = re.compile(
    r"(utf-?8|iso[-_]?8859|latin|windows|cp|koi8|us-ascii|ascii|shift_?jis|sjis|euc|gb|big5|mac)[-_\w]{0,20}",
    re.IGNORECASE,
)
"""Python knows codecs that are none of text's, that warn, or are quadratic (punycode)."""

FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
"""RFC 9110 §5.1."""

HOST_NAME = re.compile(r"(\*\.)?([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}")
"""RFC 1123 §2.1, and the wildcard of RFC 9525 §6.3."""

FIELD = Rule(
    'the name of a header field, such as "x-forwarded-for", "forwarded" or "x-real-ip", or "" for none',
    lambda text: text == "" or FIELD_NAME.fullmatch(text) is not None,
)

CHARSET = Rule(
    'the name of a character set that Python knows, such as "iso-8859-1" or "windows-1251"',
    lambda text: TEXT_CHARSET.fullmatch(text) is not None and _is_codec(text),
)

OWN_FIELDS = frozenset(
    [
        "server",
        "connection",
        "date",
        "content-type",
        "content-length",
        "transfer-encoding",
        "cache-control",
        "expires",
        "pragma",
        "x-content-type-options",
    ]
)
"""What replies have of themselves."""


def _header(text: str) -> bool:
    name, colon, value = text.partition(":")
    fits = FIELD_NAME.fullmatch(name) and name.lower() not in OWN_FIELDS and not name.lower().startswith("icy-")
    return bool(colon and fits) and _printable(value) and value.strip() != ""


HEADER = Rule('a header field such as "X-Robots-Tag: noindex", of none of the names that castd sends itself', _header)

AUTH_HEADER = Rule(
    'a header field and its value, such as "icecast-auth-user: 1"',
    lambda text: FIELD_NAME.fullmatch(text.partition(":")[0].strip()) is not None and ":" in text and _printable(text),
)

HOST = Rule(
    'a host name such as "radio.example.org", or "*.example.org" for all just below it',
    lambda text: HOST_NAME.fullmatch(text) is not None,
)

ACCOUNT = Rule(
    'the name of a user of this machine, such as "castd", or "" for none',
    lambda text: text == "" or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", text) is not None,
)

USER = Rule(
    'a user name of 1 to 100 characters without ":" or control characters',
    # HTTP Basic credentials end the user at the first colon (RFC 7617 §2).
    lambda text: 0 < len(text) <= 100 and ":" not in text and text.isprintable(),
)

MOUNT_USER = Rule(
    f'{USER.allowed}, or "" for the server\'s',
    lambda text: text == "" or USER.holds(text),
)


def _is_mount(text: str) -> bool:
    try:
        return mount_name(text) == text
    except ValueError:
        return False


MOUNT = Rule('the name of a mount, such as "/live"', _is_mount)

MOUNT_OR_NONE = Rule(f'{MOUNT.allowed}, or "" for none', lambda text: text == "" or _is_mount(text))

MOUNTS = Rule(
    'the name of a mount such as "/live", or a pattern such as "/dj-*"',
    lambda text: text.startswith("/") and _printable(text),
)

SECRET = Rule(
    f"text of at most {MAX_TEXT} characters without line breaks or control characters, and not "
    + " or ".join(f'"{word}"' for word in sorted(WELL_KNOWN_PASSWORDS)),
    lambda text: _printable(text) and text.strip().lower() not in WELL_KNOWN_PASSWORDS,
    secret=True,
)

PATH = Rule("a path of at most 4,096 characters", lambda text: len(text) <= 4096 and "\0" not in text)


def _web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
        (parts.hostname or "").encode("idna")  # as the resolver will have it: no label is empty, or over 63 characters
    except ValueError:
        return False
    # A password in a URL would be shown in logs; other characters would end the request's line or need an encoding.
    plain = text.isascii() and text.isprintable() and " " not in text and "@" not in parts.netloc
    return plain and port != 0 and parts.scheme in ("http", "https") and bool(parts.hostname) and len(text) <= 2000


WEB_URL = Rule(
    'a URL in ASCII such as "https://example.org/castd", without a user, or "" for none',
    lambda text: text == "" or _web_url(text),
)

EVENTS = Rule(f'one of {", ".join(EVENT_NAMES)}, or a pattern such as "source.*"', lambda text: bool(matching([text])))

ARGUMENT = Rule("text of at most 4,096 characters", lambda text: len(text) <= 4096 and "\0" not in text)

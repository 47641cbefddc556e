"""Links that let a listener in until they expire, made by whoever knows a mount's key: a website, or `castd link`.

The signature is HMAC-SHA256 (RFC 2104) over mount, time and user, in hexadecimal, so that any language makes one.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from castd.errors import ClientError

if TYPE_CHECKING:
    from castd.http.messages import Request


def signature(key: str, mount: str, expires: int, user: str) -> str:
    """What a link must carry.

    Args:
        key: the mount's link_key.
        mount: its name, decoded, such as "/live".
        expires: seconds since 1970.
        user: who it is for; "" for anybody.
    """
    return hmac.digest(key.encode(), f"{mount}\n{expires}\n{user}".encode(), sha256).hex()


def signed(key: str, mount: str, expires: int, user: str = "") -> str:
    """Path and query of a link; see `signature`."""
    query = {"expires": str(expires), **({"user": user} if user else {})}
    return f"{quote(mount)}?{urlencode(query | {'signature': signature(key, mount, expires, user)})}"


def holder(request: Request, key: str, mount: str, now: float) -> str | None:
    """Whom a request's link is for: a user, or "" for anybody; None if it carries none.

    Args:
        now: wall time, seconds since 1970.

    Raises:
        ClientError: 403: it has expired, or was not made with the key.
    """
    given = request.argument("signature")
    if given is None or not key:
        return None
    expires, user = request.argument("expires") or "", request.argument("user") or ""
    if not (expires.isascii() and expires.isdigit() and len(expires) < 16):
        raise ClientError(403, "the link says no time at which it expires")
    if not hmac.compare_digest(given.lower().encode(), signature(key, mount, int(expires), user).encode()):
        raise ClientError(403, "the link is not a true one")
    if int(expires) <= now:
        raise ClientError(403, "the link has expired")
    return user

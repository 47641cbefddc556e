"""Browsers that are signed in: a cookie which no script can read, and a token that only our own page knows.

They are kept in memory: after a restart one signs in anew.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from math import inf
from typing import TYPE_CHECKING

from castd.access.secrets import verify
from castd.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.http.messages import Request
    from castd.http.routes import Grant

COOKIE = "castd_session"

SECONDS = 12 * 3600
"""A browser stays signed in for so long after its last request."""

LONGEST_SECONDS = 7 * 86_400

MOST = 200
"""Browsers at once; beyond that the one that asked nothing for longest has to sign in again."""


@dataclass(slots=True, eq=False)
class SignIn:
    """One browser.

    Attributes:
        grant: what it may do.
        csrf_token: that its requests which change something must show.
        expires: wall time after which it is over, whatever it does; for people.
        good_until: wall time until which that is good with which it signed in; infinity for ever.
        begun, used: monotonic time of its first and its last request.
    """

    grant: Grant
    csrf_token: str
    expires: float
    good_until: float
    begun: float
    used: float


class SignIns:
    """All browsers that are signed in.

    Args:
        wall: seconds since 1970.
        monotonic: seconds; a clock that is set ends no session, nor does it keep one alive.
    """

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._by_digest: OrderedDict[bytes, SignIn] = OrderedDict()

    def begin(self, grant: Grant, expires: float | None) -> tuple[str, SignIn]:
        """Sign a browser in.

        Args:
            expires: what it signed in with is good until then; None for ever.

        Returns:
            The value of its cookie.
        """
        cookie, now = secrets.token_urlsafe(32), self._monotonic()
        good_until = inf if expires is None else expires
        shown = min(self._wall() + LONGEST_SECONDS, good_until)
        made = SignIn(grant, secrets.token_urlsafe(32), shown, good_until, now, now)
        self._by_digest[_digest(cookie)] = made
        if len(self._by_digest) > MOST:
            self._by_digest.popitem(last=False)
        return cookie, made

    def find(self, request: Request) -> SignIn | None:
        """The browser that sent a request; None if it is not signed in, or not any more."""
        cookie = _cookie(request)
        # looked up by a digest, whose comparison tells nothing about the cookie
        found = self._by_digest.get(_digest(cookie)) if cookie else None
        if found is None:
            return None
        now = self._monotonic()
        if now >= min(found.begun + LONGEST_SECONDS, found.used + SECONDS) or self._wall() >= found.good_until:
            self.end(request)
            return None
        found.used = now
        self._by_digest.move_to_end(_digest(cookie))
        return found

    def end(self, request: Request) -> None:
        """Sign a browser out. Twice does no harm."""
        self._by_digest.pop(_digest(_cookie(request)), None)

    def end_all(self) -> None:
        """Sign everybody out: what they signed in with may not be good any more."""
        self._by_digest.clear()


def refuse_without_token(sign_in: SignIn, request: Request) -> None:
    """A page of another site can have a browser send the cookie, and cannot know the token.

    Raises:
        ClientError: 403.
    """
    if not verify(request.header("x-csrf-token"), sign_in.csrf_token):
        raise ClientError(403, "refused: X-CSRF-Token is not that of this session")


def _cookie(request: Request) -> str:
    try:
        found = SimpleCookie(request.header("cookie")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _digest(cookie: str) -> bytes:
    return sha256(cookie.encode("utf-8", "surrogatepass")).digest()

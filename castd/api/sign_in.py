"""Signing in from a browser: credentials once, then a cookie."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from castd.access.sign_ins import COOKIE
from castd.api import shapes
from castd.api.describe import rfc3339
from castd.api.operation import answer, describes
from castd.errors import ClientError
from castd.http.messages import Response

if TYPE_CHECKING:
    from castd.access.sign_ins import SignIn, SignIns
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call

log = logging.getLogger(__name__)


class SignInDesk:
    """Its handlers."""

    def __init__(self, sign_ins: SignIns) -> None:
        self._sign_ins = sign_ins

    @describes("Sign a browser in, with the admin's password or a token", answer=shapes.SignedIn, status=201)
    async def begin(self, exchange: Exchange, call: Call) -> Response:
        """POST /api/v1/admin/session, with Authorization."""
        request = exchange.request
        if not request.header("authorization"):
            raise ClientError(403, "signed in already")
        cookie, sign_in = self._sign_ins.begin(call.grant, call.grant.expires)
        log.info("%s signed in from %s", call.user, request.address)
        made = answer(_signed_in(sign_in), 201)
        return Response(201, made.body, made.content_type, (*made.headers, _cookie(request, cookie)))

    @describes("Who is signed in with this browser", answer=shapes.Session)
    async def show(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/session: for everybody, since a page asks before it knows."""
        sign_in = self._sign_ins.find(exchange.request)
        return answer(shapes.Session(session=_signed_in(sign_in) if sign_in else None))

    @describes("Sign out", answer=shapes.Done)
    async def end(self, exchange: Exchange, call: Call) -> Response:
        """DELETE /api/v1/admin/session."""
        self._sign_ins.end(exchange.request)
        log.info("%s signed out", call.user)
        made = answer(shapes.Done())
        return Response(200, made.body, made.content_type, (*made.headers, _cookie(exchange.request, "")))


def _signed_in(sign_in: SignIn) -> shapes.SignedIn:
    grant = sign_in.grant
    return shapes.SignedIn(
        user=grant.user,
        csrf_token=sign_in.csrf_token,
        scopes=list(grant.scopes),
        mounts=list(grant.mounts or ()),
        expires=rfc3339(sign_in.expires),
    )


def _cookie(request: Request, value: str) -> tuple[str, str]:
    """RFC 6265bis §4.1; an empty value takes it away. Gone with the browser's window."""
    end = "" if value else "; Max-Age=0"
    secure = "; Secure" if request.scheme == "https" else ""
    return "Set-Cookie", f"{COOKIE}={value}; Path={request.prefix or ''}/api/; HttpOnly; SameSite=Strict{secure}{end}"

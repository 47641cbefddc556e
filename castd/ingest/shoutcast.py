"""SHOUTcast 1's encoders: BUTT, liquidsoap, libshout and every DJ program of two decades speak it.

The stream itself is a password line, fields and audio (castd.wire.shoutcast). Titles come by `/admin.cgi`, on the same
port or the one before it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from castd.access.authorise import CHALLENGE
from castd.config import mount_name
from castd.errors import ClientError
from castd.http.messages import Response, decode_text
from castd.ingest.icecast import describe
from castd.wire import shoutcast
from castd.wire.text import one_line

if TYPE_CHECKING:
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.ingest.intake import Intake
    from castd.mount.registry import Registry
    from castd.wire.shoutcast import Login

log = logging.getLogger(__name__)

_DONE = (
    b"<html><head><title>Admin request successful</title></head><body><p>Metadata update successful</p></body></html>"
)


class Shoutcast:
    """The handlers, and how their requests say which mount they mean."""

    def __init__(self, current: Current, registry: Registry, intake: Intake) -> None:
        self._current = current
        self._registry = registry
        self._intake = intake

    def password(self, request: Request) -> Login:
        """Of an encoder, or of a title.

        Raises:
            ClientError: 401: a title without any (Icecast says 400, capture C62).
        """
        text = request.password or request.argument("pass")
        if not text:
            raise ClientError(401, "missing pass parameter", CHALLENGE)
        return shoutcast.login(text)

    def mount(self, request: Request) -> str:
        """The mount an encoder feeds, or a title is for: by the password, the argument `sid`, or the port it came to.

        Raises:
            ClientError: 400: there is none of that stream id, or none is configured; 403: nothing can be called so.
        """
        login = self.password(request)
        if login.mount:
            try:
                return mount_name(login.mount)
            except ValueError as error:
                raise ClientError(403, f"the name of the mount {error}") from None
        sid = request.argument("sid") or ""
        stream_id = login.stream_id or (int(sid) if sid.isascii() and sid.isdigit() and len(sid) < 5 else 0)
        config = self._current.config
        port = int(request.local.rpartition(":")[2] or 0)
        by_port = next((each.shoutcast_mount for each in config.listen if each.port in (port, port + 1)), "")
        name = config.shoutcast.mount(stream_id) if stream_id or not by_port else by_port
        if not name:
            raise ClientError(400, "no mount is configured for that stream id")
        return name

    async def push(self, exchange: Exchange, call: Call) -> None:
        """Take an encoder's stream; its password was right.

        Raises:
            ClientError: see Intake.feed; 431: too many fields. After WELCOME nobody can be told.
        """
        limits, request = self._current.config.limits, exchange.request
        await self._intake.take(call.mount, self._intake.priority(call.user), request.address)  # before it is welcome
        await exchange.send_raw(shoutcast.WELCOME)
        received = b""
        with trio.fail_after(limits.header_timeout_seconds):
            while not (split := shoutcast.split_fields(
                received, max_bytes=limits.header_bytes, max_fields=limits.header_count
            )):  # fmt: skip
                data = await exchange.body.receive()
                if not data:
                    return
                received += data
        fields, rest = split
        request = request.with_headers(fields)
        body = exchange.body
        body.give_back(rest)
        await self._intake.feed(
            exchange, call, describe(request.header), body.receive,
            protocol="SHOUTcast", greet=trio.lowlevel.checkpoint, body=body,
        )  # fmt: skip

    async def control(self, exchange: Exchange, call: Call) -> Response:
        """GET /admin.cgi?pass=...&mode=updinfo&song=...&url=... (captures C58-C63).

        Raises:
            ClientError: 400: another mode, or no source there.
        """
        request = exchange.request
        if request.argument("mode") != "updinfo":
            raise ClientError(400, "unrecognised command")
        mount = self._registry.get(call.mount)
        if mount is None or mount.source is None:
            raise ClientError(400, "Source does not exist")
        charset = request.argument("charset") or mount.settings.charset
        song, url = (one_line(decode_text(request.query.get(name, b""), charset)) for name in ("song", "url"))
        if "song" in request.query:
            mount.set_title(song, url=url)
            log.info("%s: title set by %s from %s: %s", mount.name, call.user, request.address, song)
        return Response(200, _DONE, "text/html; charset=utf-8")

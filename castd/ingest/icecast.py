"""Sources that speak Icecast's HTTP: PUT, and SOURCE as it was before there was PUT.

What each real encoder sends and waits for is in the recorded exchanges (docs/clients.md); the reply to all of them is
Icecast's, at once, before any audio: `HTTP/1.0 200 OK` (capture A04).
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

import trio

from castd.errors import ClientError
from castd.http.connection import CONTINUE
from castd.http.messages import Response
from castd.ingest.batches import Batches, begins_at, is_batch
from castd.mount.party import Description
from castd.wire import content_types
from castd.wire.icy import MAX_METAINT
from castd.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.routes import Call
    from castd.ingest.intake import Intake

MIN_METAINT = 256
"""Smallest interval between a source's own ICY blocks: with a title at each byte they would outweigh the audio."""

_WELCOME = b"HTTP/1.0 200 OK\r\n\r\n"

_REFUSED_TYPES = ("text/", "image/", "multipart/", "application/xhtml", "application/xml", "application/javascript",
                  "application/pdf")  # fmt: skip
"""Types a browser would run or render when it opens the mount."""

_TYPE = re.compile(r"[!#$&^_.+a-z0-9-]{1,127}/[!#$&^_.+a-z0-9-]{1,127}")  # RFC 6838 §4.2


class Icecast:
    """The handler of PUT and SOURCE."""

    def __init__(self, current: Current, intake: Intake) -> None:
        self._current = current
        self._intake = intake
        self._batches: dict[str, Batches] = {}

    async def push(self, exchange: Exchange, call: Call) -> Response | None:
        """Take a source's stream until it ends, or one batch of it; it is authorised already.

        Raises:
            ClientError: see Intake.feed and Batches.add; 415: a type that is not audio; 400: a broken header.
        """
        if is_batch(exchange):
            return await self._push_batch(exchange, call)
        request = exchange.request
        greeting = (CONTINUE if request.expects_continue else b"") + _WELCOME
        await self._intake.feed(
            exchange,
            call,
            describe(request.header),
            exchange.body.receive,
            protocol=request.method,
            greet=partial(exchange.send_raw, greeting),
            metaint=read_metaint(request.header("icy-metaint")),
            body=exchange.body,
        )
        return None

    async def _push_batch(self, exchange: Exchange, call: Call) -> Response | None:
        request, start = exchange.request, begins_at(exchange.request)
        if start and (batches := self._batches.get(call.mount)):
            await batches.add(exchange)
            return Response(200)
        batches = Batches(self._current, start)

        async def feed() -> None:
            """The first batch's connection carries the session; the encoder may close it."""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                await self._intake.feed(
                    exchange, call, describe(request.header), batches.receive, protocol=request.method, greet=welcome
                )
                nursery.cancel_scope.cancel()

        async def welcome() -> None:
            self._batches[call.mount] = batches
            exchange.answered, exchange.status = True, 200
            mine.set()

        async def serve() -> None:
            await mine.wait()
            with suppress(ClientError, trio.BrokenResourceError):  # the source may go on over another connection
                await batches.serve(exchange)

        mine = trio.Event()
        try:
            await feed()
        finally:
            batches.close()
            if self._batches.get(call.mount) is batches:
                del self._batches[call.mount]
        return None


def describe(header: Callable[[str], str]) -> Description:
    """What a source's headers say of its stream, by any of the names encoders use (quirks 22-24).

    Args:
        header: gives the value of one, "" where there is none.

    Raises:
        ClientError: 415: a type a browser would run instead of play.
    """

    def first(*names: str) -> str:
        values = (one_line(header(name)) for name in names)
        return next((value for value in values if value), "")

    content_type = one_line(header("content-type")).partition(";")[0].strip().lower()
    if content_type and (content_type.startswith(_REFUSED_TYPES) or not _TYPE.fullmatch(content_type)):
        raise ClientError(415, f"{content_type[:100]!r} is not a type of audio or video")
    audio_info = one_line(header("ice-audio-info"))
    pairs = (pair.partition("=") for pair in audio_info.split(";"))
    return Description(
        content_type=content_type or content_types.MPEG[0],  # as Icecast takes it (quirk 24); the bytes will tell
        name=first("ice-name", "icy-name", "x-audiocast-name"),
        description=first("ice-description", "icy-description", "x-audiocast-description"),
        genre=first("ice-genre", "icy-genre", "x-audiocast-genre"),
        url=first("ice-url", "icy-url", "x-audiocast-url"),
        public=first("ice-public", "icy-pub", "x-audiocast-public", "icy-public").lower() in ("1", "yes", "true", "on"),
        bitrate=first("ice-bitrate", "icy-br", "x-audiocast-bitrate"),
        audio_info=tuple((name.strip(), one_line(unquote(value.strip()))) for name, _, value in pairs if name.strip()),
        audio_info_text=audio_info,
    )


def read_metaint(text: str) -> int:
    """Bytes between the ICY blocks the source itself sends (quirk 55), 0 if it sends none."""
    if not text:
        return 0
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 8 else 0
    if not MIN_METAINT <= number <= MAX_METAINT:
        raise ClientError(400, f"icy-metaint must be a number of bytes from {MIN_METAINT} to {MAX_METAINT}")
    return number

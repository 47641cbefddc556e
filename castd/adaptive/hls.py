"""HLS: the playlists, and low latency where it makes sense (draft-pantos-hls-rfc8216bis, "bis").

/live/hls/index.m3u8                        the multivariant playlist: sends a player on with a token of its own
/live/hls/audio.m3u8?session=TOKEN          the media playlist; who asks for it listens
/live/hls/SESSION-NUMBER.m4s                a segment, .ts for MPEG-TS; castd.adaptive.outputs answers with files
/live/hls/SESSION-NUMBER.PART.m4s           a part of one
/live/hls/SESSION-PERIOD.mp4                an initialisation segment
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from castd.adaptive import playlists
from castd.adaptive.outputs import NOT_KEPT, SHARED, Outputs, shared
from castd.adaptive.sessions import TOKEN
from castd.errors import ClientError
from castd.http.messages import ANY_ORIGIN, Response, quote_mount
from castd.wire import m3u8

if TYPE_CHECKING:
    from castd.adaptive.groups import Groups
    from castd.adaptive.sessions import Sessions
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.segments.segmenter import Segmenter

PROTOCOL = "hls"

FIRST = "index.m3u8"


class Hls:
    """The handlers of playlists."""

    def __init__(self, outputs: Outputs, sessions: Sessions, groups: Groups) -> None:
        self._outputs = outputs
        self._sessions = sessions
        self._groups = groups

    async def multivariant(self, exchange: Exchange, call: Call) -> Response:
        """GET and HEAD of the first playlist.

        Raises:
            ClientError: see castd.adaptive.outputs; 503: there is no room.
        """
        request = exchange.request
        if self._outputs.is_group(call.mount):
            return await self._groups.multivariant(exchange, call)
        mount = await self._outputs.find(exchange, call)
        segmenter = await self._outputs.segmenter(mount)
        if request.method == "HEAD":
            return shared(request, self._multivariant(segmenter, ""), m3u8.CONTENT_TYPE, NOT_KEPT)
        if SHARED in request.query and self._outputs.for_everybody(mount):
            cache = self._outputs.max_age(mount, segmenter.target / 2)
            return shared(request, self._multivariant(segmenter, ""), m3u8.CONTENT_TYPE, cache)
        session = self._sessions.welcome(request, mount, call.grant, PROTOCOL)
        if isinstance(session, Response):
            return session
        if session.mount is not mount:
            return redirect(f"{request.prefix}{quote_mount(session.mount.name)}/hls/{FIRST}")
        text = self._multivariant(segmenter, f"?{TOKEN}={session.token}")
        return shared(request, text, m3u8.CONTENT_TYPE, NOT_KEPT)

    def _multivariant(self, segmenter: Segmenter, query: str) -> playlists.Text:
        return playlists.text_of(playlists.multivariant(segmenter, query))

    async def media(self, exchange: Exchange, call: Call) -> Response:
        """GET and HEAD of the media playlist, which a player may have wait for a segment or part.

        Raises:
            ClientError: see castd.adaptive.outputs; 400: what it waits for does not come soon, or makes no sense; 503:
                it did not come, or there is no room.
        """
        request = exchange.request
        if self._outputs.is_group(call.mount):
            query = f"?{request.raw_query}" if request.raw_query else ""
            return redirect(f"{request.prefix}{quote_mount(call.mount)}/hls/{FIRST}{query}")
        mount = await self._outputs.find(exchange, call)
        self._groups.follow(request, mount)
        if TOKEN not in request.query and self._sessions.guarded(mount):
            query = f"?{request.raw_query}" if request.raw_query else ""
            return redirect(f"{request.prefix}{quote_mount(mount.name)}/hls/{FIRST}{query}")
        number, part = _directives(request)
        segmenter = await self._outputs.segmenter(mount)
        session = None
        if request.method == "GET":
            session = self._sessions.attend(request, mount, call.grant, PROTOCOL)
        if number is not None:
            playlists.require_near(segmenter, number, part)
            with trio.move_on_after(playlists.BLOCK_TARGETS * segmenter.target) as patience:
                while not playlists.has(segmenter, number, part) and not segmenter.closed:
                    await segmenter.changed.wait(playlists.place(number, part))
            if patience.cancelled_caught or not segmenter.ready:
                raise ClientError(503, "what is waited for did not come", (("Retry-After", "1"), ANY_ORIGIN))
        skip = request.argument("_HLS_skip") in ("YES", "v2")
        text = self._outputs.kept.get(segmenter, skip, lambda: self._media(segmenter, skip=skip))
        cache = self._outputs.max_age(mount, 1 if segmenter.low_latency else segmenter.target / 2)
        response = shared(request, text, m3u8.CONTENT_TYPE, cache)
        if session is not None:
            session.position = segmenter.listed[-1].position
            session.bytes_sent += len(response.body)
        return response

    def _media(self, segmenter: Segmenter, *, skip: bool) -> playlists.Text:
        return playlists.media_text(segmenter, skip=skip, reports=self._groups.reports(segmenter))

    async def file(self, exchange: Exchange, call: Call) -> Response:
        """GET and HEAD of a file."""
        return await self._outputs.file(exchange, call, PROTOCOL)


def redirect(location: str) -> Response:
    """Another place to go to."""
    return Response(302, f"see {location}\n".encode(), headers=(("Location", location), NOT_KEPT, ANY_ORIGIN))


def _directives(request: Request) -> tuple[int | None, int | None]:
    """What the playlist must have reached: a segment, or a part of one (bis §6.2.5.2).

    Raises:
        ClientError: 400.
    """
    number, part = _number(request, "_HLS_msn"), _number(request, "_HLS_part")
    if part is not None and number is None:
        raise ClientError(400, "_HLS_part without _HLS_msn", (ANY_ORIGIN,))
    return number, part


def _number(request: Request, name: str) -> int | None:
    text = request.argument(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ClientError(400, f"{name} must be a number", (ANY_ORIGIN,))
    return int(text)

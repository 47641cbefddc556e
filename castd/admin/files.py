"""Static files from the operator's web root, and playlists made for those that play.

They are looked up where a listener's GET finds no mount: a live mount goes before a file of the same path, which may
then stand in for it while it is off the air.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import trio

from castd.admin.web_root import OpenFile, open_below
from castd.errors import ClientError
from castd.http import conditions
from castd.http.file_content import FileContent, disk
from castd.http.links import public_url
from castd.http.media_types import media_type, plays
from castd.http.messages import ANY_ORIGIN, NO_CACHE, Response, quote_mount
from castd.http.ranges import Part, requested_part
from castd.wire import playlist

if TYPE_CHECKING:
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.mount.registry import Totals

log = logging.getLogger(__name__)

_FIELDS = (
    ("Accept-Ranges", "bytes"),
    ("Cache-Control", "no-cache"),  # kept, but asked about each time: a 304 costs next to nothing
    ANY_ORIGIN,
    ("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag"),
)


class Files:
    """The handler of GET and HEAD on a path that is no mount."""

    def __init__(self, current: Current, totals: Totals) -> None:
        self._current = current
        self._totals = totals

    async def serve(self, exchange: Exchange, call: Call) -> Response:
        """Answer with a file, a part of it, or a playlist of it.

        Args:
            call: `mount` is the decoded path.

        Raises:
            ClientError: 404: nothing there that may be served; 412; 416; 503: the disk failed, or no descriptors left.
        """
        path = call.mount
        if file := await self._open(path):
            self._totals.files += 1
            with ExitStack() as undo:
                undo.callback(os.close, file.descriptor)
                response = self._answer(exchange.request, path, file)
                if response.content:
                    undo.pop_all()  # it closes the file itself
                return response
        base, dot, kind = path.rpartition(".")
        form = playlist.FORMATS.get(dot + kind.lower())
        if form and plays(media_type(base)) and (file := await self._open(base)):
            os.close(file.descriptor)
            return self._playlist(exchange.request, base, form)
        raise ClientError(404, "The file you requested could not be found")

    async def _open(self, path: str) -> OpenFile | None:
        root = self._current.config.files.root
        if not root:
            return None
        try:
            return await trio.to_thread.run_sync(open_below, root, path, limiter=disk)
        except OSError as error:
            log.warning("%s cannot be opened: %s", path, error.strerror)
            raise ClientError(503, "the file cannot be read now", (("Retry-After", "10"),)) from None

    def _answer(self, request: Request, path: str, file: OpenFile) -> Response:
        validators = conditions.Validators(f'"{file.modified_ns:x}-{file.size:x}"', file.modified_ns // 10**9)
        fields = (*validators.fields, *_FIELDS)
        match conditions.outcome(request, validators):
            case conditions.NOT_MODIFIED:
                return Response(304, headers=fields)
            case conditions.PRECONDITION_FAILED:
                raise ClientError(412, "the file has changed")
        part = None
        if request.method == "GET" and conditions.part_is_of_this(request, validators, time.time()):
            part = requested_part(request.header("range"), file.size)
        if part:
            fields = (*fields, ("Content-Range", part.content_range))
        content = FileContent(
            file.descriptor, part or Part(0, file.size, file.size), self._current.config.files.rate_limit_bytes
        )
        return Response(206 if part else 200, b"", media_type(path), fields, content)

    def _playlist(self, request: Request, path: str, form: playlist.Format) -> Response:
        url = public_url(self._current.config, request) + quote_mount(path)
        body = form.write([playlist.Track(url, PurePosixPath(path).stem)])
        return Response(200, body, form.content_type, (NO_CACHE, ANY_ORIGIN))

"""The files of web/, and the answer to whoever asks whether the server lives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from castd.config import share
from castd.errors import ClientError
from castd.http.messages import Response

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.routes import Call

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}

_PAGE_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'self'; media-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'self'",
    ),
    ("Referrer-Policy", "no-referrer"),
)


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str
    etag: str


class Pages:
    """Serves web/ from memory: read once at the start, so no request ever names a file on disk."""

    def __init__(self) -> None:
        self._files = {
            path.name: _File(body, TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:20]}"')
            for path in share("web").iterdir()
            if path.suffix in TYPES and (body := path.read_bytes()) is not None
        }

    async def index(self, exchange: Exchange, call: Call) -> Response:
        """GET /."""
        return self._serve("index.html", exchange)

    async def static(self, exchange: Exchange, call: Call) -> Response:
        """GET /static/{file}."""
        return self._serve(call.parameters["file"], exchange)

    async def favicon(self, exchange: Exchange, call: Call) -> Response:
        """GET /favicon.ico, which browsers ask for unprompted."""
        return self._serve("favicon.svg", exchange)

    async def health(self, exchange: Exchange, call: Call) -> Response:
        """GET /healthz."""
        return Response(200, b"ok\n", headers=(("Cache-Control", "no-store"),))

    def _serve(self, name: str, exchange: Exchange) -> Response:
        file = self._files.get(name)
        if file is None:
            raise ClientError(404, "The file you requested could not be found")
        headers = (("ETag", file.etag), ("Cache-Control", "no-cache"), *_PAGE_HEADERS)
        if exchange.request.header("if-none-match") == file.etag:
            return Response(304, b"", file.content_type, headers)
        return Response(200, file.body, file.content_type, headers)

"""The files of web/ and web/vendor/, read once at the start, so that no request ever names a file on disk."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from string import Template

from castd.config import share
from castd.errors import ClientError
from castd.http.conditions import OK, Validators, outcome, takes_gzip
from castd.http.messages import Request, Response

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}

POLICY = (
    "default-src 'self'; media-src 'self'{media}; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors {framed_by}"
)
"""Content-Security-Policy Level 3: nothing from elsewhere, no script or style in the page itself."""

MADE_HERE = " blob:"
"""Media that a page's own script puts together (Media Source Extensions), as hls.js does; workers it needs none for."""

KEPT = ("Cache-Control", "public, max-age=31536000, immutable")
"""Of a file whose URL names its version."""

ASKED = ("Cache-Control", "no-cache")
"""Of all others: a browser asks each time whether it has the newest."""

VERSION = "v"
"""The argument of such URLs: another version has another one."""

COMPRESSED = (".html", ".css", ".js", ".svg", ".txt")


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    Attributes:
        packed: the same by gzip; b"" for what that makes no smaller.
    """

    body: bytes
    content_type: str
    packed: bytes

    @property
    def version(self) -> str:
        """Stands for exactly these bytes."""
        return hashlib.sha256(self.body).hexdigest()[:12]


class Files:
    """All of them, by name."""

    def __init__(self) -> None:
        self._files = {
            path.name: make(path.read_bytes(), TYPES[path.suffix], compress=path.suffix in COMPRESSED)
            for folder in (share("web"), share("web") / "vendor")
            for path in folder.iterdir()
            if path.suffix in TYPES
        }

    def template(self, name: str) -> Template:
        """A page with places for what is known when it is asked for."""
        return Template(self._files[name].body.decode())

    def serve(self, name: str, request: Request) -> Response:
        """Answer with a file.

        Raises:
            ClientError: 404.
        """
        file = self._files.get(name)
        if file is None:
            raise ClientError(404, "The file you requested could not be found")
        # castd-player.js is for other sites, too
        kept = request.argument(VERSION) == file.version
        return respond(file, request, headers=(("Access-Control-Allow-Origin", "*"),), cache=KEPT if kept else ASKED)

    def url(self, name: str) -> str:
        """Where a file is that browsers may keep for ever."""
        return f"/static/{name}?{VERSION}={self._files[name].version}"


def make(body: bytes, content_type: str, *, compress: bool = True) -> File:
    """A file of what was made just now."""
    packed = gzip.compress(body, 6, mtime=0) if compress else b""
    return File(body, content_type, packed if len(packed) < len(body) else b"")


def respond(
    file: File,
    request: Request,
    status: int = 200,
    framed_by: str = "'self'",
    headers: tuple[tuple[str, str], ...] = (),
    *,
    media: str = "",
    cache: tuple[str, str] = ASKED,
) -> Response:
    """Answer with a file, packed for those who can unpack it, or with 304 for those who have it.

    Args:
        framed_by: the sites that may have it in a frame, as frame-ancestors of Content-Security-Policy.
        media: MADE_HERE for a page whose script puts media together.
        cache: ASKED or KEPT.
    """
    packed = bool(file.packed) and takes_gzip(request)
    body = file.packed if packed else file.body
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    headers = (
        ("ETag", etag),
        cache,
        ("Vary", "Accept-Encoding"),
        ("Content-Security-Policy", POLICY.format(framed_by=framed_by, media=media)),
        ("Referrer-Policy", "no-referrer"),
        *headers,
    )
    if status == 200 and request.header("if-none-match") and outcome(request, Validators(etag, 0)) != OK:
        return Response(304, b"", file.content_type, headers)
    if packed:
        headers = (*headers, ("Content-Encoding", "gzip"))
    return Response(status, body, file.content_type, headers)

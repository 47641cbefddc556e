"""A finished span of what was on, as a file: `/live/clip?start=&end=`, for operators and their programs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from castd.delivery.pace import entry_at
from castd.errors import ClientError
from castd.http.messages import NO_CACHE, Response

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry

PIECE_BYTES = 16 * 1024
"""One send; see castd.http.file_content."""

ENDINGS = {"audio/mpeg": "mp3", "audio/aac": "aac", "audio/aacp": "aac", "audio/ogg": "ogg", "video/webm": "webm"}
"""Of the names that files get, by the type of what is in them."""


class Clips:
    """The handler of clips."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def serve(self, exchange: Exchange, call: Call) -> Response:
        """GET /{mount}/clip?start=[&end=]: both as castd.delivery.pace.wall_time has moments; the end is now if it is
        left out, and exact to the entry, about a tenth of a second, or a second where it is long past.

        Raises:
            ClientError: 400: no start, no moments, or none between them; 404: no such mount, or not held any more.
        """
        mount, request = self._registry.get(call.mount), exchange.request
        if mount is None or mount.description is None:
            raise ClientError(404, "no such mount")
        start, end = request.argument("start"), request.argument("end")
        if start is None:
            raise ClientError(400, "start is missing: the moment at which the clip begins")
        first = entry_at(mount, start)
        stop = mount.ring.head if end is None else entry_at(mount, end).position
        if stop <= first.position:
            raise ClientError(400, "the end is not after the start")
        content_type = mount.description.content_type
        named = re.sub(r"[^A-Za-z0-9._-]+", "-", mount.name.strip("/")) or "clip"
        moment = datetime.fromtimestamp(first.wall, UTC).strftime("%Y%m%dT%H%M%SZ")
        filename = f"{named}-{moment}.{ENDINGS.get(content_type, 'bin')}"
        return Response(
            200,
            content_type=content_type or "application/octet-stream",
            headers=(NO_CACHE, ("Content-Disposition", f'attachment; filename="{filename}"')),
            content=Clip(mount, first.position, stop),
        )


class Clip:
    """See castd.http.messages.Content: what a decoder needs to begin, and the bytes of a mount from there on."""

    def __init__(self, mount: Mount, start: int, stop: int) -> None:
        head = mount.timeline.head_at(start)
        self._mount = mount
        self._head = head.data if head else b""
        self._at = start
        self._stop = stop
        self.size = len(self._head) + stop - start

    async def send(self, stream: trio.abc.SendStream, stall_seconds: float) -> None:
        """Send it all.

        Raises:
            trio.BrokenResourceError: the client is gone or stalled, or so slow that the rest is not held any more.
        """
        piece = self._head or self._next()
        while piece:
            with trio.move_on_after(stall_seconds) as patience:
                await stream.send_all(piece)
            if patience.cancelled_caught:
                raise trio.BrokenResourceError(f"the client took nothing for {stall_seconds:g} s")
            piece = self._next()

    def _next(self) -> bytes:
        ring, at = self._mount.ring, self._at
        if self._mount.closed or at < ring.tail:
            raise trio.BrokenResourceError("the rest of the clip is not held any more")
        self._at = min(at + PIECE_BYTES, self._stop)
        return ring.read(at, self._at)

    def close(self) -> None:
        """Nothing is held for it."""

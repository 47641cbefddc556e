"""The picture to what is on: out of the stream, or fetched from the address that came with the title."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from castd.api.describe import find_mount
from castd.api.operation import describes
from castd.errors import ClientError
from castd.http.conditions import OK, Validators, outcome
from castd.http.fetch import fetch
from castd.http.messages import ANY_ORIGIN, Response
from castd.http.post import NoAnswer
from castd.stats.snapshot import art_path
from castd.wire.picture import recognise

if TYPE_CHECKING:
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.wire.picture import Picture

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Pictures fetched at the same time, from anywhere."""

AGAIN_SECONDS = 60.0
"""A picture that could not be fetched is tried again after so long, if anybody asks."""

REMEMBERED = 1000
"""Failures remembered, at most."""


class Art:
    """Its handler. A picture is fetched when somebody asks for it, once for all who do."""

    def __init__(self, current: Current, registry: Registry) -> None:
        self._current = current
        self._registry = registry
        self._locks: dict[str, trio.Lock] = {}
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._failed: dict[str, tuple[float, str]] = {}

    @describes("The picture to a title", media_type="image/*", errors=(404, 502))
    async def show(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/mounts/{name}/art[?v=]: that of the title with this v; of the newest title without."""
        mount = find_mount(self._registry, call.mount)
        wanted = exchange.request.argument("v") or ""
        art = _find(mount, wanted)
        if not art:
            raise ClientError(404, "there is no picture to this title")
        picture = mount.pictures.find(art)
        if picture is None and art.startswith("http"):
            picture = await self._fetch(mount, art)
        if picture is None:
            raise ClientError(404, "this picture is not kept any more")
        etag = f'"{art_path(mount.name, art).rpartition("=")[2]}"'
        fresh = "public, max-age=86400, immutable" if wanted else "no-cache"
        headers = (
            ("ETag", etag),
            ("Cache-Control", fresh),
            # whatever a browser takes it for, nothing in it runs or loads anything
            ("Content-Security-Policy", "default-src 'none'; sandbox"),
            ANY_ORIGIN,
        )
        if exchange.request.header("if-none-match") and outcome(exchange.request, Validators(etag, 0)) != OK:
            return Response(304, b"", picture.content_type, headers)
        return Response(200, picture.data, picture.content_type, headers)

    async def _fetch(self, mount: Mount, url: str) -> Picture:
        """Raises ClientError: 502."""
        lock = self._locks.setdefault(url, trio.Lock())
        try:
            async with lock:
                if (known := mount.pictures.find(url)) is not None:
                    return known
                until, why = self._failed.get(url, (0.0, ""))
                if trio.current_time() < until:
                    raise ClientError(502, why)
                async with self._limiter:
                    return await self._get(mount, url)
        finally:
            if not lock.statistics().tasks_waiting:
                self._locks.pop(url, None)

    async def _get(self, mount: Mount, url: str) -> Picture:
        settings = self._current.config.art
        try:
            data = await fetch(url, settings.max_bytes, settings.timeout_seconds, private=settings.private_networks)
            picture = recognise(data)
            if picture is None:
                raise NoAnswer("it is no JPEG, PNG, GIF or WebP")
        except NoAnswer as error:
            why = f"the picture could not be fetched: {error}"
            log.warning("%s: %s (%s)", mount.name, why, url)
            if len(self._failed) >= REMEMBERED:
                del self._failed[next(iter(self._failed))]
            self._failed[url] = (trio.current_time() + AGAIN_SECONDS, why)
            raise ClientError(502, why) from None
        mount.pictures.put(url, picture)
        return picture


def _find(mount: Mount, key: str) -> str:
    """What a title of this mount has as its picture: the newest, or the one with this key in its address."""
    titles = [each for each in reversed(mount.timeline.recent_titles()) if each.art]
    if not key:
        newest = mount.timeline.title
        return newest.art if newest else ""
    return next((each.art for each in titles if art_path(mount.name, each.art).endswith(f"={key}")), "")

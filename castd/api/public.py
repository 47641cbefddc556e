"""What everybody may know: the server, its mounts, what is on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import unquote, urlsplit

import segno
from msgspec import Meta, Struct

from castd.api import shapes
from castd.api.describe import (
    describe_group,
    describe_links,
    describe_mount,
    describe_server,
    describe_title,
    find_mount,
    is_public,
    public_mounts,
)
from castd.api.operation import describes, public_answer, read_query
from castd.delivery.pace import oldest_heard
from castd.errors import ClientError
from castd.http.links import public_url
from castd.http.messages import ANY_ORIGIN, Response
from castd.stats.snapshot import mount_facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry

RECENT = 50
"""Titles in one answer, at most."""

EMBED_WIDTH, EMBED_HEIGHT = 480, 180


class RecentQuery(Struct, kw_only=True):
    """How many."""

    limit: Annotated[int, Meta(ge=1, le=RECENT)] = 20


class HearingQuery(Struct, kw_only=True):
    """Whose."""

    player: Annotated[str, Meta(min_length=8, max_length=64, description="what its request for the stream said, too")]


class EmbedQuery(Struct, kw_only=True):
    """Of oEmbed."""

    url: Annotated[str, Meta(min_length=1, max_length=2000, description="of a mount's or group's page")]
    format: Literal["json"] = "json"
    maxwidth: Annotated[int, Meta(ge=1)] = EMBED_WIDTH
    maxheight: Annotated[int, Meta(ge=1)] = EMBED_HEIGHT


class Public:
    """Handlers of /api/v1/.

    Args:
        hearing: finds where the stream of a player begins; see castd.delivery.icecast.
        dates: what a mount's playlist says of dates; see castd.segments.segmenters.
    """

    def __init__(
        self,
        current: Current,
        registry: Registry,
        hearing: Callable[[str], tuple[Mount, int, float] | None],
        dates: Callable[[Mount], list[tuple[float, float]]],
    ) -> None:
        self._current = current
        self._registry = registry
        self._hearing = hearing
        self._dates = dates

    @describes("The server and its public mounts", answer=shapes.Status)
    async def status(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/status."""
        found, base = public_mounts(self._registry), self._base(exchange)
        value = shapes.Status(
            server=describe_server(self._current.config, self._registry),
            listeners=sum(len(mount.listeners) for mount in found),
            mounts=[describe_mount(mount, base, self._current.config) for mount in found],
        )
        return public_answer(exchange.request, value)

    @describes("The server", answer=shapes.Server)
    async def server(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/server."""
        return public_answer(exchange.request, describe_server(self._current.config, self._registry))

    @describes("The public mounts", answer=shapes.Mounts)
    async def mounts(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/mounts."""
        base = self._base(exchange)
        found = [describe_mount(mount, base, self._current.config) for mount in public_mounts(self._registry)]
        return public_answer(exchange.request, shapes.Mounts(mounts=found))

    @describes("One mount, also a hidden one for those who know its name", answer=shapes.Mount, errors=(404,))
    async def mount(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/mounts/{name}."""
        mount = find_mount(self._registry, call.mount)
        return public_answer(exchange.request, describe_mount(mount, self._base(exchange), self._current.config))

    @describes("The groups of mounts with one programme in several qualities", answer=shapes.Groups)
    async def groups(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/groups."""
        base, config = self._base(exchange), self._current.config
        found = [describe_group(name, self._registry, base, config) for name in sorted(config.groups)]
        return public_answer(exchange.request, shapes.Groups(groups=found))

    @describes("One group", answer=shapes.Group, errors=(404,))
    async def group(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/groups/{name}."""
        config = self._current.config
        if call.mount not in config.groups:
            raise ClientError(404, "no such group")
        value = describe_group(call.mount, self._registry, self._base(exchange), config)
        return public_answer(exchange.request, value)

    @describes("What was on, the newest first", answer=shapes.Titles, query=RecentQuery, errors=(400, 404))
    async def titles(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/mounts/{name}/titles[?limit=]."""
        mount = find_mount(self._registry, call.mount)
        limit = read_query(exchange.request, RecentQuery).limit
        recent: list[shapes.Title] = []
        for title in mount.timeline.recent_titles():
            # an encoder may repeat a title every few seconds: it began when it was first told
            if title.text and not (recent and recent[-1].text == title.text):
                recent.append(describe_title(mount, title))
        return public_answer(exchange.request, shapes.Titles(mount=mount.name, titles=recent[: -limit - 1 : -1]))

    @describes("How far back one may go", answer=shapes.Window, errors=(404,))
    async def window(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/mounts/{name}/window."""
        mount = find_mount(self._registry, call.mount)
        oldest = oldest_heard(mount)
        value = shapes.Window(
            mount=mount.name,
            oldest_media_seconds=None if oldest is None else round(oldest, 3),
            live_media_seconds=round(mount.timeline.end, 3),
            dates=[
                shapes.Dated(media_seconds=round(media, 3), date=round(date, 3)) for media, date in self._dates(mount)
            ],
        )
        return public_answer(exchange.request, value)

    @describes("What a player hears", answer=shapes.Hearing, query=HearingQuery, errors=(400, 404))
    async def hearing(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/mounts/{name}/hearing?player=: asked by the player that asked for the stream with the same."""
        found = self._hearing(read_query(exchange.request, HearingQuery).player)
        if found is None or found[0].name != call.mount:
            raise ClientError(404, "no such player listens to this mount")
        mount, position, time = found
        value = shapes.Hearing(
            mount=mount.name,
            media_seconds=round(time, 3),
            position=position,
            live_media_seconds=round(mount.timeline.end, 3),
        )
        return public_answer(exchange.request, value)

    @describes("A QR code with the address of a mount's or group's page", media_type="image/svg+xml", errors=(404,))
    async def qr(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/mounts/{name}/qr."""
        name, _ = self._shown(call.mount)
        code = segno.make(self._base(exchange) + describe_links(name).page, micro=False)
        # black on white whatever the page looks like: many a camera reads nothing else
        svg = code.svg_inline(scale=4, border=4, light="#fff", omitsize=True, svgclass=None, lineclass=None)
        svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        return Response(200, svg.encode(), "image/svg+xml", (("Cache-Control", "max-age=3600"), ANY_ORIGIN))

    @describes("How to embed a mount's page (oEmbed)", answer=shapes.Embedding, query=EmbedQuery, errors=(404,))
    async def oembed(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/oembed?url=."""
        query = read_query(exchange.request, EmbedQuery)
        try:
            head, _, segment = urlsplit(query.url).path.rpartition("/")
        except ValueError:
            raise ClientError(400, "url is none") from None
        if not head.endswith("/p"):
            raise ClientError(404, "not the page of a mount")
        name, called = self._shown(f"/{unquote(segment)}")
        base = self._base(exchange)
        width, height = min(query.maxwidth, EMBED_WIDTH), min(query.maxheight, EMBED_HEIGHT)
        source = base + describe_links(name).embed.replace("&", "&amp;")
        return public_answer(
            exchange.request,
            shapes.Embedding(
                version="1.0",
                type="rich",
                title=called,
                provider_name=self._current.config.server.hostname,
                provider_url=f"{base}/",
                html=f'<iframe src="{source}" width="{width}" height="{height}" style="border:0" '
                'allow="autoplay" title="Radio player"></iframe>',
                width=width,
                height=height,
                cache_age=3600,
            ),
        )

    def _shown(self, name: str) -> tuple[str, str]:
        """What has a page under a name: its name in full, and what people call it.

        Raises:
            ClientError: 404.
        """
        group = self._current.config.groups.get(name)
        members = [each for each in map(self._registry.get, group.mounts if group else ()) if each and is_public(each)]
        if group is None or members:
            mount = members[0] if members else find_mount(self._registry, name)
            return (name if group else mount.name), mount_facts(mount).name or mount.name
        return name, name.removeprefix("/")

    def _base(self, exchange: Exchange) -> str:
        return public_url(self._current.config, exchange.request)

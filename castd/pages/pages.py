"""The pages themselves: made here so far that they say what there is without any script, and then kept live by one."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from castd.api import shapes
from castd.api.describe import describe_group, describe_links, describe_mount, describe_server, public_mounts
from castd.api.operation import encode
from castd.http.links import public_url
from castd.http.messages import Response
from castd.pages.files import MADE_HERE, TYPES, Files, make, respond

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.mount.registry import Registry

HTML = TYPES[".html"]

LIBRARY = "hls.min.js"
"""Plays HLS; see web/vendor."""


class Pages:
    """The handlers of pages and files."""

    def __init__(self, current: Current, registry: Registry) -> None:
        self._current = current
        self._registry = registry
        self._files = Files()
        self._station = self._files.template("index.html")
        self._mount = self._files.template("mount.html")

    async def index(self, exchange: Exchange, call: Call) -> Response:
        """GET /: the station."""
        request = exchange.request
        base = public_url(self._current.config, request)
        config = self._current.config
        mounts = [describe_mount(each, base, config) for each in public_mounts(self._registry)]
        status = shapes.Status(
            server=describe_server(config, self._registry),
            listeners=sum(each.listeners for each in mounts),
            mounts=mounts,
        )
        groups = {name: group.mounts for name, group in config.groups.items()}
        plain = "\n".join(_plain(each) for each in _programmes(mounts, groups))
        data = _data({"server": status.server, "mounts": status.mounts, "groups": groups})
        return self._render(self._station.substitute(data=data, mounts=plain), request)

    async def of_mount(self, exchange: Exchange, call: Call) -> Response:
        """GET /p/{name}, with ?embed=1 for an iframe: one mount, or the mounts of a group, on the air or not."""
        request, config = exchange.request, self._current.config
        name, base = call.mount, public_url(config, request)
        first, group = self._group(name, base)
        mount = self._registry.get(first)
        shown = describe_mount(mount, base, config) if mount is not None and mount.description is not None else None
        embedded = request.argument("embed") == "1"
        facts = _facts(name, shown, config.mount(first).name)
        links = shown.links if shown and name == first else describe_links(name)
        choice = group if group is not None and len(group.mounts) > 1 else None
        adaptive = choice is not None and choice.links.hls is not None
        data = {
            "mount": first,
            "now": shown,
            "links": links,
            "programme": group.name if group is not None else None,
            "group": choice,
            "script": self._files.url(LIBRARY) if adaptive else None,
        }
        text = self._mount.substitute(
            data=_data(data),
            name=escape(facts["name"]),
            description=escape(facts["description"]),
            heading=escape(facts["heading"]),
            page=escape(base + links.page),
            image=escape(base + (facts["art"] or "/static/card.png")),
            embed=escape(base + links.embed),
            oembed=escape(f"{base}/api/v1/oembed?url={quote(base + links.page, safe='')}"),
            stream=escape(links.stream),
            m3u=escape(links.m3u),
            pls=escape(links.pls),
            body="embed" if embedded else "page",
        )
        here = shown is not None or name in config.mounts or name in config.groups
        media = MADE_HERE if adaptive else ""
        return self._render(text, request, 200 if here else 404, "*" if embedded else "'self'", media)

    async def admin(self, exchange: Exchange, call: Call) -> Response:
        """GET /admin/: the operators' desk, which asks who is there itself."""
        return self._files.serve("admin.html", exchange.request)

    async def to_admin(self, exchange: Exchange, call: Call) -> Response:
        """GET /admin."""
        return Response(301, headers=(("Location", f"{exchange.request.prefix}/admin/"),))

    async def api(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/: the API, for people."""
        return self._files.serve("api.html", exchange.request)

    async def static(self, exchange: Exchange, call: Call) -> Response:
        """GET /static/{file}."""
        return self._files.serve(call.parameters["file"], exchange.request)

    async def favicon(self, exchange: Exchange, call: Call) -> Response:
        """GET /favicon.ico, which browsers ask for unprompted."""
        return self._files.serve("favicon.svg", exchange.request)

    async def health(self, exchange: Exchange, call: Call) -> Response:
        """GET /healthz."""
        return Response(200, b"ok\n", headers=(("Cache-Control", "no-store"),))

    def _group(self, name: str, base: str) -> tuple[str, shapes.Group | None]:
        """What there is to hear under a name.

        Args:
            name: of a mount or a group.

        Returns:
            The mount to begin with, and the group with all mounts to choose from, if there is one.
        """
        config = self._current.config
        configured = config.groups.get(name)
        group = name if configured is not None else config.group_of(name)
        if not group:
            return name, None
        found = describe_group(group, self._registry, base, config)
        if configured is not None:
            return found.first or configured.mounts[0], found
        return name, found if name in {each.mount for each in found.mounts} else None

    def _render(
        self, text: str, request: Request, status: int = 200, framed_by: str = "'self'", media: str = ""
    ) -> Response:
        return respond(make(text.encode("utf-8", "replace"), HTML), request, status, framed_by, media=media)


def _facts(name: str, shown: shapes.Mount | None, configured: str) -> dict[str, str]:
    """What a link to a mount's page tells of it."""
    called = (shown.name if shown else configured) or name.removeprefix("/")
    title = shown.title if shown else None
    description = (shown.description or shown.genre) if shown else ""
    return {
        "name": called,
        "heading": title.text if title else called,
        "description": description or f"Live: {called}",
        "art": (title.art or "") if title else "",
    }


def _programmes(mounts: list[shapes.Mount], groups: Mapping[str, Sequence[str]]) -> list[list[shapes.Mount]]:
    """The mounts of a group as one, in their order there; every other one by itself."""
    found: dict[str, list[shapes.Mount]] = {}
    for mount in mounts:
        found.setdefault(mount.group or mount.mount, []).append(mount)
    for name, members in found.items():
        if name in groups:
            members.sort(key=lambda each: groups[name].index(each.mount))
    return list(found.values())


def _plain(mounts: list[shapes.Mount]) -> str:
    """A programme for browsers without scripts."""
    first = mounts[0]
    page = describe_links(first.group).page if first.group else first.links.page
    streams = "".join(
        f'<p><a href="{escape(each.links.m3u)}">.m3u</a> <a href="{escape(each.links.pls)}">.pls</a>'
        f"{escape(f' {each.codec} {round((each.bitrate or 0) / 1000)} kbit/s' if len(mounts) > 1 else '')}</p>"
        for each in mounts
    )
    return (
        f'<article class="plain"><h2><a href="{escape(page)}">{escape(first.name or first.mount)}</a></h2>'
        f'<p dir="auto">{escape(first.title.text if first.title else "")}</p>'
        f'<audio controls preload="none" src="{escape(first.path)}"></audio>{streams}</article>'
    )


def _data(value: object) -> str:
    """JSON in a script element that is none: no `<` can end it (HTML, §4.12.1.3)."""
    return encode(value).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

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
from castd.pages.files import TYPES, Files, make, respond

if TYPE_CHECKING:
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry

HTML = TYPES[".html"]


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
        mounts = [describe_mount(each, base, self._current.config) for each in public_mounts(self._registry)]
        status = shapes.Status(
            server=describe_server(self._current.config, self._registry),
            listeners=sum(each.listeners for each in mounts),
            mounts=mounts,
        )
        plain = "\n".join(_plain(each) for each in mounts)
        return self._render(self._station.substitute(data=_data(status), mounts=plain), request)

    async def of_mount(self, exchange: Exchange, call: Call) -> Response:
        """GET /p/{name}, with ?embed=1 for an iframe: one mount, on the air or not."""
        request, config = exchange.request, self._current.config
        name, base = call.mount, public_url(config, request)
        mount = self._registry.get(name)
        shown = describe_mount(mount, base, config) if mount is not None and mount.description is not None else None
        embedded = request.argument("embed") == "1"
        facts = _facts(name, shown, config.mount(name).name)
        links = shown.links if shown else describe_links(name)
        text = self._mount.substitute(
            data=_data({"mount": name, "now": shown, "links": links, "group": self._group(mount, base)}),
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
        here = shown is not None or name in config.mounts
        return self._render(text, request, 200 if here else 404, "*" if embedded else "'self'")

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

    def _group(self, mount: Mount | None, base: str) -> list[shapes.Mount]:
        """The mounts among which a listener of this one may choose."""
        config = self._current.config
        group = config.group_of(mount.name) if mount is not None else ""
        return describe_group(group, self._registry, base, config).mounts if group else []

    def _render(self, text: str, request: Request, status: int = 200, framed_by: str = "'self'") -> Response:
        return respond(make(text.encode("utf-8", "replace"), HTML), request, status, framed_by)


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


def _plain(mount: shapes.Mount) -> str:
    """A mount for browsers without scripts."""
    name = escape(mount.name or mount.mount)
    return (
        f'<article class="plain"><h2><a href="{escape(mount.links.page)}">{name}</a></h2>'
        f'<p dir="auto">{escape(mount.title.text if mount.title else "")}</p>'
        f'<audio controls preload="none" src="{escape(mount.path)}"></audio>'
        f'<p><a href="{escape(mount.links.m3u)}">.m3u</a> <a href="{escape(mount.links.pls)}">.pls</a></p></article>'
    )


def _data(value: object) -> str:
    """JSON in a script element that is none: no `<` can end it (HTML, §4.12.1.3)."""
    return encode(value).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

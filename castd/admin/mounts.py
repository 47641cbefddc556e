"""Icecast's admin commands about mounts: lists of them, and who stands in for whom.

Answers and errors are in Icecast's form and words (captures D04, D06, D21, D43-D52, D56-D59); what differs is noted at
each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree import ElementTree

from castd.admin.icecast_answers import answer, named_mount, required, xml_response
from castd.delivery.moves import Misfit, move_listeners
from castd.errors import ClientError
from castd.http.links import public_url
from castd.http.messages import NO_CACHE, Response, quote_mount
from castd.ingest.fallback import Circle
from castd.stats.snapshot import mount_facts

if TYPE_CHECKING:
    from castd.config import Current
    from castd.delivery.pump import Pump
    from castd.http.connection import Exchange
    from castd.http.routes import Call
    from castd.ingest.fallback import Fallbacks
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry


class MountCommands:
    """The handlers."""

    def __init__(self, current: Current, registry: Registry, pump: Pump, fallbacks: Fallbacks) -> None:
        self._current = current
        self._registry = registry
        self._pump = pump
        self._fallbacks = fallbacks

    async def listmounts(self, exchange: Exchange, call: Call) -> Response:
        """GET /admin/listmounts, /admin/streamlist: every mount."""
        return xml_response(self._list())

    async def streamlist(self, exchange: Exchange, call: Call) -> Response:
        """GET /admin/streamlist.txt: the names of the mounts that have a source, as slaves ask for them."""
        names = [name for name, mount in self._sorted() if mount.source is not None]
        return Response(200, "".join(f"{name}\r\n" for name in names).encode(), headers=(NO_CACHE,))

    async def moveclients(self, exchange: Exchange, call: Call) -> Response:
        """GET or POST /admin/moveclients?mount=/x[&destination=/y]: move the listeners; without a destination, the
        mounts there are.

        Players of the one that could not go on with the other stay where they are, and the answer says so.
        """
        here = named_mount(self._registry, call)
        destination = exchange.request.argument("destination")
        if destination is None:
            root = self._list(but=here)
            current = ElementTree.Element("current_source")
            current.text = here.name
            root.insert(0, current)
            return xml_response(root)
        if destination == here.name:
            raise ClientError(400, "supplied mountpoints are identical")
        to = self._registry.get(destination)
        if to is None:
            raise ClientError(400, "No such destination")
        try:
            await move_listeners(self._pump, here, to, call.user)
        except Misfit as error:
            return answer(f"Clients not moved: {error}", success=False)
        return answer(f"Clients moved from {here.name} to {to.name}")

    async def fallbacks(self, exchange: Exchange, call: Call) -> Response:
        """GET or POST /admin/fallbacks?mount=/x&fallback=/y: have another mount stand in, until the mount closes; an
        empty one is none."""
        mount, fallback = named_mount(self._registry, call), required(exchange.request, "fallback")
        if fallback and not fallback.startswith("/"):
            raise ClientError(400, "fallback is no mount")
        try:
            self._fallbacks.choose(mount, fallback, call.user)
        except Circle as error:
            return answer(str(error), success=False)
        return answer("Fallback configured")

    async def updatemetadata(self, exchange: Exchange, call: Call) -> Response:
        """GET /admin/updatemetadata?mount=/x: whether there is such a mount; in Icecast, the form behind it."""
        root = ElementTree.Element("icestats")
        ElementTree.SubElement(root, "source", mount=named_mount(self._registry, call).name)
        return xml_response(root)

    async def buildm3u(self, exchange: Exchange, call: Call) -> Response:
        """GET /admin/buildm3u?mount=/x&username=u&password=p: a playlist that holds them, for players that cannot ask.

        Icecast's name and password come in the URL, unchecked; so do they here, for whoever may hold them.
        """
        mount, request = named_mount(self._registry, call), exchange.request
        user, password = (quote(required(request, name), safe="") for name in ("username", "password"))
        scheme, host = public_url(self._current.config, request).split("://")
        return Response(
            200,
            f"{scheme}://{user}:{password}@{host}{quote_mount(mount.name)}\r\n".encode(),
            "audio/x-mpegurl",
            (("Content-Disposition", "attachment; filename=listen.m3u"), NO_CACHE),
        )

    def _sorted(self) -> list[tuple[str, Mount]]:
        return sorted(self._registry.mounts.items())

    def _list(self, but: Mount | None = None) -> ElementTree.Element:
        root = ElementTree.Element("icestats")
        for name, mount in self._sorted():
            if mount is but:
                continue
            element = ElementTree.SubElement(root, "source", mount=name)
            ElementTree.SubElement(element, "fallback").text = mount.fallback
            ElementTree.SubElement(element, "listeners").text = str(len(mount.listeners))
            if mount.encoder is not None:
                seconds = mount.clock.monotonic() - mount.encoder.connected
                ElementTree.SubElement(element, "Connected").text = str(int(seconds))
            ElementTree.SubElement(element, "content-type").text = mount_facts(mount).content_type
        return root

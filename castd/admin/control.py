"""Icecast's admin endpoints that change things, and the lists operators decide by: metadata, listclients, kills.

Answers and errors are in Icecast's form and words (captures D22-D55); what differs is noted at each.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from castd.admin.icecast_answers import answer, named_mount, required, xml_response
from castd.errors import ClientError
from castd.http.messages import Response, decode_text
from castd.mount.party import Goodbye
from castd.stats.snapshot import listener_facts
from castd.wire.text import one_line

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry

log = logging.getLogger(__name__)


class IcecastAdmin:
    """The handlers of /admin/metadata, listclients, killsource and killclient."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def metadata(self, exchange: Exchange, call: Call) -> Response:
        """GET /admin/metadata?mount=/x&mode=updinfo&song=... or artist=, title=; also album=, url=, charset=.

        `song` alone is the whole title, and clears an artist set before (quirk 51); on an Ogg mount the title shows in
        JSON and events, the stream itself is not rewritten.
        """
        request, mount = exchange.request, named_mount(self._registry, call)
        mode = required(request, "mode")
        if mode != "updinfo":
            return answer("No such action", success=False)
        song, artist, title = (_text(request, name, mount) for name in ("song", "artist", "title"))
        if song is None and title is None and artist is None:
            return answer("Metadata update successful")
        text = " - ".join(part for part in (artist, title) if part) if title else song or artist or ""
        album, url = _text(request, "album", mount), _text(request, "url", mount)
        mount.set_title(text, artist=artist or None, title=title or None, album=album or None, url=url or "")
        log.info("%s: title set by %s from %s: %s", mount.name, call.user, request.address, text)
        return answer("Metadata update successful")

    async def listclients(self, exchange: Exchange, call: Call) -> Response:
        """GET /admin/listclients?mount=/x: for the admin only, since it shows addresses."""
        mount = named_mount(self._registry, call)
        root = ElementTree.Element("icestats")
        source = ElementTree.SubElement(root, "source", mount=mount.name)
        ElementTree.SubElement(source, "Listeners").text = str(len(mount.listeners))
        for listener in mount.listeners.values():
            facts = listener_facts(mount, listener)
            element = ElementTree.SubElement(source, "listener")
            for name, value in (
                ("IP", facts.address),
                ("UserAgent", facts.agent),
                ("Connected", int(facts.connected_seconds)),
                ("ID", facts.id),
            ):
                ElementTree.SubElement(element, name).text = str(value)
        return xml_response(root)

    async def killsource(self, exchange: Exchange, call: Call) -> Response:
        """GET or POST /admin/killsource?mount=/x: by the admin or the mount's own source."""
        mount = named_mount(self._registry, call)
        source = mount.encoder
        if source is None:
            raise ClientError(400, "Source does not exist")
        log.warning("%s: source %d kicked by %s from %s", mount.name, source.id, call.user, exchange.request.address)
        source.end(Goodbye.KICKED, call.user)
        return answer("Source Removed")

    async def killclient(self, exchange: Exchange, call: Call) -> Response:
        """GET or POST /admin/killclient?mount=/x&id=N."""
        mount = named_mount(self._registry, call)
        listener_id = required(exchange.request, "id")
        listener = mount.listeners.get(int(listener_id)) if _is_id(listener_id) else None
        if listener is None:
            return answer(f"Client {listener_id} not found", success=False)
        log.warning("%s: listener %s kicked by %s", mount.name, listener_id, call.user)
        listener.end(Goodbye.KICKED, call.user)
        return answer(f"Client {listener_id} removed")

    async def unknown(self, exchange: Exchange, call: Call) -> Response:
        """Anything else under /admin/."""
        raise ClientError(400, "Unrecognised command")


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


def _text(request: Request, name: str, mount: Mount) -> str | None:
    """An argument in the charset the client named, or the mount's: UTF-8 first, whatever it named (quirk 50)."""
    value, charset = request.query.get(name), request.argument("charset") or mount.settings.charset
    return None if value is None else one_line(decode_text(value, charset))

"""What panels and widgets ask a SHOUTcast server: /7.html, /stats, /statistics, /currentsong, /played.

Names and order are those of the DNAS's documents on its JSON and XML replies, version 2.5; what castd does not know,
such as "streamlisted", has the value of a server that does not do it.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from castd.admin.status import SERVER_ID
from castd.errors import ClientError
from castd.http.messages import ANY_ORIGIN, NO_CACHE, Response, json_response
from castd.stats.snapshot import mount_facts

if TYPE_CHECKING:
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.mount.aliases import Aliases
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry


class ShoutcastStatus:
    """The handlers."""

    def __init__(self, current: Current, registry: Registry, aliases: Aliases) -> None:
        self._current = current
        self._registry = registry
        self._aliases = aliases

    async def stats(self, exchange: Exchange, call: Call) -> Response:
        """GET /stats?sid=1[&json=1]: one stream."""
        mount = self._mount(exchange.request)
        return _reply(exchange.request, self._stats(mount))

    async def statistics(self, exchange: Exchange, call: Call) -> Response:
        """GET /statistics[?json=1]: all streams with an id, on the air or not."""
        streams = []
        for number, name in enumerate(self._current.config.shoutcast.mounts, 1):
            mount = self._aliases.by_stream_id(number)
            streams.append({"id": number, **(self._stats(mount) if mount else {"streamstatus": 0, "streampath": name})})
        on_air = [each for each in streams if each["streamstatus"]]
        totals = {
            "totalstreams": len(streams),
            "activestreams": len(on_air),
            "currentlisteners": sum(each["currentlisteners"] for each in on_air),
            "peaklisteners": sum(each["peaklisteners"] for each in on_air),
            "maxlisteners": self._current.config.limits.max_listeners,
            "uniquelisteners": sum(each["uniquelisteners"] for each in on_air),
            "averagetime": round(sum(each["averagetime"] for each in on_air) / max(len(on_air), 1)),
            "version": SERVER_ID,
        }
        if _wants_json(exchange.request):
            return json_response({**totals, "streams": streams}, headers=(ANY_ORIGIN,))
        root = ElementTree.Element("SHOUTCASTSERVER")
        group = ElementTree.SubElement(root, "STREAMSTATS")
        _fill(group, totals)
        for each in streams:
            _fill(ElementTree.SubElement(group, "STREAM", id=str(each["id"])), {**each, "id": None})
        return _xml(root)

    async def seven(self, exchange: Exchange, call: Call) -> Response:
        """GET /7.html: seven values with commas between them; of the title, which comes last, there may be any."""
        facts = self._stats(self._mount(exchange.request))
        names = ("currentlisteners", "streamstatus", "peaklisteners", "maxlisteners", "uniquelisteners", "bitrate")
        values = ",".join([*(str(facts[name]) for name in names), escape(facts["songtitle"])])
        page = ('<HTML><meta http-equiv="Pragma" content="no-cache"></head><body>' + values + "</body></html>").encode(
            "utf-8", "replace"
        )
        return Response(200, page, "text/html; charset=utf-8", (NO_CACHE, ANY_ORIGIN))

    async def current_song(self, exchange: Exchange, call: Call) -> Response:
        """GET /currentsong?sid=1: the title, and nothing else."""
        title = self._stats(self._mount(exchange.request))["songtitle"]
        return Response(200, title.encode("utf-8", "replace"), headers=(NO_CACHE, ANY_ORIGIN))

    async def played(self, exchange: Exchange, call: Call) -> Response:
        """GET /played?sid=1[&type=json|xml]: recent titles, the newest first."""
        titles = self._mount(exchange.request).timeline.recent_titles()
        songs = [{"playedat": int(each.wall), "title": each.text} for each in reversed(titles)]
        if exchange.request.argument("type") == "json" or _wants_json(exchange.request):
            return json_response(songs, headers=(ANY_ORIGIN,))
        if exchange.request.argument("type") == "xml":
            root = ElementTree.Element("SHOUTCASTSERVER")
            history = ElementTree.SubElement(root, "SONGHISTORY")
            for song in songs:
                _fill(ElementTree.SubElement(history, "SONG"), song)
            return _xml(root)
        rows = "".join(f"<tr><td>{song['playedat']}</td><td>{escape(str(song['title']))}</td></tr>" for song in songs)
        page = f"<!doctype html><title>Played</title><table><tr><th>Played at<th>Title</tr>{rows}</table>"
        return Response(200, page.encode("utf-8", "replace"), "text/html; charset=utf-8", (NO_CACHE, ANY_ORIGIN))

    def _mount(self, request: Request) -> Mount:
        """Raises ClientError: 404: there is no stream of that id."""
        sid = request.argument("sid") or ""
        number = int(sid) if sid.isascii() and sid.isdigit() and len(sid) < 5 else 0
        mount = self._aliases.by_stream_id(number) if number else self._aliases.default
        if mount is None or mount.settings.hidden:
            raise ClientError(404, "no such stream")
        return mount

    def _stats(self, mount: Mount) -> dict[str, Any]:
        facts, title, now = mount_facts(mount), mount.timeline.title, mount.clock.monotonic()
        listeners = list(mount.listeners.values())
        times = [now - each.connected for each in listeners]
        return {
            "currentlisteners": len(listeners),
            "peaklisteners": mount.listener_peak,
            "maxlisteners": mount.settings.max_listeners or self._current.config.limits.max_listeners,
            "uniquelisteners": len({each.address for each in listeners}),
            "averagetime": round(sum(times) / max(len(times), 1)),
            "servergenre": facts.genre,
            "serverurl": facts.url,
            "servertitle": facts.name,
            "songtitle": title.text if title else "",
            "streamhits": mount.visits,
            "streamstatus": int(mount.source is not None),
            "backupstatus": 0,
            "streamlisted": 0,
            "streampath": mount.name,
            "streamuptime": int(now - mount.source.connected) if mount.source else 0,
            "bitrate": str(facts.bitrate // 1000),
            "samplerate": str(facts.sample_rate),
            "content": facts.content_type,
            "version": SERVER_ID,
        }


def _wants_json(request: Request) -> bool:
    return request.argument("json") in ("1", "true")


def _reply(request: Request, values: dict[str, Any]) -> Response:
    if _wants_json(request):
        return json_response(values, headers=(ANY_ORIGIN,))
    root = ElementTree.Element("SHOUTCASTSERVER")
    _fill(root, values)
    return _xml(root)


def _xml(root: ElementTree.Element) -> Response:
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=False)
    return Response(
        200, b'<?xml version="1.0" encoding="UTF-8"?>' + body, "text/xml; charset=utf-8", (NO_CACHE, ANY_ORIGIN)
    )


def _fill(element: ElementTree.Element, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is not None:
            ElementTree.SubElement(element, name.upper()).text = str(value)

"""castd's own JSON: one stable, typed shape, lists always lists, times in RFC 3339 with a Z. docs/api.md describes
it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from castd.admin.links import public_url
from castd.errors import ClientError
from castd.http.connection import SERVER
from castd.http.messages import ANY_ORIGIN, Response, json_response, quote_mount
from castd.mount.party import Goodbye
from castd.stats.snapshot import listener_facts, mount_facts, source_facts
from castd.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.party import Listener, Source
    from castd.mount.registry import Registry
    from castd.mount.timeline import Title

log = logging.getLogger(__name__)

TITLE_FIELDS = ("text", "artist", "title", "album", "url")


class Api:
    """The handlers under /api/v1/."""

    def __init__(self, current: Current, registry: Registry) -> None:
        self._current = current
        self._registry = registry

    async def status(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/status: the server and its public mounts."""
        mounts = self._public_mounts(exchange.request)
        value = {"server": self._server(), "listeners": sum(each["listeners"] for each in mounts), "mounts": mounts}
        return json_response(value, headers=(ANY_ORIGIN,))

    async def mounts(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/mounts."""
        return json_response({"mounts": self._public_mounts(exchange.request)}, headers=(ANY_ORIGIN,))

    async def mount(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/mounts/{name}: also a hidden one, for those who know its name."""
        return json_response(
            self._mount(find_mount(self._registry, call.mount), exchange.request), headers=(ANY_ORIGIN,)
        )

    async def stats(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/stats: everything countable, hidden mounts too."""
        registry = self._registry
        value = {
            "server": self._server(),
            "listeners": registry.listeners,
            "sources": registry.sources,
            "totals": asdict(registry.totals),
            "mounts": [
                {
                    **self._mount(mount, exchange.request),
                    "hidden": mount.settings.hidden,
                    "max_listeners": mount.settings.max_listeners,
                    "slow_listeners": mount.slow_listeners,
                    "bytes_received": mount.bytes_received,
                    "bytes_sent": mount.bytes_sent,
                    "ring_bytes": mount.ring.capacity,
                    "sources": [asdict(source_facts(mount, source)) for source in mount.sources],
                }
                for mount in self._sorted()
            ],
        }
        return json_response(value)

    async def sources(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/sources[?mount=/x]."""
        found = [asdict(source_facts(m, s)) for m in self._sorted(call.mount) for s in m.sources]
        return json_response({"sources": found})

    async def listeners(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/listeners[?mount=/x]."""
        found = [asdict(listener_facts(m, each)) for m in self._sorted(call.mount) for each in m.listeners.values()]
        return json_response({"listeners": found})

    async def kick_source(self, exchange: Exchange, call: Call) -> Response:
        """DELETE /api/v1/admin/sources/{id}."""
        by_id: dict[str, Source] = {
            str(s.id): s for m in self._registry.mounts.values() for s in m.sources if not s.fallback
        }
        return self._kick(by_id, call, "source")

    async def kick_listener(self, exchange: Exchange, call: Call) -> Response:
        """DELETE /api/v1/admin/listeners/{id}."""
        by_id: dict[str, Listener] = {
            str(each.id): each for m in self._registry.mounts.values() for each in m.listeners.values()
        }
        return self._kick(by_id, call, "listener")

    async def set_title(self, exchange: Exchange, call: Call) -> Response:
        """POST /api/v1/admin/mounts/{name}/title: {"text": ...} or {"artist": ..., "title": ...}, "album", "url"."""
        mount = find_mount(self._registry, call.mount)
        fields = read_fields(await exchange.read_small_body(), TITLE_FIELDS)
        text = fields["text"] or " - ".join(fields[name] for name in ("artist", "title") if fields[name])
        title = mount.set_title(
            text,
            artist=fields["artist"] or None,
            title=fields["title"] or None,
            album=fields["album"] or None,
            url=fields["url"],
        )
        log.info("%s: title set by %s from %s: %s", mount.name, call.user, exchange.request.address, text)
        return json_response(_title(title))

    async def unknown(self, exchange: Exchange, call: Call) -> Response:
        """Anything else under /api/v1/admin/."""
        raise ClientError(404, "no such resource")

    def _kick(self, by_id: dict[str, Any], call: Call, what: str) -> Response:
        found = by_id.get(call.parameters["id"])
        if found is None:
            raise ClientError(404, f"no {what} has this id now")
        log.warning("%s %s kicked by %s", what, call.parameters["id"], call.user)
        found.end(Goodbye.KICKED, call.user)
        return json_response({"id": found.id, "kicked": True})

    def _sorted(self, name: str = "") -> list[Mount]:
        if name:
            return [find_mount(self._registry, name)]
        return sorted(self._registry.mounts.values(), key=lambda mount: mount.name)

    def _public_mounts(self, request: Request) -> list[dict[str, Any]]:
        return [
            self._mount(mount, request)
            for mount in self._sorted()
            if mount.description is not None and not mount.settings.hidden
        ]

    def _server(self) -> dict[str, Any]:
        server, registry = self._current.config.server, self._registry
        return {
            "software": SERVER,
            "hostname": server.hostname,
            "location": server.location,
            "admin_contact": server.admin_contact,
            "started": rfc3339(registry.started),
            "uptime_seconds": round(registry.clock.monotonic() - registry.started_monotonic, 3),
        }

    def _mount(self, mount: Mount, request: Request) -> dict[str, Any]:
        facts, path = mount_facts(mount), quote_mount(mount.name)
        title = mount.timeline.title
        return {
            "mount": mount.name,
            "state": _state(mount),
            "fallback": mount.source.fallback or None if mount.source else None,
            "name": facts.name,
            "description": facts.description,
            "genre": facts.genre,
            "url": facts.url,
            "public": facts.public,
            "content_type": facts.content_type,
            "codec": facts.codec,
            "bitrate": facts.bitrate or None,
            "sample_rate": facts.sample_rate or None,
            "channels": facts.channels or None,
            "listeners": len(mount.listeners),
            "listener_peak": mount.listener_peak,
            "started": rfc3339(mount.started) if mount.started else None,
            "title": _title(title) if title is not None and title.text else None,
            "listen_url": public_url(self._current.config, request) + path,
            "path": path,
        }


def _state(mount: Mount) -> str:
    if mount.source is None:
        return "waiting"
    return "fallback" if mount.source.fallback else "live"


def _title(title: Title) -> dict[str, Any]:
    return {
        "text": title.text,
        "artist": title.artist,
        "title": title.title,
        "album": title.album,
        "url": title.url,
        "since": rfc3339(title.wall),
    }


def find_mount(registry: Registry, name: str) -> Mount:
    """A mount that has, or had, a source.

    Raises:
        ClientError: 404.
    """
    mount = registry.get(name)
    if mount is None or mount.description is None:
        raise ClientError(404, "no such mount")
    return mount


def read_fields(body: bytes, known: Sequence[str]) -> dict[str, str]:
    """The texts in a JSON body by name, cleaned; absent ones are "".

    Raises:
        ClientError: 400.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ClientError(400, "the body is not JSON") from None
    if not isinstance(value, dict) or not all(isinstance(each, str | None) for each in value.values()):
        raise ClientError(400, "the body must be an object of strings")
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise ClientError(400, f"unknown field {one_line(unknown[0])!r}; known are {', '.join(known)}")
    return {name: one_line(value.get(name) or "") for name in known}


def rfc3339(wall: float) -> str:
    """A moment, to the second: `2026-11-23T05:48:18Z`."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

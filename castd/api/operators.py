"""What operators see, and whom they send away."""

from __future__ import annotations

import logging
from dataclasses import asdict
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import trio
from msgspec import Meta, Struct

from castd.api import shapes
from castd.api.describe import describe_details, describe_server, describe_title, find_mount
from castd.api.operation import answer, describes, read_body, read_query
from castd.config.rules import WEB_URL
from castd.errors import ClientError
from castd.http.links import public_url
from castd.mount.party import Goodbye
from castd.stats.snapshot import listener_facts, source_facts
from castd.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Response
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.party import Listener, Source
    from castd.mount.registry import Registry
    from castd.stats.samples import Samples
    from castd.stats.snapshot import ListenerFacts

log = logging.getLogger(__name__)

SLICE = 500
"""Listeners looked at between two checkpoints: some 3 ms."""

MOST = 10_000
"""Listeners in one answer."""

Text = Annotated[str, Meta(max_length=1000)]
Seconds = Annotated[float, Meta(ge=0, le=1e6)]


ART = r"^(https?://[A-Za-z0-9.-]+(:[1-9][0-9]{0,4})?([/?][!-~]*)?)?$"
"""An http(s) address of a name or an IPv4 address, without a user; "" for none."""


class TitleBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is on from now on: `text`, or what it is made of."""

    text: Text | None = None
    artist: Text | None = None
    title: Text | None = None
    album: Text | None = None
    url: Annotated[Text, Meta(description="StreamUrl, which players are given")] | None = None
    art: (
        Annotated[Text, Meta(pattern=ART, description="address of a picture, which castd fetches and serves")] | None
    ) = None
    duration: Annotated[Seconds, Meta(description="seconds")] | None = None


class OfMount(Struct, kw_only=True):
    """Narrows an answer to one mount."""

    mount: str = ""


SortKey = Literal[
    "id", "mount", "address", "agent", "user", "protocol", "connected_seconds", "bytes_sent", "lag_seconds", "jumps"
]


class ListenersQuery(OfMount, kw_only=True):
    """Which listeners."""

    search: Annotated[str, Meta(max_length=200, description="in address, agent, user, mount or id")] = ""
    sort: SortKey = "id"
    descending: bool = False
    limit: Annotated[int, Meta(ge=1, le=MOST)] = MOST
    offset: Annotated[int, Meta(ge=0, le=10_000_000)] = 0


class Operators:
    """Handlers under /api/v1/admin/."""

    def __init__(self, current: Current, registry: Registry, samples: Samples, followers: Callable[[], int]) -> None:
        self._current = current
        self._registry = registry
        self._samples = samples
        self._followers = followers

    @describes("Everything countable, hidden mounts too", answer=shapes.Stats)
    async def stats(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/stats."""
        registry, config = self._registry, self._current.config
        base = public_url(config, exchange.request)
        return answer(
            shapes.Stats(
                server=describe_server(config, registry),
                process=shapes.Process(**asdict(self._samples.process())),
                listeners=registry.listeners,
                sources=registry.sources,
                followers=self._followers(),
                totals=asdict(registry.totals),
                mounts=[describe_details(mount, base, config, self._samples) for mount in self._mounts(call)],
            )
        )

    @describes("Encoders, and what stands in for one", answer=shapes.Sources, query=OfMount, errors=(404,))
    async def sources(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/sources[?mount=/x]."""
        found = [source_facts(m, s) for m in self._mounts(call) for s in m.sources]
        return answer(shapes.Sources(sources=found))

    @describes("Those who listen", answer=shapes.Listeners, query=ListenersQuery, errors=(400, 404))
    async def listeners(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/listeners[?mount=&search=&sort=&descending=&limit=&offset=]."""
        wanted = read_query(exchange.request, ListenersQuery)
        needle = wanted.search.lower()
        found: list[ListenerFacts] = []
        seen = 0
        for mount in self._mounts(call):
            for listener in list(mount.listeners.values()):
                seen += 1
                if seen % SLICE == 0:
                    await trio.lowlevel.checkpoint()
                if listener.gone is None and (not needle or needle in _searched(mount, listener)):
                    found.append(listener_facts(mount, listener))
        found.sort(key=attrgetter(wanted.sort), reverse=wanted.descending)
        page = found[wanted.offset : wanted.offset + wanted.limit]
        return answer(shapes.Listeners(listeners=page, total=len(found)))

    @describes("Disconnect a source", answer=shapes.Kicked, errors=(404,))
    async def kick_source(self, exchange: Exchange, call: Call) -> Response:
        """DELETE /api/v1/admin/sources/{id}."""
        found = [(m, s) for m in self._registry.mounts.values() for s in m.sources if not s.fallback]
        return self._kick(found, call, "source")

    @describes("Disconnect a listener", answer=shapes.Kicked, errors=(404,))
    async def kick_listener(self, exchange: Exchange, call: Call) -> Response:
        """DELETE /api/v1/admin/listeners/{id}."""
        number = call.parameters["id"]
        key = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0
        found = [(m, each) for m in self._registry.mounts.values() if (each := m.listeners.get(key))]
        return self._kick(found, call, "listener")

    @describes("Set the title", answer=shapes.Title, body=TitleBody, errors=(400, 404, 413))
    async def set_title(self, exchange: Exchange, call: Call) -> Response:
        """POST /api/v1/admin/mounts/{name}/title."""
        mount = find_mount(self._registry, call.mount)
        body = await read_body(exchange, TitleBody)
        said = {
            name: one_line(getattr(body, name) or "") for name in ("text", "artist", "title", "album", "url", "art")
        }
        if not WEB_URL.holds(said["art"]):
            raise ClientError(400, "art must be an http:// or https:// address in ASCII")
        text = said["text"] or " - ".join(said[name] for name in ("artist", "title") if said[name])
        title = mount.set_title(
            text,
            artist=said["artist"] or None,
            title=said["title"] or None,
            album=said["album"] or None,
            url=said["url"],
            art=said["art"],
            duration=body.duration or 0.0,
        )
        log.info("%s: title set by %s from %s: %s", mount.name, call.user, exchange.request.address, text)
        return answer(describe_title(mount, title))

    async def unknown(self, exchange: Exchange, call: Call) -> Response:
        """Anything else under /api/."""
        raise ClientError(404, "no such resource")

    def _kick(self, among: list[tuple[Mount, Any]], call: Call, what: str) -> Response:
        for mount, party in among:
            if str(party.id) == call.parameters["id"] and call.grant.covers(mount.name):
                log.warning("%s %s kicked by %s", what, party.id, call.user)
                party.end(Goodbye.KICKED, call.user)
                return answer(shapes.Kicked(id=party.id, kicked=True))
        raise ClientError(404, f"no {what} has this id now")

    def _mounts(self, call: Call) -> list[Mount]:
        """The mount the request is about, or all that whoever asks may see."""
        if call.mount:
            return [find_mount(self._registry, call.mount)]
        mounts = (each for each in self._registry.mounts.values() if call.grant.covers(each.name))
        return sorted(mounts, key=lambda mount: mount.name)


def _searched(mount: Mount, listener: Listener | Source) -> str:
    return f"{listener.address}\n{listener.agent}\n{listener.user}\n{mount.name}\n{listener.id}".lower()

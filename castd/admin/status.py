"""The status as Icecast 2.4 shapes it: /status-json.xsl for everybody, /admin/stats as XML for operators.

Keys and shapes are those of captures A01-A09: `source` is absent for no mount, an object for one, an array for more.
Unlike Icecast's, the JSON is always valid, and a text stays a text whatever it looks like (quirks 67-74).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, TypeAlias
from xml.etree import ElementTree

import trio

from castd.admin.icecast_answers import xml_response
from castd.errors import ClientError
from castd.http.heads import SERVER
from castd.http.links import public_url
from castd.http.messages import ANY_ORIGIN, Response, json_response, quote_mount
from castd.stats.snapshot import SUBTYPES, mount_facts
from castd.wire.text import one_line

if TYPE_CHECKING:
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry

Value: TypeAlias = str | int | None

FOLLOW_SECONDS = 1.0
"""Between two looks at what has changed, for the clients of STATS."""

SERVER_ID = SERVER.replace("/", " ")


AUDIO_KEYS = frozenset(
    f"{prefix}{name}" for prefix in ("", "ice-") for name in ("bitrate", "channels", "quality", "samplerate")
)
"""What encoders say in Ice-Audio-Info (quirk 23); other names of theirs could pass for what castd says itself."""


class IcecastStatus:
    """The handlers, and the facts behind them."""

    def __init__(self, current: Current, registry: Registry) -> None:
        self._current = current
        self._registry = registry
        self._followers: set[trio.CancelScope] = set()
        self._followers_ever = 0

    async def json(self, exchange: Exchange, call: Call) -> Response:
        """GET /status-json.xsl[?mount=/x]."""
        mounts = [mount for mount in self._mounts(call.mount) if not mount.settings.hidden]
        sources = [{**self._source(mount, exchange.request), "dummy": None} for mount in mounts]
        stats: dict[str, object] = dict(self._server())
        if sources:
            stats["source"] = sources if len(sources) > 1 else sources[0]
        return json_response({"icestats": {**stats, "dummy": None}}, headers=(ANY_ORIGIN,))

    async def xml(self, exchange: Exchange, call: Call) -> Response:
        """GET /admin/stats[?mount=/x]."""
        if call.mount and not self._mounts(call.mount):
            raise ClientError(400, "Source does not exist")
        root = ElementTree.Element("icestats")
        _fill(root, self._totals())
        for mount in self._mounts(call.mount):
            element = ElementTree.SubElement(root, "source", mount=mount.name)
            _fill(element, {**self._source(mount, exchange.request), **_private(mount)})
        return xml_response(root)

    async def follow(self, exchange: Exchange, call: Call) -> None:
        """STATS /: everything, and from then on what changes, a line each, until the client hangs up (capture D79)."""
        self._followers_ever += 1
        try:
            with trio.CancelScope() as scope:
                self._followers.add(scope)
                await exchange.send_raw(b"HTTP/1.0 200 OK\r\n\r\n")
                await self._tell(exchange)
        except* (trio.BrokenResourceError, trio.TooSlowError):
            pass  # it hung up, or takes nothing
        finally:
            self._followers.discard(scope)

    def end_followers(self) -> None:
        """The server stops."""
        for scope in self._followers:
            scope.cancel()

    async def _tell(self, exchange: Exchange) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_when_hung_up, exchange.stream, nursery.cancel_scope)
            told: dict[tuple[str, str], str] = {}
            while True:
                now = self._events(exchange.request)
                lines = [f"EVENT {mount} {name} {value}" for (mount, name), value in now.items()
                             if told.get((mount, name)) != value]  # fmt: skip
                gone = {mount for mount, _ in told} - {mount for mount, _ in now}
                lines += [f"EVENT {mount} null null" for mount in sorted(gone)]
                if lines:
                    await exchange.send_raw("".join(f"{line}\n" for line in lines).encode())
                told = now
                await trio.sleep(FOLLOW_SECONDS)

    def _events(self, request: Request) -> dict[tuple[str, str], str]:
        """All values as text, by mount, "global" for the server's, and name."""
        events = {("global", name): str(value) for name, value in self._totals().items() if value is not None}
        for mount in self._mounts(""):
            values = {**self._source(mount, request), **_private(mount)}
            events |= {(mount.name, name): one_line(str(value)) for name, value in values.items() if value is not None}
        return events

    def _totals(self) -> dict[str, Value]:
        registry = self._registry
        return {
            **self._server(),
            "client_connections": registry.totals.connections,
            "clients": registry.listeners,
            "connections": registry.totals.connections,
            "file_connections": registry.totals.files,
            "listener_connections": registry.totals.listeners,
            "listeners": registry.listeners,
            "source_client_connections": registry.totals.sources,
            "source_relay_connections": registry.totals.relays,
            "source_total_connections": registry.totals.sources + registry.totals.relays,
            "sources": registry.sources,
            "stats": len(self._followers),
            "stats_connections": self._followers_ever,
        }

    def _mounts(self, name: str) -> list[Mount]:
        """Mounts with a stream, all or the one named; those still waiting for their source's return are among them."""
        mounts = self._registry.mounts
        chosen = [mounts[name]] if name in mounts else [] if name else sorted(mounts.values(), key=lambda m: m.name)
        return [mount for mount in chosen if mount.description is not None]

    def _server(self) -> dict[str, Value]:
        server, started = self._current.config.server, self._registry.started
        return {
            "admin": server.admin_contact,
            "host": server.hostname,
            "location": server.location,
            "server_id": SERVER_ID,
            "server_start": local_date(started),
            "server_start_iso8601": iso_date(started),
        }

    def _source(self, mount: Mount, request: Request) -> dict[str, Value]:
        """One source's keys, in Icecast's order; few of them while a fallback stands in (quirk 72)."""
        url = public_url(self._current.config, request) + quote_mount(mount.name)
        if mount.source is not None and mount.source.fallback:
            return {"listeners": len(mount.listeners), "listenurl": url}
        facts, title = mount_facts(mount), mount.timeline.title
        values: dict[str, Value] = {}
        if mount.format == "ogg":
            if title is not None and title.artist:
                values["artist"] = title.artist
            values |= {
                "audio_bitrate": facts.bitrate or None,
                "audio_channels": facts.channels or None,
                "audio_samplerate": facts.sample_rate or None,
            }
        values["audio_info"] = facts.audio_info_text or None
        values["bitrate"] = _number(facts.declared_bitrate) or facts.bitrate // 1000 or None
        values["genre"] = facts.genre or "various"
        values |= {name: _number(value) for name, value in facts.audio_info if name in AUDIO_KEYS - values.keys()}
        values |= {
            "listener_peak": mount.listener_peak,
            "listeners": len(mount.listeners),
            "listenurl": url,
            "server_description": facts.description or "Unspecified description",
            "server_name": facts.name or "Unspecified name",
            "server_type": facts.content_type,
            "server_url": facts.url or None,
            "stream_start": local_date(mount.started),
            "stream_start_iso8601": iso_date(mount.started),
            "subtype": SUBTYPES.get(facts.codec),
        }
        if title is not None:
            values["title"] = title.title if mount.format == "ogg" and title.title else title.text
        return {name: value for name, value in values.items() if value is not None}


def _private(mount: Mount) -> dict[str, Value]:
    """What only operators see of a mount."""
    source, limit = mount.source, mount.settings.max_listeners
    return {
        "max_listeners": limit or "unlimited",
        "public": int(mount_facts(mount).public),
        "slow_listeners": mount.slow_listeners,
        "source_ip": source.address if source else None,
        "total_bytes_read": mount.bytes_received,
        "total_bytes_sent": mount.bytes_sent,
        "user_agent": source.agent if source else None,
    }


async def _end_when_hung_up(stream: trio.abc.ReceiveStream, scope: trio.CancelScope) -> None:
    """A client of STATS says nothing; whatever it says instead is not read."""
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some(1024):
            pass
    scope.cancel()


def _number(text: str) -> Value:
    """A figure a source declared: a number where it is one, as in Icecast."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else text


def _fill(element: ElementTree.Element, values: dict[str, Value]) -> None:
    for name, value in values.items():
        if value is not None and is_xml_name(name):
            ElementTree.SubElement(element, name).text = str(value)


def is_xml_name(name: str) -> bool:
    """A source may call its Ice-Audio-Info keys what it likes; an element's name is narrower."""
    return name.isascii() and name.replace("-", "").replace("_", "").isalnum() and name[0].isalpha()


def local_date(wall: float) -> str:
    """As Icecast writes a moment: `Sun, 22 Nov 2026 16:02:09 +0000`."""
    return format_datetime(datetime.fromtimestamp(wall, UTC).astimezone())


def iso_date(wall: float) -> str:
    """As Icecast writes it for programs: `2026-11-22T16:02:09+0000`."""
    return datetime.fromtimestamp(wall, UTC).astimezone().strftime("%Y-%m-%dT%H:%M:%S%z")

"""Listeners over HTTP: the reply Icecast gives, and the hand-over to the pump.

The reply is HTTP/1.0, ended by closing, never chunked: that is what every player, car radio and proxy takes (quirks
35-41). `icy-*` fields have no space after the colon, as Icecast writes them and old players expect them.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from email.utils import formatdate
from sys import intern
from typing import TYPE_CHECKING

from castd import tls
from castd.access.bans import refuse_unlisted
from castd.delivery.intro import Intros
from castd.delivery.listener import Listener
from castd.delivery.pace import Pace, asked_entry, goes_back
from castd.delivery.room import Room
from castd.errors import ClientError
from castd.http.heads import SERVER
from castd.http.messages import TRAIL, Response
from castd.mount.party import Goodbye, closing_words
from castd.stats.snapshot import mount_facts
from castd.tcp import descriptor, read_tcp_state
from castd.wire import content_types

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from castd.access.crowd import Crowd
    from castd.config import Current
    from castd.delivery.listener import Connection
    from castd.delivery.pump import Pump
    from castd.delivery.state import ListenerState
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call, Grant, Handler, Stay, StayState
    from castd.mount.aliases import Aliases
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.mount.timeline import EntryMark
    from castd.stats.records import Records

log = logging.getLogger(__name__)

CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS"),
    ("Access-Control-Allow-Headers", "Icy-MetaData, Range, Accept, Content-Type, Cache-Control"),
    (
        "Access-Control-Expose-Headers",
        "icy-br, icy-description, icy-genre, icy-metaint, icy-name, icy-pub, icy-url, ice-audio-info, Content-Range",
    ),
    ("Access-Control-Max-Age", "86400"),
)
"""What a page of another site needs to play a mount and to read its titles (quirk 41)."""

_NO_CACHE = (
    ("Cache-Control", "no-cache, no-store"),
    ("Expires", "Mon, 26 Jul 1997 05:00:00 GMT"),
    ("Pragma", "no-cache"),
)

ICY_TYPES = (*content_types.MPEG, *content_types.AAC)
"""What players look for ICY blocks in."""

PLAYER = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""What a page's player may call itself, so that it can ask what it hears; a new name for each request."""

PROBE_LENGTH = 1_073_741_824
"""The length iOS is told at its two-byte probe (capture K06): it asks for all of a file of known length next."""


class Icecast:
    """The handlers of GET, HEAD and OPTIONS on a mount.

    Args:
        aliases: finds mounts by other paths.
        audience: counts listeners by address.
        elsewhere: answers GET and HEAD on what is no mount.
        summon: has a mount that is pulled on demand pulled, and says whether it is there.
        may_listen: what a request is granted at a mount; raises ClientError.
        allowed: the methods of a path.
        trail: what a mount's stream came through, for other servers that pull it.
        go_on_with_stay: makes a stay of what another process told of it.
    """

    def __init__(
        self,
        current: Current,
        registry: Registry,
        pump: Pump,
        records: Records,
        aliases: Aliases,
        audience: Crowd,
        elsewhere: Handler,
        summon: Callable[[str], Awaitable[bool]],
        may_listen: Callable[[Request, str], Awaitable[Grant]],
        trail: Callable[[Mount], tuple[str, ...]],
        allowed: Callable[[str], list[str]],
        go_on_with_stay: Callable[[StayState], Stay],
    ) -> None:
        self._allowed = allowed
        self._go_on_with_stay = go_on_with_stay
        self._current = current
        self._registry = registry
        self._pump = pump
        self._records = records
        self._aliases = aliases
        self._audience = audience
        # bound once for all listeners, for memory's sake
        self._leave, self._move, self._goodbye = audience.leave, self._note_move, self._say_goodbye
        self._room = Room(current, registry)
        self._intros = Intros()
        self._elsewhere = elsewhere
        self._summon = summon
        self._may_listen = may_listen
        self._trail = trail
        self._players: dict[str, Listener] = {}

    async def listen(self, exchange: Exchange, call: Call) -> Response | None:
        """Answer a listener and hand it to the pump.

        Raises:
            ClientError: 503: full; 403: its address may not listen here; whatever there is for what is no mount.
        """
        request = exchange.request
        mount = self._aliases.find(call.mount)
        if mount is not None and self._registry.is_over(mount) and not goes_back(request):
            mount = None
        if mount is None and request.method == "GET" and await self._summon(call.mount):
            mount = self._aliases.find(call.mount)
            if mount is not None and self._aliases.is_group(call.mount):
                return await self._listen_to_one(exchange, call, mount.name)
        if mount is None:
            if self._aliases.is_group(call.mount):
                names = ", ".join(self._current.config.groups[call.mount].mounts)
                raise ClientError(404, f"no mount of {call.mount} is on the air: {names}")
            return await self._elsewhere(exchange, call)
        if mount.settings.no_mount:
            raise ClientError(403, "this mount is not for listeners")
        refuse_unlisted(request.address, mount.settings.allow_listeners, "listen to this mount")
        rewound = asked_entry(mount, request)
        if request.method == "HEAD":
            await exchange.send_raw(self._head(mount, request, self._metaint(request, mount)))
            return None
        if _is_probe(request):
            return _answer_probe(mount, request)
        self._room.make_way(mount, call.user)
        found = self._room.find(mount, descriptor(exchange.stream))
        if isinstance(found, Response):
            return found
        if found is not mount:
            self._room.make_way(found, call.user)
        refuse_unlisted(request.address, found.settings.allow_listeners, "listen to this mount")
        if rewound is not None and found is mount:
            self._hand_over(exchange, found, b"", call.grant, rewound)
            return None
        intro = await self._intros.of(found)
        if found.closed:
            raise ClientError(404, "the source has just left for good")
        self._hand_over(exchange, found, intro, call.grant)
        return None

    async def _listen_to_one(self, exchange: Exchange, call: Call, mount: str) -> Response | None:
        """Answer a listener of a group by one of its mounts: nobody could ask whether it may listen to that before it
        was there.

        Raises:
            ClientError: see listen; 401 or 403: it may not.
        """
        grant = await self._may_listen(exchange.request, mount)
        exchange.user = grant.user
        try:
            return await self.listen(exchange, replace(call, mount=mount, user=grant.user, grant=grant))
        finally:
            grant.close()

    def mount(self, request: Request) -> str:
        """The name of the mount that a request for any path is about: of one that is here, or that is configured."""
        mount = self._aliases.find(request.decoded_path)
        if mount is not None:
            return mount.name
        return request.decoded_path if request.decoded_path in self._current.config.mounts else ""

    def at_root_mount(self, request: Request) -> str:
        """The name of the mount that a request for `/` is about: the default for old players, who ask for titles there,
        as SHOUTcast 1 had it (quirk 44); none for everybody else. No browser asks for titles."""
        mount = self._aliases.default
        if request.header("icy-metadata").strip() != "1" or "mozilla" in request.agent.lower() or mount is None:
            return ""
        return mount.name

    def at_root(self, page: Handler) -> Handler:
        """A handler of `/`: the stream, or `page` where there is none."""

        async def answer(exchange: Exchange, call: Call) -> Response | None:
            mount = self.at_root_mount(exchange.request)
            return await (self.listen(exchange, replace(call, mount=mount)) if mount else page(exchange, call))

        return answer

    async def preflight(self, exchange: Exchange, call: Call) -> Response:
        """Answer OPTIONS, which libshout sends first and browsers before they ask for ICY titles."""
        return Response(204, headers=(("Allow", ", ".join(self._allowed(exchange.request.path))), *CORS))

    def _head(self, mount: Mount, request: Request, metaint: int) -> bytes:
        """The head of a listener's reply (captures B01, B03)."""
        lines = ["HTTP/1.0 200 OK"]
        lines += [f"{name}: {value}" for name, value in _fields(mount, request)]
        lines += mount.settings.headers
        if request.header(TRAIL):
            lines.append(f"{TRAIL}: {' '.join(self._trail(mount))}")
        lines += [f"{name}:{value}" for name, value in _icy_fields(mount, metaint) if value]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")

    def _metaint(self, request: Request, mount: Mount) -> int:
        wanted = request.header("icy-metadata").strip() == "1"
        # the declared type until the bytes told: who comes before the first frame wants titles, too
        carries = mount.description is not None and mount.description.content_type in ICY_TYPES
        return mount.settings.icy_metaint if wanted and carries else 0

    def _hand_over(
        self, exchange: Exchange, mount: Mount, intro: bytes, grant: Grant, rewound: EntryMark | None = None
    ) -> None:
        """Give the reply's head, and the socket to the pump.

        Args:
            rewound: where it begins, if it goes back.
        """
        request = exchange.request
        metaint = self._metaint(request, mount)
        entry = rewound or mount.join_point()
        position, headers = mount.entrance(entry)
        pending = self._head(mount, request, metaint) + (b"" if intro else headers)
        exchange.answered = True
        listener = Listener(
            mount,
            tls.take_socket(exchange.stream, self._current.config.delivery.send_buffer_bytes),
            position=position,
            pending=pending,
            intro=intro,
            metaint=metaint,
            address=request.address,
            agent=intern(request.agent),
            user=grant.user,
            listener_id=grant.listener_id,
            most_seconds=grant.seconds,
            connected=self._registry.clock.monotonic(),
        )
        # of thousands of requests only what the log will say is kept, and most players' names are the same
        listener.request = request.with_headers(
            {name: intern(request.header(name)) for name in ("user-agent", "referer")}
        )
        if rewound is not None:
            listener.pace = Pace(rewound.time + mount.settings.burst_seconds, listener.connected)
        if not intro and (player := request.argument("player")) and PLAYER.fullmatch(player):
            listener.player, listener.begins = player, entry.time if entry else mount.timeline.end
        listener.stay = grant.keep()
        self._accompany(listener)
        log.info("%s: listener %d from %s (%s) joined, %s",
                 mount.name, listener.id, listener.address, listener.agent, listener.protocol)  # fmt: skip
        self._registry.totals.listeners += 1
        try:
            self._pump.add(listener)
        except OSError as error:
            log.error("%s: listener %d cannot be watched: %s", mount.name, listener.id, error)
            listener.end(Goodbye.FAILED)

    def go_on_with(self, state: ListenerState, connection: Connection, mount: Mount, intro: bytes) -> None:
        """Have somebody listen on who listened in another process.

        Args:
            connection: set for the pump.
            intro: see Listener.of.
        """
        listener = Listener.of(state, mount, connection, intro)
        listener.agent = intern(listener.agent)
        listener.request = state.request.request if state.request else None
        listener.stay = self._go_on_with_stay(state.stay) if state.stay else None
        listener.bound_for = self._registry.get(state.bound_for) if state.bound_for else None
        self._accompany(listener)
        self._pump.go_on_with(listener)

    def _accompany(self, listener: Listener) -> None:
        """Have everybody told who wants to know what becomes of it."""
        self._audience.enter(listener, listener.address)
        listener.on_gone += [self._leave, self._goodbye]
        if listener.stay is not None:
            listener.on_gone.append(_end_stay)
        listener.on_move = self._move
        if listener.player:
            self._players[listener.player] = listener

    def hearing(self, player: str) -> tuple[Mount, int, float] | None:
        """Where the stream of a player begins that said who it is (`?player=`): its mount, byte position and media
        time; None if it does not listen, or was moved meanwhile, so that nobody knows what it hears."""
        listener = self._players.get(player)
        if listener is None or listener.bytes_elsewhere or listener.jumps:
            return None
        return listener.mount, listener.since.position, listener.begins

    def _note_move(self, listener: Listener, to: Mount) -> None:
        """It is a visit to one mount, and then one to the other."""
        log.info("%s: listener %d goes on with %s", listener.mount.name, listener.id, to.name)
        tcp = read_tcp_state(listener.connection.fileno())
        self._records.departed(listener.mount, listener, listener.since, tcp, Goodbye.MOVED)

    def _say_goodbye(self, listener: Listener) -> None:
        mount, seconds = listener.mount, self._registry.clock.monotonic() - listener.connected
        log.info("%s: listener %d closed: %s, %.1f s, %d bytes, %d jumps", mount.name, listener.id,
                 closing_words(listener.gone, listener.ended_by), seconds,
                 listener.bytes_sent, listener.jumps)  # fmt: skip
        self._records.departed(mount, listener, listener.since, read_tcp_state(listener.connection.fileno()))
        if listener.request is not None:
            self._records.answered(listener.request, listener.user, 200, listener.bytes_sent, seconds)
        if self._players.get(listener.player) is listener:
            del self._players[listener.player]


def _end_stay(listener: Listener) -> None:
    assert listener.stay is not None
    listener.stay.end()


def _content_type(mount: Mount, request: Request) -> str:
    content_type = mount.description.content_type if mount.description else ""
    if content_type == "audio/aacp" and "mozilla" in request.agent.lower():
        return "audio/aac"  # browsers know no other name of it
    return content_type or "application/octet-stream"


def _fields(mount: Mount, request: Request) -> list[tuple[str, str]]:
    return [
        ("Server", SERVER),
        ("Connection", "Close"),
        ("Date", formatdate(usegmt=True)),
        ("Content-Type", _content_type(mount, request)),
        ("X-Content-Type-Options", "nosniff"),
        *_NO_CACHE,
        *CORS,
    ]


def _icy_fields(mount: Mount, metaint: int) -> list[tuple[str, str]]:
    facts = mount_facts(mount)
    return [
        ("icy-br", str(facts.bitrate // 1000 or "")),
        ("ice-audio-info", facts.audio_info_text),
        ("icy-description", facts.description),
        ("icy-genre", facts.genre),
        ("icy-name", facts.name),
        ("icy-pub", str(int(facts.public))),
        ("icy-url", facts.url),
        ("icy-metaint", str(metaint or "")),
    ]


def _is_probe(request: Request) -> bool:
    """Safari's first two bytes (quirk 38). With Icy-MetaData it gets 200, else its next request would drop titles."""
    return request.header("range").replace(" ", "") == "bytes=0-1" and not request.header("icy-metadata")


def _answer_probe(mount: Mount, request: Request) -> Response:
    position, headers = mount.entrance(mount.timeline.join(0))
    start = headers[:2] or mount.ring.read(position, min(position + 2, mount.ring.head))
    return Response(
        206,
        start.ljust(2, b"\0"),
        _content_type(mount, request),
        (("Content-Range", f"bytes 0-1/{PROBE_LENGTH}"), ("Accept-Ranges", "bytes"), *_NO_CACHE, *CORS),
    )

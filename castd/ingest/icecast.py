"""Sources that speak Icecast's HTTP: PUT, and SOURCE as it was before there was PUT.

What each real encoder sends and waits for is in the recorded exchanges (docs/clients.md); the reply to all of them is
Icecast's, at once, before any audio: `HTTP/1.0 200 OK` (capture A04).
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import trio

from castd.errors import ClientError
from castd.http.connection import CONTINUE
from castd.ingest.session import Session
from castd.mount.party import Description, Goodbye, Source, closing_words
from castd.stats.visits import arrival
from castd.tcp import descriptor, read_tcp_state
from castd.wire import content_types
from castd.wire.icy import MAX_METAINT
from castd.wire.text import one_line

if TYPE_CHECKING:
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.stats.records import Records
    from castd.stats.visits import Arrival
    from castd.tcp import TcpState

log = logging.getLogger(__name__)

DEAD_SECONDS = 2.0
"""A source silent for so long is dead if somebody with the same right waits for its mount."""

WATCH_SECONDS = 0.05
"""How often a waiting newcomer looks whether the source there is alive after all."""

MIN_METAINT = 256
"""Smallest interval between a source's own ICY blocks: with a title at each byte they would outweigh the audio."""

_WELCOME = b"HTTP/1.0 200 OK\r\n\r\n"

_REFUSED_TYPES = ("text/", "image/", "multipart/", "application/xhtml", "application/xml", "application/javascript",
                  "application/pdf")  # fmt: skip
"""Types a browser would run or render when it opens the mount."""

_TYPE = re.compile(r"[!#$&^_.+a-z0-9-]{1,127}/[!#$&^_.+a-z0-9-]{1,127}")  # RFC 6838 §4.2


class Icecast:
    """The handler of PUT and SOURCE."""

    def __init__(self, current: Current, registry: Registry, records: Records) -> None:
        self._current = current
        self._registry = registry
        self._records = records

    async def push(self, exchange: Exchange, call: Call) -> None:
        """Take a source's stream until it ends; it is authorised already.

        Raises:
            ClientError: 403: the mount is busy, or there are too many sources; 415: a type that is not audio;
                400: a broken header.
        """
        request = exchange.request
        metaint = _metaint(request)
        with trio.CancelScope() as scope:
            source = Source(
                address=request.address,
                agent=request.agent,
                user=call.user,
                protocol=request.method,
                description=describe(request),
                connected=self._registry.clock.monotonic(),
                stop=scope.cancel,
            )
            mount = await self._take(call.mount, source)
            # it may have waited its turn, and is no older than its claim
            source.connected = source.received = self._registry.clock.monotonic()
            self._registry.totals.sources += 1
            with mount.claim(source):
                since = arrival(mount, mount.ring.head)
                log.info("%s: source %d from %s (%s) connected by %s, %s", mount.name, source.id, source.address,
                         source.agent, source.protocol, source.description.content_type)  # fmt: skip
                try:
                    await exchange.send_raw((CONTINUE if request.expects_continue else b"") + _WELCOME)
                    reason = await Session(
                        mount, source, exchange.body.receive, self._current, lambda: len(self._registry.mounts), metaint
                    ).run()
                    source.gone = source.gone or reason
                except (trio.BrokenResourceError, trio.TooSlowError):  # it was gone before it had our reply
                    source.gone = source.gone or Goodbye.RESET
                except trio.Cancelled:
                    source.gone = source.gone or Goodbye.DRAINED
                    raise
                finally:
                    self._say_goodbye(mount, source, since, read_tcp_state(descriptor(exchange.stream)))
        self._registry.reap()  # at once where nothing lingers

    async def _take(self, name: str, source: Source) -> Mount:
        """The mount, free to be claimed. A source that is there and dead is replaced; one alive is not.

        Raises:
            ClientError: 403.
        """
        clock = self._registry.clock.monotonic
        heard_before: dict[int, float] = {}
        while (mount := self._registry.get(name)) is not None and (there := mount.source) is not None:
            if there.received > heard_before.setdefault(there.id, there.received):
                raise ClientError(403, "Mountpoint in use")
            silent = clock() - there.received
            if silent >= DEAD_SECONDS:
                log.warning("%s: source %d sent nothing for %.1f s and is replaced by %s",
                            name, there.id, silent, source.address)  # fmt: skip
                there.end(Goodbye.REPLACED)
                mount.release(there)
            else:
                await trio.sleep(min(WATCH_SECONDS, DEAD_SECONDS - silent))
        if self._registry.sources >= self._current.config.limits.max_sources:
            self._registry.observer.limit_reached("limits.max_sources", self._current.config.limits.max_sources)
            raise ClientError(403, "too many sources connected")
        try:
            return self._registry.open(name)
        except OSError as error:
            log.error("%s: no memory or descriptor for its ring: %s", name, error)
            raise ClientError(503, "the server has no resources for another mount", (("Retry-After", "5"),)) from None

    def _say_goodbye(self, mount: Mount, source: Source, since: Arrival, tcp: TcpState | None) -> None:
        log.info("%s: source %d closed: %s, %.1f s, %d bytes, %d skipped", mount.name, source.id,
                 closing_words(source.gone, source.ended_by), mount.clock.monotonic() - source.connected,
                 source.bytes_received, source.skipped_bytes)  # fmt: skip
        self._records.departed(mount, source, since, tcp)


def describe(request: Request) -> Description:
    """What a source's headers say of its stream, by any of the names encoders use (quirks 22-24).

    Raises:
        ClientError: 415: a type a browser would run instead of play.
    """

    def first(*names: str) -> str:
        values = (one_line(request.header(name)) for name in names)
        return next((value for value in values if value), "")

    content_type = one_line(request.header("content-type")).partition(";")[0].strip().lower()
    if content_type and (content_type.startswith(_REFUSED_TYPES) or not _TYPE.fullmatch(content_type)):
        raise ClientError(415, f"{content_type[:100]!r} is not a type of audio or video")
    audio_info = one_line(request.header("ice-audio-info"))
    pairs = (pair.partition("=") for pair in audio_info.split(";"))
    return Description(
        content_type=content_type or content_types.MPEG[0],  # as Icecast takes it (quirk 24); the bytes will tell
        name=first("ice-name", "icy-name", "x-audiocast-name"),
        description=first("ice-description", "icy-description", "x-audiocast-description"),
        genre=first("ice-genre", "icy-genre", "x-audiocast-genre"),
        url=first("ice-url", "icy-url", "x-audiocast-url"),
        public=first("ice-public", "icy-pub", "x-audiocast-public", "icy-public").lower() in ("1", "yes", "true", "on"),
        bitrate=first("ice-bitrate", "icy-br", "x-audiocast-bitrate"),
        audio_info=tuple((name.strip(), one_line(unquote(value.strip()))) for name, _, value in pairs if name.strip()),
        audio_info_text=audio_info,
    )


def _metaint(request: Request) -> int:
    """Bytes between the ICY blocks the source itself sends (quirk 55), 0 if it sends none."""
    text = request.header("icy-metaint")
    if not text:
        return 0
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 8 else 0
    if not MIN_METAINT <= number <= MAX_METAINT:
        raise ClientError(400, f"icy-metaint must be a number of bytes from {MIN_METAINT} to {MAX_METAINT}")
    return number

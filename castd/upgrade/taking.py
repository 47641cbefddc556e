"""The new process's part: take everything, and go on with it."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

from castd import __version__
from castd.errors import ConfigError
from castd.mount.party import Goodbye, next_id
from castd.segments.spool import Spool
from castd.sockets import Inherited, PlainConnection
from castd.upgrade.channel import Channel, ChannelError
from castd.upgrade.messages import (
    BODIES,
    FORMAT,
    PARSERS,
    End,
    Go,
    ListenersTold,
    MountTold,
    Ready,
    Refused,
    SourcesTold,
    Start,
    Taken,
    TalksTold,
    Told,
)

if TYPE_CHECKING:
    from castd.adaptive.session import SessionState
    from castd.delivery.state import ListenerState
    from castd.front import TalkState
    from castd.ingest.state import VisitState
    from castd.mount.mount import Mount
    from castd.mount.party import Source
    from castd.segments.segmenter_state import SegmenterState
    from castd.upgrade.parts import Parts

log = logging.getLogger(__name__)

VARIABLE = "_CASTD_TAKE_OVER"
"""Environment variable with the descriptor of the channel, for the new process."""

PATIENCE_SECONDS = 30.0
"""For each step of the old process, which goes on with its work until it begins to tell."""


@dataclass
class _Heard:
    """What was told, with the descriptors."""

    sources: list[tuple[VisitState, int]] = field(default_factory=list)
    listeners: list[tuple[str, ListenerState, int]] = field(default_factory=list)
    outputs: list[tuple[Mount, SegmenterState | None, list[SessionState], list[int]]] = field(default_factory=list)
    talks: list[tuple[TalkState, int]] = field(default_factory=list)
    intros: dict[int, bytes] = field(default_factory=lambda: {0: b""})


class Predecessor:
    """The old process, from Ready to Go.

    Attributes:
        doors: its listening sockets, once it began to tell.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._heard = _Heard()
        self._later = 0.0
        self._alike = False
        self._start: Start | None = None
        self.doors: list[Inherited] = []

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Predecessor | None:
        """The process that started this one to take its place; None if it was started otherwise."""
        descriptor = environ.pop(VARIABLE, "")
        if not descriptor:
            return None
        os.set_inheritable(int(descriptor), False)
        return cls(Channel(socket.socket(fileno=int(descriptor)), PATIENCE_SECONDS))

    def refuse(self, why: str) -> None:
        """Say that nothing will come of it."""
        try:
            self._channel.send(Refused(why))
        except ChannelError as error:
            log.debug("the old process %s", error)
        self._channel.close()

    def begin(self, parts: Parts) -> None:
        """Say Ready and wait for what is nobody's own.

        Raises:
            ConfigError: it does not come.
        """
        try:
            self._channel.send(Ready(FORMAT, __version__, PARSERS, BODIES))
            start, descriptors = self._channel.receive(Start)
        except ChannelError as error:
            raise ConfigError(f"nothing to take over: the old process {error}") from None
        self._start = start
        self._later = trio.current_time() - time.monotonic() - start.clock
        self._alike = start.parsers == PARSERS
        next_id.go_on_after(start.last_id)
        pairs = zip(descriptors, start.doors, strict=True)
        self.doors = [Inherited(descriptor, host, port) for descriptor, (host, port) in pairs]
        registry = parts.registry
        registry.started, registry.started_monotonic = start.started, start.started_monotonic + self._later
        for name, count in start.totals.items():
            setattr(registry.totals, name, count)
        parts.relays.server_id = start.server_id

    def take(self, parts: Parts) -> None:
        """Hear everything, and wait for Go. Nothing is sent to anybody before.

        Raises:
            ConfigError: the old process keeps it, for the reason given.
        """
        try:
            more = True
            while more:
                more = self._hear(parts)
            self._channel.send(Taken())
            self._channel.receive(Go)
        except BaseException as error:
            for mount in parts.registry.mounts.values():
                mount.part_with()  # whoever closes it must not end streams in memory that is the other's
            if isinstance(error, ChannelError | OSError | ValueError):
                raise ConfigError(f"nothing was taken over: {error}") from None
            raise
        self._channel.close()

    def _hear(self, parts: Parts) -> bool:
        """One message; False if it was the last."""
        told, descriptors = self._channel.receive(Told)
        heard = self._heard
        match told:
            case MountTold():
                told.mount.later(self._later)
                mount = parts.registry.adopt(told.mount, descriptors[0])
                heard.outputs.append((mount, told.segments, told.sessions, descriptors[1:]))
            case SourcesTold():
                heard.sources += zip(told.sources, descriptors, strict=True)
            case ListenersTold():
                heard.intros |= told.intros
                heard.listeners += [(told.mount, *each) for each in zip(told.listeners, descriptors, strict=True)]
            case TalksTold():
                heard.talks += zip(told.talks, descriptors, strict=True)
        return not isinstance(told, End)

    def go_on(self, parts: Parts, connections: trio.Nursery) -> None:
        """Be the server: have everybody served who was told of.

        Args:
            connections: takes the tasks of sources and talks.
        """
        assert self._start is not None
        kept = {id(source) for source in self._sources(parts, connections)}
        for mount in list(parts.registry.mounts.values()):
            for source in list(mount.sources):
                if id(source) not in kept and not (source.fallback and parts.fallbacks.go_on_with(mount, source)):
                    source.gone = source.gone or Goodbye.DRAINED
                    mount.release(source)
        for name, state, descriptor in self._heard.listeners:
            self._listener(parts, name, state, descriptor)
        for mount, segments, sessions, spools in self._heard.outputs:
            self._outputs(parts, mount, segments, sessions, spools)
        for talk, descriptor in self._heard.talks:
            connections.start_soon(parts.front.go_on_with, _stream(descriptor), talk)
        log.info(
            "took over %d mounts, %d sources and %d listeners; nobody was served for %.0f ms",
            len(parts.registry.mounts), len(kept), parts.registry.listeners,
            (time.monotonic() - self._start.paused) * 1000,
        )  # fmt: skip

    def _sources(self, parts: Parts, connections: trio.Nursery) -> list[Source]:
        """Go on with the encoders told of; those of a list that go on."""
        kept = []
        for state, descriptor in self._heard.sources:
            state.later(self._later)
            mount, stream = parts.registry.mounts[state.mount], _stream(descriptor)
            source = next(each for each in mount.sources if each.id == state.source)
            try:
                visiting = parts.intake.adopt(state, mount, source, stream, alike=self._alike)
            except Exception as error:  # whatever another version pickled costs this encoder and nobody else
                log.warning("%s: source %d has to connect again: %s", mount.name, source.id, error)
                stream.socket.close()
                continue
            kept.append(source)
            task = partial(parts.intake.go_on_with, visiting)
            connections.start_soon(parts.front.accompany, stream, state.address, task)
        return kept

    def _outputs(
        self,
        parts: Parts,
        mount: Mount,
        segments: SegmenterState | None,
        sessions: list[SessionState],
        spools: list[int],
    ) -> None:
        try:
            if segments is not None:
                segments.later(self._later)
                known = segments.spool is not None and spools
                spool = Spool(spools[0], segments.spool_bytes, segments.spool) if known else None
                parts.segmenters.go_on_with(segments, mount, spool)
            for session in sessions:
                session.later(self._later)
                parts.sessions.go_on_with(session, mount)
        except Exception:  # a bug; it may cost those who listen by segments, and nobody else
            log.exception("%s: its segments were lost", mount.name)

    def _listener(self, parts: Parts, name: str, state: ListenerState, descriptor: int) -> None:
        connection = PlainConnection(fileno=descriptor)
        connection.setblocking(False)
        try:
            state.later(self._later)
            mount: Mount = parts.registry.mounts[name]
            parts.listeners.go_on_with(state, connection, mount, self._heard.intros[state.intro])
        except Exception:  # a bug; it may cost this listener, and nobody else
            log.exception("%s: listener %d was lost", name, state.id)
            connection.close()


def _stream(descriptor: int) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor)))

"""The old process's part: start the next one, stop everything between two bytes, and tell it all."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

import trio

from castd.errors import ConfigError
from castd.mount.party import Goodbye, next_id
from castd.sockets import PlainConnection
from castd.upgrade.channel import DESCRIPTORS, Channel, ChannelError
from castd.upgrade.messages import (
    BODIES,
    FORMAT,
    PARSERS,
    End,
    Go,
    ListenersTold,
    MountTold,
    Ready,
    SourcesTold,
    Start,
    Taken,
    TalksTold,
)
from castd.upgrade.taking import VARIABLE

if TYPE_CHECKING:
    from castd.delivery.listener import Listener
    from castd.delivery.state import ListenerState
    from castd.front import Talk
    from castd.ingest.intake import Visiting
    from castd.mount.mount import Mount
    from castd.sockets import Bound
    from castd.upgrade.parts import Parts

log = logging.getLogger(__name__)

READY_SECONDS = 60.0
"""For the new process to load: an old machine's disk is slow."""

ANSWER_SECONDS = 1.0
"""For requests that are being answered, while everything else goes on; who takes longer is answered all the same, but
its connection is closed afterwards."""

PAUSE_SECONDS = 0.5
"""For sources to come to the end of what they were given."""

TRANSFER_SECONDS = 5.0
"""For each step of the new process while nobody is served."""

Item = TypeVar("Item")


class UpgradeError(ConfigError):
    """The server was not handed over, and goes on; the message says why."""


@dataclass
class Given:
    """What became of a server.

    Attributes:
        pid: of the new process.
        mounts, sources, listeners, talks: how many went over.
        seconds: for which nobody was served here.
        left: listeners who could not be handed over, since TLS cannot be.
        released: encoders likewise, who have to connect again.
    """

    pid: int = 0
    mounts: int = 0
    sources: int = 0
    listeners: int = 0
    talks: int = 0
    seconds: float = 0.0
    left: int = 0
    released: int = 0


class Successor:
    """The new process, from its start to its Go.

    Args:
        command: that starts a castd.
        environ: of this process.

    Raises:
        UpgradeError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        if os.getpid() == 1:
            raise UpgradeError("castd is process 1: when it ends, so does the container; restart that instead")
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise UpgradeError(f"there is no descriptor to reach a new process by: {error.strerror}") from None
        # what the service manager told this process is not for the next one, which has the sockets from us
        kept = {name: text for name, text in environ.items() if name != "WATCHDOG_PID" and name[:7] != "LISTEN_"}
        try:
            self.process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], env={**kept, VARIABLE: str(theirs.fileno())}
            )
        except OSError as error:
            ours.close()
            raise UpgradeError(f"cannot start {command[0]}: {error.strerror}") from None
        finally:
            theirs.close()
        self.channel = Channel(ours, READY_SECONDS)
        self.ready: Ready | None = None

    async def load(self) -> None:
        """Wait until it is ready.

        Raises:
            UpgradeError: it will not be, and is gone.
        """
        try:
            # it ends with the deadline of the channel, or with the process
            ready, _ = await trio.to_thread.run_sync(self.channel.receive, Ready, abandon_on_cancel=True)
            if ready.format != FORMAT:
                raise ChannelError(f"is castd {ready.version}, to which only a restart leads")
        except ChannelError as error:
            self.dismiss()
            raise UpgradeError(f"the new process {error}") from None
        self.ready = ready
        self.channel.patience(TRANSFER_SECONDS)

    def dismiss(self) -> None:
        """End it: it is not needed."""
        self.channel.close()
        self.process.kill()
        self.process.wait()


async def hand_over(parts: Parts, doors: Sequence[Bound], successor: Successor) -> Given:
    """Stop, tell, and be nobody; or go on.

    Args:
        doors: the listening sockets.
        successor: loaded.

    Raises:
        UpgradeError: the new process did not take it; everything goes on here as before.
    """
    front, intake = parts.front, parts.intake
    holds = (front.doors, front.hold, intake.hold)
    try:
        front.doors.engage()
        await front.doors.gathered()
        front.hold.engage()
        with trio.move_on_after(ANSWER_SECONDS):
            await front.hold.gathered(but=intake.visiting)
        begun = trio.current_time()
        intake.hold.engage()
        with trio.move_on_after(PAUSE_SECONDS):
            await intake.hold.gathered()
        given = Giving(parts, successor).give(doors, begun)
    except BaseException as error:
        for hold in holds:
            hold.release()
        successor.dismiss()
        if isinstance(error, ChannelError):
            raise UpgradeError(f"the new process {error}") from None
        raise
    given.seconds = trio.current_time() - begun
    return given


class Giving:
    """Tells everything, in one go: nothing else runs meanwhile."""

    def __init__(self, parts: Parts, successor: Successor) -> None:
        assert successor.ready is not None
        self._parts = parts
        self._pid = successor.process.pid
        self._channel = successor.channel
        self._ready = successor.ready
        self._intros: dict[int, int] = {}

    def give(self, doors: Sequence[Bound], paused: float) -> Given:
        """Tell it all; from its Go on it is the other's.

        Args:
            paused: monotonic seconds at which sources were held.

        Raises:
            ChannelError: the other one did not take it.
        """
        parts, channel = self._parts, self._channel
        mounts = list(parts.registry.mounts.values())
        sources = [each for each in parts.intake.visiting.values() if self._can_go(each)]
        everybody = [each for each in parts.pump.everybody if each.gone is None]
        listeners = [each for each in everybody if isinstance(each.connection, PlainConnection)]
        talks = [
            talk
            for stream, talk in parts.front.talks.items()
            if isinstance(stream, trio.SocketStream) and parts.front.hold.holds(stream)
        ]
        self._tell_start(doors, paused)
        for mount in mounts:
            told = MountTold(mount.state(), parts.segmenters.state(mount), parts.sessions.states(mount))
            spool = parts.segmenters.spool(mount) if told.segments is not None else None
            channel.send(told, [mount.ring.descriptor, *([spool.descriptor] if spool is not None else [])])
        for some in _batches(sources):
            self._tell_sources(some)
        for mount in mounts:
            for few in _batches([each for each in listeners if each.mount is mount]):
                self._tell_listeners(mount, few)
        for each in _batches(talks):
            self._tell_talks(each)
        channel.send(End())
        channel.receive(Taken)
        channel.send(Go())
        self._part(mounts, sources, listeners)
        return Given(
            pid=self._pid,
            mounts=len(mounts),
            sources=len(sources),
            listeners=len(listeners),
            talks=len(talks),
            left=len(everybody) - len(listeners),
            released=len(parts.intake.visiting) - len(sources),
        )

    def _can_go(self, visiting: Visiting) -> bool:
        body, source = visiting.body, visiting.source
        if body is None or not isinstance(visiting.stream, trio.SocketStream):
            return False
        readable = body.is_raw or self._ready.bodies == BODIES
        return readable and source.gone is None and self._parts.intake.hold.holds(visiting.session)

    def _tell_start(self, doors: Sequence[Bound], paused: float) -> None:
        registry = self._parts.registry
        start = Start(
            parsers=PARSERS,
            bodies=BODIES,
            clock=trio.current_time() - time.monotonic(),
            last_id=next_id.last,
            started=registry.started,
            started_monotonic=registry.started_monotonic,
            totals=asdict(registry.totals),
            server_id=self._parts.relays.server_id,
            paused=paused - (trio.current_time() - time.monotonic()),
            doors=[(each.listen.host, each.listen.port) for each in doors],
        )
        self._channel.send(start, [each.listener.socket.fileno() for each in doors])

    def _tell_sources(self, sources: list[Visiting]) -> None:
        address = self._parts.front.address
        told = [each.state(address(each.stream)) for each in sources]
        self._channel.send(SourcesTold(told), [_descriptor(each.stream) for each in sources])

    def _tell_listeners(self, mount: Mount, listeners: list[Listener]) -> None:
        intros: dict[int, bytes] = {}
        told = [self._listener(each, intros) for each in listeners]
        self._channel.send(ListenersTold(mount.name, intros, told), [each.connection.fileno() for each in listeners])

    def _listener(self, listener: Listener, intros: dict[int, bytes]) -> ListenerState:
        """An intro is told once: it is the same memory for all who hear it."""
        state = listener.state()
        if isinstance(listener.intro, memoryview):
            whole = listener.intro.obj
            assert isinstance(whole, bytes)
            if id(whole) not in self._intros:
                self._intros[id(whole)] = len(self._intros) + 1
                intros[self._intros[id(whole)]] = whole
            state.intro = self._intros[id(whole)]
        return state

    def _tell_talks(self, talks: list[Talk]) -> None:
        told = [self._parts.front.talk_state(each) for each in talks]
        self._channel.send(TalksTold(told), [_descriptor(each.edge.stream) for each in talks])

    def _part(self, mounts: list[Mount], sources: list[Visiting], listeners: list[Listener]) -> None:
        """Let go of what is the other's; what could not go over is ended."""
        parts = self._parts
        parts.fallbacks.stopping = True
        parts.sessions.part_with()
        parts.segmenters.close()
        for listener in listeners:
            parts.pump.part_with(listener)
        for listener in parts.pump.everybody:
            listener.finish_at(listener.horizon)  # the memory is the other's
        for mount in mounts:
            theirs = mount.sources
            mount.part_with()
            gone_over = {each.source for each in sources}
            for source in theirs:
                source.end(Goodbye.HANDED_OVER if source in gone_over or source.fallback else Goodbye.DRAINED)
        for each in sources:
            if each.exchange is not None:
                each.exchange.status = 0  # who has it now records it
        parts.registry.mounts.clear()


def _descriptor(stream: trio.abc.HalfCloseableStream) -> int:
    assert isinstance(stream, trio.SocketStream)
    return stream.socket.fileno()


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    for at in range(0, len(items), DESCRIPTORS):
        yield items[at : at + DESCRIPTORS]

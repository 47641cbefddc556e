"""What stands in for an encoder that is away, or silent where the mount's settings say so: another mount, or a file;
where neither can, castd.ingest.filler.

A fallback is one more source of the mount it stands in for, behind every encoder in the mount's list. So listeners stay
where they are, players get one stream, and an encoder that comes back is heard as soon as it has sent something that a
decoder can begin with.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import trio

from castd.ingest.file_player import FilePlayer
from castd.ingest.filler import Fillers
from castd.log import warn_rarely
from castd.mount.mount import FrameTooLarge, Mount
from castd.mount.party import FILLER, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.config import Config, Current
    from castd.mount.registry import Registry
    from castd.mount.timeline import Title
    from castd.wire.framer import Run

log = logging.getLogger(__name__)


class Circle(Exception):
    """A mount cannot stand in for itself, over however many others."""


class StandIn(Protocol):
    """A fallback at work.

    Attributes:
        name: of the mount, or the path of the file.
    """

    name: str

    def stop(self) -> None:
        """Leave the mount, now."""
        ...


class Fallbacks:
    """Sees to it that each mount without an encoder that is to be heard has its fallback, while that can be had.

    A mount that the configuration names has its fallback always; any other as long as somebody listens.

    Attributes:
        stopping: none begins any more.
    """

    def __init__(self, current: Current, registry: Registry) -> None:
        self._current = current
        self._registry = registry
        self._working: dict[str, tuple[Mount, StandIn]] = {}
        self._nursery: trio.Nursery | None = None
        self._complaints: dict[str, str] = {}
        self.stopping = False
        self._fillers = Fillers(registry, lambda: self.stopping)
        registry.on_feed += [self._fed, self._fillers.settle]

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Play files and silence until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._fillers.run)
            self.settle_all()
            task_status.started()
            await trio.sleep_forever()

    def prepare(self, config: Config) -> Callable[[], None]:
        """See castd.reload.Part."""
        return self.settle_all

    def settle_all(self) -> None:
        """Look at every mount anew."""
        for name in {*self._named(), *self._registry.mounts}:
            self._settle(name)
        self._fillers.settle_all()

    def choose(self, mount: Mount, fallback: str, by: str) -> None:
        """Have another mount stand in for one, until that closes.

        Args:
            fallback: its name; "" for none.
            by: who wants it so, for the log.

        Raises:
            Circle: it leads back to the mount; the message says so.
        """
        if self._leads_to(fallback, mount.name):
            raise Circle(f"{fallback} leads back to {mount.name}")
        mount.chosen_fallback = fallback
        self.settle_all()
        log.warning("%s: its fallback is %s, by %s", mount.name, fallback or "none", by)

    def go_on_with(self, mount: Mount, source: Source) -> bool:
        """Have a mount stand in that did so in another process, at the same byte; False if there is none.

        Args:
            source: in the list of the mount it stands in for.
        """
        of = self._registry.get(source.fallback)
        if of is None or mount.name in self._working:
            return False
        tap = MountTap(mount, of, source)
        self._working[mount.name] = (mount, tap)
        tap.go_on()
        return True

    def _named(self) -> list[str]:
        return [name for name in self._current.config.mounts if name != "default"]

    def _fallback(self, name: str) -> str:
        mount = self._registry.get(name)
        return self._current.config.mount(name).fallback if mount is None else mount.fallback

    def _fed(self, mount: Mount) -> None:
        self._settle(mount.name)
        for name in {*self._named(), *self._registry.mounts}:
            if name != mount.name and self._fallback(name) == mount.name:
                self._settle(name)

    def _settle(self, name: str) -> None:
        mount = self._registry.get(name)
        at, working = self._working.get(name, (None, None))
        wanted = self._wanted(name, mount, working.name if working and at is mount else "")
        wanted_name = wanted.name if isinstance(wanted, Mount) else wanted
        if working is not None and at is mount and working.name == wanted_name:
            return
        if working is not None:
            del self._working[name]
            working.stop()
            self._settle(name)  # things changed when it left
            return
        if wanted is None:
            return
        if mount is None:
            try:
                mount = self._registry.open(name)
            except (OSError, MemoryError) as error:
                warn_rarely(f"{name}: no memory or descriptor for its ring: {error or 'no memory'}")
                return
        if isinstance(wanted, str):
            assert self._nursery is not None
            player = FilePlayer(mount, wanted, self._current)
            self._working[name] = (mount, player)
            self._nursery.start_soon(player.run)
        else:
            tap = MountTap(mount, wanted)
            self._working[name] = (mount, tap)
            tap.start()
        log.info("%s: %s stands in", name, self._working[name][1].name)

    def _wanted(self, name: str, mount: Mount | None, working: str) -> Mount | str | None:
        """A mount, or the path of a file; None if there is to be no fallback now.

        Args:
            working: the name of what stands in now.
        """
        if self.stopping or (mount is not None and mount.closed):
            return None
        if mount is not None and not mount.needs_fallback:
            return None
        if name not in self._current.config.mounts and not (mount is not None and mount.listeners):
            return None
        other = self._registry.get(self._fallback(name))
        if other is not None and _flows(other, working) and not self._leads_to(other.name, name):
            misfit = "" if mount is None or mount.shape.fits(other.shape) else f"it is {other.shape}"
            self._complain(name, other.name, misfit, mount)
            if not misfit:
                return other
        if self._nursery is None:
            return None
        return self._current.config.mount(name).fallback_file or None

    def _leads_to(self, start: str, name: str) -> bool:
        """`start` is the mount `name`, or the fallback of `start` is, or that one's, and so on."""
        seen: set[str] = set()
        while start and start not in seen:
            if start == name:
                return True
            seen.add(start)
            start = self._fallback(start)
        return False

    def _complain(self, name: str, other: str, misfit: str, mount: Mount | None) -> None:
        """Say once why a fallback mount is not taken."""
        words = (
            f"{other} does not stand in: {misfit}, and players of {mount.shape} would stop" if misfit and mount else ""
        )
        if self._complaints.get(name, "") != words:
            self._complaints[name] = words
            if words:
                log.warning("%s: %s", name, words)


def _flows(other: Mount, working: str) -> bool:
    """There is something to hear at another mount, or, where that stands in already, there will be in a moment: its
    next source was recognised."""
    source = other.source
    if source is None or source.fallback == FILLER:
        return False
    return other.begun or (other.name == working and bool(source.shape.format))


class MountTap:
    """Another mount's stream as a source; see castd.mount.mount.Tap."""

    def __init__(self, mount: Mount, of: Mount, source: Source | None = None) -> None:
        assert of.description is not None
        self.name = of.name
        self._mount = mount
        self._of = of
        self._source = source or Source(
            address="",
            agent="",
            user="",
            protocol="fallback",
            description=of.description,
            connected=mount.clock.monotonic(),
            stop=self.stop,
            shape=of.shape,
            info=of.info,
            fallback=of.name,
            head=of.timeline.head_at(of.ring.head),
        )

    def start(self) -> None:
        """Begin with as much past audio as listeners lack since the encoder's last frame, or new ones want; none that
        they heard when this mount stood in before."""
        mount, of = self._mount, self._of
        burst = mount.settings.burst_seconds
        missing = mount.clock.monotonic() - mount.appended if mount.ring.head else burst
        mount.take_on(self._source)
        for run in of.recent(min(missing, burst), mount.heard.get(of.name, 0)):
            self.hear(run)
        of.taps = (*of.taps, self)
        if of.timeline.title is not None:
            self.hear_title(of.timeline.title)

    def go_on(self) -> None:
        """Hear what comes from now on, having heard all there is."""
        self._source.stop = self.stop
        self._of.taps = (*self._of.taps, self)

    def stop(self) -> None:
        """See StandIn."""
        self._of.taps = tuple(tap for tap in self._of.taps if tap is not self)
        self._mount.heard[self.name] = self._of.ring.head
        self._mount.release(self._source)

    def hear(self, run: Run) -> None:
        """See castd.mount.mount.Tap."""
        self._source.bytes_received += len(run.data)
        self._source.received = self._mount.clock.monotonic()
        try:
            self._mount.append(self._source, run)
        except FrameTooLarge as error:  # this mount's ring is smaller; the other's source must not suffer for it
            log.error("%s: %s stands in no longer: %s", self._mount.name, self.name, error)
            self.stop()

    def hear_title(self, title: Title) -> None:
        """See castd.mount.mount.Tap."""
        mount = self._mount
        if mount.source is not self._source:
            return
        behind = max(0, self._of.ring.head - title.position)
        mount.set_title(
            title.text,
            artist=title.artist,
            title=title.title,
            album=title.album,
            url=title.url,
            position=max(0, mount.ring.head - behind),
            by=self._source,
        )

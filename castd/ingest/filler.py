"""Silence for listeners while nothing else is there to hear, in the codec they heard last.

A filler is the last source in a mount's list, behind encoders and fallbacks. It puts into the ring what time goes by,
and never more: listeners are as far behind the live end when the encoder is back as they were when it left.
"""

from __future__ import annotations

import logging
from secrets import randbits
from typing import TYPE_CHECKING

import trio

from castd.mount.mount import FrameTooLarge
from castd.mount.party import FILLER, Source
from castd.wire.silence import silence_after
from castd.wire.sniff import framer_of
from castd.wire.unmakeable import Unmakeable

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.wire.silence import Silence

log = logging.getLogger(__name__)

STEP_SECONDS = 0.1
"""How often silence is put into the ring."""

PATIENCE_SECONDS = 1.0
"""An encoder that is back within this time is heard without silence before it: players have the burst in hand. Of a
short burst it is half."""


class Fillers:
    """Sees to it that each mount which is to has silence while nothing else can be heard there and somebody listens.

    Args:
        stopping: whether none is to begin any more.
    """

    def __init__(self, registry: Registry, stopping: Callable[[], bool]) -> None:
        self._registry = registry
        self._stopping = stopping
        self._working: dict[Mount, Filler] = {}
        self._away: dict[Mount, float] = {}  # since when there has been nothing to hear
        self._broken: set[Mount] = set()  # no silence there again before there was something to hear
        self._complaints: dict[Mount, str] = {}
        self._begun = trio.Event()
        self._runs = False

    async def run(self) -> None:
        """Keep silence coming until cancelled."""
        self._runs = True
        while True:
            await self._begun.wait()
            while self._working:
                for filler in list(self._working.values()):
                    self._play(filler)
                await trio.sleep(STEP_SECONDS)
            self._begun = trio.Event()

    def _play(self, filler: Filler) -> None:
        try:
            filler.play()
            return
        except FrameTooLarge as error:
            log.error("%s: silence stands in no longer: %s", filler.mount.name, error)
        except Exception:  # a bug; it may cost this silence, and nobody else
            log.exception("%s: silence stands in no longer", filler.mount.name)
        self._broken.add(filler.mount)
        filler.stop()

    def settle_all(self) -> None:
        """Look at every mount anew."""
        for mount in [each for each in self._away if each.closed]:
            self._away.pop(mount)
            self._broken.discard(mount)
            self._complaints.pop(mount, None)
        for mount in list(self._registry.mounts.values()):
            self.settle(mount)

    def settle(self, mount: Mount) -> None:
        """Begin or end silence at a mount, whichever is due."""
        working = self._working.get(mount)
        if not self._wanted(mount):
            if working is not None:
                working.stop()
        elif working is None and (silence := self._silence(mount)) is not None:
            filler = self._working[mount] = Filler(mount, silence, self._working.pop)
            filler.start()
            self._begun.set()
            log.info("%s: silence stands in", mount.name)

    def _wanted(self, mount: Mount) -> bool:
        if not self._runs or self._stopping() or mount.closed or mount.settings.filler != "silence":
            return False
        if any(each.ready and each.fallback != FILLER for each in mount.sources):
            self._away.pop(mount, None)
            self._broken.discard(mount)
            return False
        now, most = mount.clock.monotonic(), mount.settings.filler_seconds
        away = now - self._away.setdefault(mount, now)
        return bool(mount.listeners) and (not most or away < most) and mount not in self._broken

    def _silence(self, mount: Mount) -> Silence | None:
        """Like what was heard last; None, and a word in the log, if there is none like that."""
        head, frame = mount.last_heard()
        if mount.description is None or not frame or (head is None and mount.shape.has_heads):
            return None  # and nothing to say of it: what is there is no more than a beginning
        bitrate = mount.measured_bitrate or (mount.info.bitrate if mount.info else 0)
        try:
            return silence_after(mount.format, head, frame, bitrate, randbits(32))
        except Unmakeable as error:
            words = f"its stream {error}"
        except Exception:  # a bug; it may cost this silence, and nobody else
            words = "of an error in the server"
            if self._complaints.get(mount) != words:
                log.exception("%s: no silence", mount.name)
        if self._complaints.get(mount) != words:
            self._complaints[mount] = words
            log.warning("%s: no silence can stand in, so listeners wait without: %s", mount.name, words)
        return None


class Filler:
    """Silence at one mount, which it is a source of.

    Args:
        on_stop: called with the mount when it ends.
    """

    def __init__(self, mount: Mount, silence: Silence, on_stop: Callable[[Mount, None], object]) -> None:
        assert mount.description is not None
        now, burst = mount.clock.monotonic(), mount.settings.burst_seconds
        self.mount = mount
        self._silence = silence
        self._on_stop = on_stop
        self._framer = framer_of(mount.format)
        self._begins = mount.appended + min(PATIENCE_SECONDS, burst / 2)
        self._began = max(mount.appended, now - burst)  # as much as listeners lack since then
        self._zero = mount.timeline.end
        self._fed = False
        self._source = Source(
            address="",
            agent="",
            user="",
            protocol="filler",
            description=mount.description,
            connected=now,
            stop=self.stop,
            shape=mount.shape,
            info=mount.info,
            fallback=FILLER,
        )

    def start(self) -> None:
        """Be a source of the mount, and wait."""
        self.mount.take_on(self._source)

    def stop(self) -> None:
        """Leave the mount, now."""
        self._on_stop(self.mount, None)
        self.mount.release(self._source)

    def play(self) -> None:
        """Put into the ring what is due by now.

        Raises:
            FrameTooLarge: it does not fit.
        """
        mount, source = self.mount, self._source
        now = mount.clock.monotonic()
        if now < self._begins or source not in mount.sources:
            return
        played = mount.timeline.end - self._zero
        self._began = max(self._began, now - played - max(mount.settings.burst_seconds, 2 * STEP_SECONDS))
        data = b"" if self._fed else self._silence.start
        pieces = int((now - self._began - played) / self._silence.seconds)
        for _ in range(pieces):
            data += self._silence.next()
        self._fed = True
        source.received = now
        source.bytes_received += len(data)
        for run in self._framer.feed(data):
            mount.append(source, run)

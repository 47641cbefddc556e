"""Has a child process tell how loud sources are, of mounts that want to know, and passes it on to these mounts.

One process serves all mounts: it has 45 MB for its libraries, and a mount needs half a percent of a core of it. It is
asked once a second, piece after piece, so a crash or a hang is known to be of the piece in question: whose stream does
that several times is not listened to any more, and the others' levels go on after a short break. A source's bytes wait
in a bounded queue; what finds no room is given up, and its decoder begins anew behind that.
"""

from __future__ import annotations

import importlib.util
import logging
from math import inf
from typing import TYPE_CHECKING

import trio

from castd.levels.child import ANSWER_SECONDS, COMMAND, Child, ChildFailed
from castd.levels.messages import Gone, Piece
from castd.log import Repeats
from castd.mount.sound import RETURN_SECONDS

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from castd.levels.messages import Heard
    from castd.mount.mount import Mount
    from castd.mount.party import Source
    from castd.mount.registry import Registry
    from castd.wire.framer import Run

log = logging.getLogger(__name__)

FORMATS = ("ogg", "mpeg", "aac")
"""That can be decoded, or looked into."""

ROOM_BYTES = 2 * 1024 * 1024
"""Of one source that may wait: headers with a picture, or several seconds of any encoder."""

PERIOD_SECONDS = 1.0
"""Between two questions about a source; a level is that of the audio between."""

STRIKES, STRIKE_SECONDS = 3, 600.0
"""So many crashes and hangs, each so soon after the one before, and a source is not listened to any more."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""Before a new process; doubled each time."""

GOOD_SECONDS = 60.0
"""A process that ran for so long was a good one: the next pause is the first again."""

TROUBLE_SECONDS = 600.0
"""The same trouble of the same mount is told once in so long."""


class Meter:
    """A source that is listened to: its bytes, as they wait to be decoded."""

    def __init__(self, mount: Mount, source: Source) -> None:
        self.mount = mount
        self.source = source
        self._strikes = 0
        self._struck = -inf
        self.begin()
        source.ear = self.hear

    def begin(self) -> None:
        """Give up what waits; a new decoder has to begin with what comes."""
        head = self.source.head
        self._waiting = [head.data] if head is not None else []
        self._bytes = 0
        self._begins = True

    def hear(self, run: Run) -> None:
        """Frames have come."""
        if self._bytes + len(run.data) > ROOM_BYTES:
            self.begin()
        self._waiting.append(run.data)
        self._bytes += len(run.data)
        if run.head is not None and self._begins:  # of which only the end may be in the run
            self._waiting.append(run.head.data)

    def piece(self) -> Piece | None:
        """What waits, from now on the caller's; None if nothing does."""
        if not self._bytes:
            return None
        piece = Piece(self.source.id, self.source.shape.format, self._begins, b"".join(self._waiting))
        self._waiting, self._bytes, self._begins = [], 0, False
        return piece

    def strike(self, now: float) -> bool:
        """It brought the child down; whether it did so too often."""
        self._strikes = self._strikes + 1 if now - self._struck < STRIKE_SECONDS else 1
        self._struck = now
        return self._strikes >= STRIKES

    def nobody_can_tell(self) -> None:
        """A source that was silent is taken for one that sounds."""
        self.mount.hear(self.source, None, None, RETURN_SECONDS)


class Levels:
    """Listens to encoders at mounts with silence_seconds.

    Args:
        command: starts the child.
        period: see PERIOD_SECONDS.
        answer_seconds: see castd.levels.child.
        pause: see FIRST_PAUSE_SECONDS.
    """

    def __init__(
        self,
        registry: Registry,
        command: Sequence[str | os.PathLike[str]] = COMMAND,
        period: float = PERIOD_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        pause: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._registry = registry
        self._command = command
        self._period = period
        self._answer_seconds = answer_seconds
        self._meters: dict[int, Meter] = {}
        self._left_out: set[int] = set()
        self._child: Child | None = None
        self._known: set[int] = set()  # to the child
        self._started = 0.0
        self._first_pause = self._pause = pause
        self._not_before = 0.0
        self._troubles = Repeats(TROUBLE_SECONDS)
        self._told_of_av = False

    async def run(self) -> None:
        """Listen for ever."""
        try:
            while True:
                self._look()
                await self._round()
                await trio.sleep(self._period)
        finally:
            await self._close()

    def _look(self) -> None:
        """Find out who is to be listened to."""
        wanted = {
            source.id: (mount, source)
            for mount in self._registry.mounts.values()
            if mount.settings.silence_seconds
            for source in mount.sources
            if not source.fallback and source.gone is None and source.shape.format in FORMATS
        }
        for gone in [each for each in self._meters if each not in wanted]:
            self._meters.pop(gone).source.ear = None
        self._left_out &= set(wanted)
        for key, (mount, source) in wanted.items():
            if key not in self._meters and key not in self._left_out:
                self._meters[key] = Meter(mount, source)
                self._tell_of_av(mount, source)

    def _tell_of_av(self, mount: Mount, source: Source) -> None:
        if source.shape.format == "ogg" or self._told_of_av or importlib.util.find_spec("av") is not None:
            return
        self._told_of_av = True
        log.warning(
            "%s: only digital silence is noticed in MP3 and AAC; their level takes the package av: "
            "pip install 'castd[levels]'", mount.name,
        )  # fmt: skip

    async def _round(self) -> None:
        """Ask about everybody once."""
        if not self._meters:
            await self._close()
            return
        if trio.current_time() < self._not_before:
            return
        asked: Meter | None = None
        try:
            child = await self._running()
            for gone in self._known - set(self._meters):
                await child.ask(Gone(gone))
                self._known.discard(gone)
            for meter in list(self._meters.values()):
                if (piece := meter.piece()) is not None:
                    asked = meter
                    self._known.add(piece.source)
                    self._take(meter, await child.ask(piece))
        except ChildFailed as error:
            await self._close()
            self._fail(str(error), asked)
        except Exception:  # a bug of ours; streaming goes on
            log.exception("how loud sources are is not known for a while")
            await self._close()
            self._fail("is given up", None)

    async def _running(self) -> Child:
        if self._child is None:
            for meter in self._meters.values():
                meter.begin()
            self._known.clear()
            self._child = await Child.start(self._command, self._answer_seconds)
            self._started = trio.current_time()
            log.info("process %d tells how loud sources are", self._child.pid)
        return self._child

    async def _close(self) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            await child.aclose()

    def _take(self, meter: Meter, heard: Heard) -> None:
        mount, source = meter.mount, meter.source
        if heard.trouble:
            if self._troubles.admit((mount.name, heard.trouble), trio.current_time()) is not None:
                log.warning("%s: nobody can tell how loud it is: %s", mount.name, heard.trouble)
            meter.nobody_can_tell()
        elif heard.seconds > 0:
            was_silent = source.sound.silent
            mount.hear(source, heard.level_dbfs, heard.peak_dbfs, heard.seconds)
            if source.sound.silent and not was_silent:
                log.warning("%s: silent for %.0f s (%s dBFS)", mount.name, source.sound.quiet_seconds, heard.level_dbfs)
            elif was_silent and not source.sound.silent:
                log.info("%s: sounds again, after %.0f s", mount.name, source.sound.last_silence_seconds)

    def _fail(self, why: str, asked: Meter | None) -> None:
        """There is no child any more: when to start the next, and with whom."""
        now = trio.current_time()
        if now - self._started >= GOOD_SECONDS:
            self._pause = self._first_pause
        about = f" over what {asked.mount.name} sends" if asked is not None else ""
        log.error("the process that tells how loud sources are %s%s; the next begins in %g s", why, about, self._pause)
        self._not_before = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        if asked is not None and asked.strike(now):
            log.error("%s: nobody listens to this source any more, having failed %d times", asked.mount.name, STRIKES)
            self._left_out.add(asked.source.id)
            self._meters.pop(asked.source.id, None)
            asked.source.ear = None
            asked.nobody_can_tell()

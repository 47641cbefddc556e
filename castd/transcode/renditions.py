"""All renditions: which are to be made, for whom they are begun, and when again after they failed.

A rendition is a source of its mount like a relay, behind every encoder that comes by itself. Each has a process of its
own: so they use as many cores as there are, and what brings one down costs no other.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from castd.levels.child import ChildFailed
from castd.log import Repeats
from castd.transcode.decoding import FORMATS
from castd.transcode.rendition import IDLE_SECONDS, Failed, Plan, Rendition

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Sequence

    from castd.config import Config, Current
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.stats.records import Records

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-m", "castd.transcode")

SUMMON_SECONDS = 10.0
"""For which a listener waits for a rendition on demand."""

LOOK_SECONDS = 1.0
"""How often it is looked whether somebody listens."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""Before a new process; doubled each time."""

GOOD_SECONDS = 60.0
"""A process that ran for so long was a good one: the next pause is the first again."""

TROUBLE_SECONDS = 600.0
"""The same trouble of the same mount is told once in so long."""


class Renditions:
    """All of them.

    Args:
        summon: has another mount that is pulled on demand pulled, and says whether it is there.
        command: starts a child.
    """

    def __init__(
        self,
        current: Current,
        registry: Registry,
        records: Records,
        summon: Callable[[str], Awaitable[bool]],
        command: Sequence[str | os.PathLike[str]] = COMMAND,
    ) -> None:
        self._current = current
        self._registry = registry
        self._records = records
        self._summon = summon
        self._command = command
        self._made: dict[Plan, _Made] = {}
        self._nursery: trio.Nursery | None = None
        self._troubles = Repeats(TROUBLE_SECONDS)
        registry.on_feed.append(self._fed)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Make them until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._settle()
            task_status.started()
            await trio.sleep_forever()

    def prepare(self, config: Config) -> Callable[[], None]:
        """See castd.reload.Part."""
        return self._settle

    async def summon(self, name: str) -> bool:
        """Have a rendition on demand made, or a mount on demand pulled, for somebody who wants to listen.

        Returns:
            Whether there is something to hear at the mount now.
        """
        made = self._of(name)
        if made is None:
            return await self._summon(name)
        with trio.move_on_after(SUMMON_SECONDS):
            if self._original(made.plan) is None:
                await self.summon(made.plan.of)
            if self._may_begin(made.plan):
                made.wanted_until = trio.current_time() + SUMMON_SECONDS
                made.news.set()
                await made.settled.wait()
        mount = self._registry.get(name)
        return mount is not None and mount.begun

    def _of(self, name: str) -> _Made | None:
        return next((made for plan, made in self._made.items() if plan.mount == name), None)

    def _fed(self, mount: Mount) -> None:
        """See castd.mount.mount.Mount.on_feed."""
        for plan, made in self._made.items():
            if plan.of == mount.name:
                made.poke()
            if plan.mount == mount.name and mount.begun:
                made.settled.set()

    def _settle(self) -> None:
        """Begin and end, so that those are made that are to be."""
        config = self._current.config
        wanted = []
        for name in config.mounts if importlib.util.find_spec("av") is not None else ():
            own = config.mount(name)
            if name != "default" and own.transcode_from:
                wanted.append(Plan(name, own.transcode_from, own.codec, own.bitrate, own.transcode_on_demand))
        for plan in [each for each in self._made if each not in wanted]:
            self._made.pop(plan).scope.cancel()
        for plan in wanted:
            if plan not in self._made and self._nursery is not None:
                made = self._made[plan] = _Made(plan)
                self._nursery.start_soon(self._make_for_ever, made)

    def _original(self, plan: Plan) -> Mount | None:
        """The mount a rendition is made from, if there is something to hear; what cannot be decoded is none."""
        of = self._registry.get(plan.of)
        if of is None or not of.begun:
            return None
        if of.format not in FORMATS:
            self._tell(plan, f"nothing of {plan.of} can be encoded: nothing here decodes {of.format}")
            return None
        return of

    def _is_wanted(self, made: _Made) -> bool:
        """Somebody wants to hear it, or did a moment ago."""
        mount, now = self._registry.get(made.plan.mount), trio.current_time()
        if not made.plan.on_demand or (mount is not None and (mount.listeners or mount.taps)):
            made.wanted_until = now + IDLE_SECONDS
        return now < made.wanted_until

    def _may_begin(self, plan: Plan) -> bool:
        """There is something to hear at the original, or a source of which nothing was recognised yet."""
        of = self._registry.get(plan.of)
        return of is not None and bool(of.sources) and (not of.begun or self._original(plan) is not None)

    async def _make_for_ever(self, made: _Made) -> None:
        pause = FIRST_PAUSE_SECONDS
        with made.scope:
            while True:
                began = trio.current_time()
                try:
                    of = await self._begin(made)
                    began = trio.current_time()
                    why = await self._make(made, of)
                except Exception:  # a bug; it may cost this rendition, and nobody else
                    log.exception("%s: not encoded for a while", made.plan.mount)
                    why = "is given up"
                made.settle()
                if not why:
                    pause = FIRST_PAUSE_SECONDS
                    continue
                if trio.current_time() - began >= GOOD_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                log.error("%s: the process that encodes %s; the next begins in %g s", made.plan.mount, why, pause)
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _begin(self, made: _Made) -> Mount:
        """Wait until somebody wants it; the mount to make it from."""
        while True:
            if self._is_wanted(made):
                if (of := self._original(made.plan)) is not None:
                    return of
                await self.summon(made.plan.of)
            made.news = trio.Event()
            with trio.move_on_after(LOOK_SECONDS):
                await made.news.wait()

    async def _make(self, made: _Made, of: Mount) -> str:
        """Make it for as long as that is possible and wanted.

        Returns:
            What went wrong, completing "the process that encodes ..."; "" if nothing did.
        """
        made.rendition = Rendition(
            made.plan, of, self._registry, self._records, lambda: self._is_wanted(made),
            lambda words: self._tell(made.plan, words),
        )  # fmt: skip
        try:
            await made.rendition.run(self._command)
        except ChildFailed as error:
            return str(error)
        except Failed as error:
            return f"is given up: {error}"
        finally:
            ended_by, made.rendition = made.rendition.ended_by, None
        return f"was ended by {ended_by}" if ended_by else ""

    def _tell(self, plan: Plan, words: str) -> None:
        left_out = self._troubles.admit((plan.mount, words.partition(":")[2]), trio.current_time())
        if left_out is not None:
            log.warning("%s: %s%s", plan.mount, words, f" (and {left_out} times before)" if left_out else "")


@dataclass(eq=False)
class _Made:
    """A rendition that is made when it is wanted.

    Attributes:
        wanted_until: monotonic time.
        news: something may have changed while none is at work.
        settled: there is something to hear, or it failed.
        rendition: at work; None while none is.
    """

    plan: Plan
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    wanted_until: float = 0.0
    news: trio.Event = field(default_factory=trio.Event)
    settled: trio.Event = field(default_factory=trio.Event)
    rendition: Rendition | None = None

    def poke(self) -> None:
        self.news.set()
        if self.rendition is not None:
            self.rendition.poke()

    def settle(self) -> None:
        """A process is over: tell those who wait for it."""
        self.settled.set()
        self.settled = trio.Event()

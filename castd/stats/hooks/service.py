"""All hooks of the configuration: who is told what, and in which task."""

from __future__ import annotations

import logging
import sqlite3
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from castd.config.events import matching
from castd.errors import lacks_resources
from castd.http.post import Target
from castd.log import warn_rarely
from castd.stats.events import rfc3339
from castd.stats.hooks.health import Health
from castd.stats.hooks.outbox import open_outbox
from castd.stats.hooks.parcels import Gatherer
from castd.stats.hooks.programs import AT_ONCE, Program
from castd.stats.hooks.webhooks import Webhook

if TYPE_CHECKING:
    from castd.config import Hook
    from castd.stats.events import Events, Subscription
    from castd.stats.hooks.outbox import Outbox

log = logging.getLogger(__name__)

ROOM_EVENTS = 32_768
"""Events that may wait for a hook to look at them: a full house that leaves at once, in one turn of the loop."""

AFTER_BUG_SECONDS = 10.0
"""A hook that a bug of ours has stopped goes on after so long."""

FINISH_SECONDS = 2.0
"""For the hooks to be told of the last events when the server stops; what is in the outbox stays for the next start."""


class Hooks:
    """Tells web services and programs what happens; subscribes at once, and tells when run.

    Args:
        hooks: of the configuration.
        state_dir: where undelivered events are kept; "" means only in memory.
        events: what happens.
        context: which certificates web services may have; those the system trusts if None.
    """

    def __init__(
        self, hooks: Sequence[Hook], state_dir: str, events: Events, context: ssl.SSLContext | None = None
    ) -> None:
        self._state_dir = state_dir
        self._context = context
        self._subscribed = [
            (hook, events.subscribe(f"hook {hook.program or Target.of(hook.url)}", ROOM_EVENTS, matching(hook.events)))
            for hook in hooks
        ]
        self._finished = trio.Event()
        self._outbox: Outbox | None = None
        self._one_thread = trio.CapacityLimiter(1)
        self._health: dict[int, Health] = {}

    async def run(self) -> None:
        """Tell until `finish` is called."""
        if self._subscribed:
            outbox = self._outbox = await trio.to_thread.run_sync(self._open_outbox, limiter=self._one_thread)
            try:
                await self._tell_all(outbox)
            finally:
                self._outbox = None
                with trio.move_on_after(1, shield=True):
                    await trio.to_thread.run_sync(outbox.close, abandon_on_cancel=True, limiter=self._one_thread)
        self._finished.set()

    async def finish(self) -> None:
        """Take no more events, tell what there is, within FINISH_SECONDS."""
        for _, subscription in self._subscribed:
            subscription.close()
        with trio.move_on_after(FINISH_SECONDS):
            await self._finished.wait()

    async def state(self) -> list[dict[str, Any]]:
        """Of each hook: whom it tells, of what, how that went, and how many parcels wait for it."""
        found = []
        for number, (hook, subscription) in enumerate(self._subscribed):
            health = self._health.get(number, Health())
            found.append({
                "url": str(Target.of(hook.url)) if hook.url else None,
                "program": hook.program or None,
                "events": list(hook.events),
                "waiting": await self._waiting(hook.url) if hook.url else 0,
                "told": health.told,
                "failed": health.failed,
                "dropped": subscription.dropped,
                "last_failure": health.last_failure or None,
                "last_failure_at": rfc3339(health.last_failure_wall) if health.last_failure else None,
            })  # fmt: skip
        return found

    async def _waiting(self, url: str) -> int | None:
        """None while the outbox cannot tell."""
        if self._outbox is None:
            return None
        try:
            ask = partial(self._outbox.count, url)
            return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._one_thread)
        except sqlite3.Error:
            return None

    def _open_outbox(self) -> Outbox:
        urls = [hook.url for hook, _ in self._subscribed if hook.url]
        outbox = open_outbox(self._state_dir if urls else "")
        if self._context is None and urls:
            self._context = ssl.create_default_context()
        if dropped := outbox.keep_only(urls):
            log.warning("%d events are dropped: they were for hooks that are no longer configured", dropped)
        return outbox

    async def _tell_all(self, outbox: Outbox) -> None:
        programs = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for number, (hook, subscription) in enumerate(self._subscribed):
                if self._context is not None and hook.url:
                    webhook = Webhook(hook, outbox, self._one_thread, self._context)
                    self._health[number] = webhook.health
                    nursery.start_soon(_unbroken, webhook.run)
                    nursery.start_soon(_serve, hook, subscription, webhook.tell, webhook.finish)
                else:
                    program = Program(hook, programs)
                    self._health[number] = program.health
                    nursery.start_soon(_serve, hook, subscription, program.tell)


async def _serve(
    hook: Hook,
    subscription: Subscription,
    tell: Callable[..., Awaitable[None]],
    finish: Callable[[], None] = lambda: None,
) -> None:
    gatherer = Gatherer(subscription, hook.batch_seconds, tell)
    await _unbroken(gatherer.run)
    finish()


async def _unbroken(run: Callable[[], Awaitable[None]]) -> None:
    """Run to the end, beginning anew after an exception: streaming goes on whatever a hook does."""
    while True:
        try:
            return await run()
        except Exception as error:
            if lacks_resources(error):
                warn_rarely(f"no resources for hooks: {error or 'no memory'}")
            else:
                log.exception("a hook failed and goes on in %g s", AFTER_BUG_SECONDS)
            await trio.sleep(AFTER_BUG_SECONDS)

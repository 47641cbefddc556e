"""A web service that is told: each parcel goes through the outbox, is signed, posted, and tried again.

Letters go out one at a time and in order, so that "returned" never comes before "lost"; one that fails holds up those
behind it. A service that is down is thereby asked once in five minutes, whatever waits for it. What it refuses for the
letter's own sake (4xx) is given up soon.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import random
import sqlite3
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from castd import __version__
from castd.http.post import NoAnswer, Target, post
from castd.log import warn_rarely
from castd.stats.hooks.health import Health

if TYPE_CHECKING:
    from castd.config import Hook
    from castd.stats.hooks.outbox import Letter, Outbox
    from castd.stats.hooks.parcels import Parcel

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 300.0
"""Between two tries of a letter; each pause is twice the one before it."""

MOST_TRIES = 12
"""With these pauses about 18 minutes; after an outage of an hour, three letters are lost and the rest is told."""

MOST_TRIES_REFUSED = 3
"""When the service says that it will not have this letter (RFC 9110 §15.5), or that it lives elsewhere (§15.4)."""

PASSING = (408, 425, 429)
"""Statuses of the 4xx that speak of this moment and not of the letter."""

GONE = 410
"""RFC 9110 §15.5.11: the service wants no more."""

DISK_PAUSE_SECONDS = 60.0
"""When the outbox fails: what was sent cannot be crossed out, and would be sent again and again."""

SHOWN_CHARACTERS = 200
"""Of an answer, in the log."""

_Result = TypeVar("_Result")


def pause_seconds(tries: int) -> float:
    """How long to wait after so many tries; a quarter more or less, so that not all castds come at once."""
    pause: float = min(FIRST_PAUSE_SECONDS * 2.0 ** (tries - 1), LONGEST_PAUSE_SECONDS)
    return pause * random.uniform(0.75, 1.25)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """The value of X-Castd-Signature: the HMAC-SHA256 (RFC 2104) of the timestamp, a dot, and the body."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode("utf-8", "surrogatepass"), signed, hashlib.sha256).hexdigest()


class Webhook:
    """One [[hooks]] with a URL.

    Args:
        outbox: shared with others; one thread at a time.
        limiter: of those threads.
        context: for TLS.
        pause: seconds to wait after so many tries.

    Attributes:
        health: how it goes.
    """

    def __init__(
        self,
        hook: Hook,
        outbox: Outbox,
        limiter: trio.CapacityLimiter,
        context: ssl.SSLContext,
        pause: Callable[[int], float] = pause_seconds,
    ) -> None:
        self._hook = hook
        self._target = Target.of(hook.url)
        self._outbox = outbox
        self._limiter = limiter
        self._context = context
        self._pause = pause
        self._news = trio.Event()
        self._finishing = trio.Event()
        self._gone = False
        self.health = Health()

    async def tell(self, parcel: Parcel) -> None:
        """Put a parcel into the outbox."""
        if self._gone:
            return
        try:
            dropped = await self._in_thread(partial(self._outbox.add, self._hook.url, parcel))
        except sqlite3.Error as error:
            warn_rarely(f"hook {self._target}: events are lost, they cannot be kept: {error}")
            return
        if dropped:
            warn_rarely(f"hook {self._target}: the oldest events are dropped, too many wait")
        self._news.set()

    def finish(self) -> None:
        """Nothing more will be told: `run` ends once all is delivered, or the next try fails."""
        self._finishing.set()
        self._news.set()

    async def run(self) -> None:
        """Deliver what is in the outbox for this URL."""
        while not self._gone:
            self._news = trio.Event()
            try:
                letter = await self._in_thread(partial(self._outbox.first, self._hook.url))
                pause = await self._deliver(letter) if letter else 0.0
            except sqlite3.Error as error:
                warn_rarely(f"hook {self._target}: its outbox fails: {error}")
                letter, pause = None, DISK_PAUSE_SECONDS
            if self._finishing.is_set() and (pause or letter is None):
                return
            if pause:
                with trio.move_on_after(pause):
                    await self._finishing.wait()
                    return
            elif letter is None:
                await self._news.wait()

    async def _deliver(self, letter: Letter) -> float:
        """Try once.

        Returns:
            Seconds to wait before the next try; 0 if this letter is done with.
        """
        status, trouble = await self._try(letter)
        if 200 <= status < 300:
            self.health.told += 1
            log.debug("hook %s: delivered %s (%s)", self._target, letter.id, letter.names)
            await self._in_thread(partial(self._outbox.remove, letter))
            return 0.0
        self.health.fail(trouble)
        if status == GONE:
            self._gone = True
            dropped = await self._in_thread(partial(self._outbox.forget, self._hook.url))
            log.warning("hook %s: it wants no more (410); off until the next start, %d dropped", self._target, dropped)
            return 0.0
        refused = 300 <= status < 500 and status not in PASSING
        tries = letter.tries + 1
        if tries < (MOST_TRIES_REFUSED if refused else MOST_TRIES):
            pause = self._pause(tries)
            log.warning("hook %s: %s (%s) failed: %s; try %d in %.0f s",
                        self._target, letter.id, letter.names, trouble, tries + 1, pause)  # fmt: skip
            await self._in_thread(partial(self._outbox.tried, letter))
            return pause
        log.error("hook %s: %s (%s) given up after %d tries: %s",
                  self._target, letter.id, letter.names, tries, trouble)  # fmt: skip
        await self._in_thread(partial(self._outbox.remove, letter))
        return 0.0

    async def _try(self, letter: Letter) -> tuple[int, str]:
        """Post a letter; the status of the answer, 0 for none, and what was wrong."""
        try:
            with trio.fail_after(self._hook.timeout_seconds):
                answer = await post(self._target, self._headers(letter), letter.body, self._context)
        except trio.TooSlowError:
            return 0, f"no answer in {self._hook.timeout_seconds:g} s"
        except NoAnswer as error:
            return 0, str(error)
        return answer.status, f"{answer.status} {answer.text[:SHOWN_CHARACTERS]}".rstrip()

    def _headers(self, letter: Letter) -> dict[str, str]:
        timestamp = str(int(time.time()))
        headers = {
            "User-Agent": f"castd/{__version__}",
            "Content-Type": "application/json",
            "X-Castd-Event": letter.names,
            "X-Castd-Delivery": letter.id,
            "X-Castd-Timestamp": timestamp,
        }
        if self._hook.secret:
            headers["X-Castd-Signature"] = signature(self._hook.secret, timestamp, letter.body)
        return headers

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        # Abandoned, a thread still ends before the limiter lets another in; so a disk that hangs holds up no stop.
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)

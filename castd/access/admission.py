"""Who may come in: bans, each address's share of connections, and room for those who have not asked yet.

An address is the client's (castd.access.address); a trusted proxy's own is never counted or banned.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from castd import descriptors
from castd.access.address import trust
from castd.access.crowd import Arrivals, Crowd, Waiting
from castd.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import trio

    from castd.access.bans import Bans
    from castd.config import Config, Current

RETRY_SECONDS = 5
"""When somebody who found no place may find one."""

_PHRASES = {403: "Forbidden", 429: "Too Many Requests", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody may not come in.

    Attributes:
        status: of the answer: 403, 429 or 503.
        reason: in words, for the client and the log.
        retry_seconds: 0 if there is no use in trying again.
    """

    status: int
    reason: str
    retry_seconds: int = 0

    @property
    def reply(self) -> bytes:
        """The answer to a connection whose request nobody reads."""
        retry = f"Retry-After: {self.retry_seconds}\r\n" if self.retry_seconds else ""
        head = f"HTTP/1.0 {self.status} {_PHRASES[self.status]}\r\n{retry}Connection: close\r\n"
        return f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{self.reason}\r\n".encode()

    @property
    def error(self) -> ClientError:
        """The answer to a request."""
        retry = (("Retry-After", str(self.retry_seconds)),) if self.retry_seconds else ()
        return ClientError(self.status, self.reason, retry)


class Admission:
    """Keeps count of who is here and says who may come.

    Args:
        on_limit: told the key and value of each limit that turns somebody away.

    Attributes:
        trust: in proxies.
        open: connections that have a task. A proxy's has the address of the client whose request came last.
        audience: listeners, who have no task any more.
        waiting: connections that wait for a request head, by the scope that ends them.
        arrivals: how often each address comes.
    """

    def __init__(
        self, current: Current, bans: Bans, on_limit: Callable[[str, float], None] = lambda what, limit: None
    ) -> None:
        self._current = current
        self._bans = bans
        self._on_limit = on_limit
        self.trust = trust(current.config.proxies)
        self.open = Crowd()
        self.audience = Crowd()
        self.waiting: Waiting[trio.CancelScope] = Waiting()
        self.arrivals = Arrivals()

    def prepare(self, config: Config) -> Callable[[], None]:
        """See castd.reload.Part."""
        trusted = trust(config.proxies)

        def commit() -> None:
            self.trust = trusted

        return commit

    def arrive(self, address: str, now: float) -> Refusal | None:
        """Whether a new connection from an address may stay.

        Args:
            now: monotonic seconds.
        """
        if self.trust.includes(address):
            return None
        if why := self._bans.refusal(address, "", "all"):
            return Refusal(403, why)
        most = self._current.config.limits.max_new_connections_per_minute
        if wait := self.arrivals.admit(address, most, now):
            self._on_limit("limits.max_new_connections_per_minute", most)
            return Refusal(429, "too many new connections from this address", max(1, ceil(wait)))
        return self._crowded(address)

    def wait(self, who: trio.CancelScope, address: str | None) -> None:
        """Somebody waits for a request head; whoever has no place any more is cancelled, maybe the newcomer.

        Args:
            address: None while a proxy has not said it yet.
        """
        # whoever has not asked for anything yet leaves most descriptors to those who have
        most = min(self._current.config.limits.max_unread_heads, descriptors.limit() // 2)
        for each in self.waiting.enter(who, address, most):
            self._on_limit("limits.max_unread_heads", most)
            each.cancel()

    def ask(self, who: Hashable, address: str, agent: str) -> None:
        """A request came over a connection: whose it is may be new, and what its client calls itself.

        Raises:
            ClientError: 403: banned; 429: a proxy's connection brings one client too many.
        """
        if self.open.address(who) not in (None, address):
            if refusal := self._crowded(address):
                raise refusal.error
            self.open.enter(who, address)
        if why := self._bans.refusal(address, agent, "all"):
            raise ClientError(403, why)

    def _crowded(self, address: str) -> Refusal | None:
        most = self._current.config.limits.max_connections_per_address
        if not most or self.trust.includes(address):
            return None
        if self.open.count(address) + self.audience.count(address) < most:
            return None
        self._on_limit("limits.max_connections_per_address", most)
        return Refusal(429, "too many connections from this address", RETRY_SECONDS)


FULL = Refusal(503, "too many connections wait for a request", RETRY_SECONDS)
"""For those who lost their place among the waiting."""

NO_RESOURCES = Refusal(503, "the server has no resources for another connection", RETRY_SECONDS)
"""For those at the door when descriptors are short."""

"""Looking names up (getaddrinfo(3)) without letting a name server that is silent hold anything else up.

The C library's lookup blocks a thread and cannot be cancelled: with a dead name server for half a minute and longer.
So it has threads of its own, few of them; who asks for a name that is being looked up already waits for the same
answer; and who gives up leaves a thread behind that nobody but other lookups can miss.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = 16
"""Names looked up at one time. Who asks for one more is told to try again, and does, more and more slowly."""


@dataclass(slots=True)
class _Lookup:
    """One that is at work, or has just ended.

    Attributes:
        found: as getaddrinfo gives it; empty if there is nothing.
        why: the arguments of the gaierror, then.
    """

    done: trio.Event = field(default_factory=trio.Event)
    found: list[Any] = field(default_factory=list)
    why: tuple[Any, ...] = ()


class Resolver(trio.abc.HostnameResolver):
    """Install it with `trio.socket.set_custom_hostname_resolver`; addresses in digits do not come here.

    Args:
        look_up: getaddrinfo(3), which blocks.
    """

    def __init__(self, look_up: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._at_work: dict[tuple[Any, ...], _Lookup] = {}

    def __len__(self) -> int:
        return len(self._at_work)

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """As socket.getaddrinfo; the caller sets a deadline.

        Raises:
            OSError: there is no such name, or none is looked up now.
        """
        wanted = (host, port, family, type, proto, flags)
        lookup = self._at_work.get(wanted) or self._begin(wanted)
        await lookup.done.wait()
        if not lookup.found:
            raise socket.gaierror(*lookup.why)  # for each who waits one of their own
        return lookup.found

    def _begin(self, wanted: tuple[Any, ...]) -> _Lookup:
        if len(self._at_work) >= AT_ONCE:
            raise socket.gaierror(socket.EAI_AGAIN, "too many other names are being looked up")
        lookup = self._at_work[wanted] = _Lookup()
        token = trio.lowlevel.current_trio_token()

        def deliver(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._end, wanted)

        try:
            trio.lowlevel.start_thread_soon(partial(self._work, lookup, wanted), deliver)
        except (RuntimeError, MemoryError):
            del self._at_work[wanted]
            raise socket.gaierror(socket.EAI_MEMORY, "no thread is left to look it up") from None
        return lookup

    def _work(self, lookup: _Lookup, wanted: tuple[Any, ...]) -> None:
        """In a thread."""
        try:
            lookup.found = self._look_up(*wanted)
        except OSError as error:
            lookup.why = error.args
        except Exception as error:  # a name that cannot be one: UnicodeError, ValueError
            lookup.why = (socket.EAI_NONAME, str(error))

    def _end(self, wanted: tuple[Any, ...]) -> None:
        self._at_work.pop(wanted).done.set()

    async def getnameinfo(self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int) -> tuple[str, str]:
        """Not used: nobody's address is turned into a name here."""
        raise socket.gaierror(socket.EAI_FAIL, "names of addresses are not looked up")

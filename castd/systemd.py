"""What systemd and a service tell each other: sd_notify(3), the watchdog, and passed sockets (sd_listen_fds(3)).

Both protocols are a few environment variables and one datagram socket, so no library is needed. Without the variables
nothing is said and nothing is found: castd runs the same by hand and in a container.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING

import trio

from castd.log import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

STATUS_SECONDS = 10.0
"""How often `systemctl status` learns something new, where the watchdog does not want to hear more often."""

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START: passed descriptors are numbered from here on."""

REPEAT_SECONDS = 300.0
"""Between two warnings of the same trouble."""

STOP_MARGIN_SECONDS = 10.0
"""Beyond the time for draining: closing and ending."""


class Notifier:
    """Tells the service manager how the service is.

    Args:
        environ: NOTIFY_SOCKET (a path, or @ and an abstract name), WATCHDOG_USEC and WATCHDOG_PID.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        meant_for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_usec = environ.get("WATCHDOG_USEC", "") if meant_for_us else ""
        self._watchdog_seconds = int(watchdog_usec) / 1e6 if watchdog_usec.isdecimal() else 0.0
        self._status = ""
        self._repeats = Repeats(REPEAT_SECONDS)
        # made once: the watchdog wants to hear from a server that has no descriptor left, too
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if address else None

    def ready(self) -> None:
        """Started, or done with reloading."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """The configuration is being read again; ready() follows, whether it could be used or not."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def succeeded_by(self, pid: int) -> None:
        """Another process is the service from now on; this one says nothing any more."""
        self._tell(f"MAINPID={pid}")
        self._address = ""

    def stopping(self, drain_seconds: float) -> None:
        """On the way out.

        Args:
            drain_seconds: that listeners are given; systemd waits at least so long before it kills.
        """
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round((drain_seconds + STOP_MARGIN_SECONDS) * 1e6)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; told only when it changed."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._tell(f"STATUS={line}")

    async def attend(self, status: Callable[[], str]) -> None:
        """Tell the status now and then, and the watchdog that the loop turns; ends at once if nobody listens.

        Args:
            status: makes the line, from what is true now.
        """
        if not self._address:
            return
        interval = min(STATUS_SECONDS, self._watchdog_seconds / 2 or STATUS_SECONDS)
        while self._address:
            if self._watchdog_seconds:
                self._tell("WATCHDOG=1")
            self.status(status())
            await trio.sleep(interval)

    def _tell(self, *lines: str) -> None:
        if not self._address or self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError as error:
            left_out = self._repeats.admit(str(error), time.monotonic())
            if left_out is not None:
                log.warning("the service manager did not hear %s: %s (%d times more since the last such line)",
                            lines[0], error, left_out)  # fmt: skip

    def close(self) -> None:
        """Let go of the socket: nothing is told any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def passed_descriptors(environ: Mapping[str, str]) -> list[tuple[int, str]]:
    """The sockets systemd opened for us, with their names (FileDescriptorName=, "" for none).

    Args:
        environ: LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; children inherit them, so they may be meant for another.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID", "") != str(os.getpid()) or not count.isdecimal():
        return []
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    descriptors = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return [(each, names[at] if at < len(names) else "") for at, each in enumerate(descriptors)]

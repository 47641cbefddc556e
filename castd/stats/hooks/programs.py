"""A program that is told: run once for each parcel, with nothing of castd's in its hands.

It gets the JSON on standard input, an environment made from nothing, a session and process group of its own, and a time
limit; descriptors beyond 0, 1 and 2 are closed. When it ends or its time is up, its whole group is killed, so that what
it left behind does not add up.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import trio

from castd.log import warn_rarely
from castd.stats.hooks.health import Health

if TYPE_CHECKING:
    from castd.config import Hook
    from castd.stats.hooks.parcels import Parcel

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Programs that run at one time, of all hooks together; those of one hook run one after the other."""

STALE_SECONDS = 300.0
"""A program acts in the present: of events that waited longer it is not told."""

OUTPUT_BYTES = 65_536
"""Of a program's output that are read; then its pipe is closed, and the next write gets SIGPIPE."""

OUTPUT_LINES = 100
LINE_CHARACTERS = 500
"""Of its output that are logged."""

VALUE_CHARACTERS = 4096
"""Of one variable; the whole value is in the JSON."""

LAST_SECONDS = 1.0
"""After its end for what is left in the pipe: somebody outside its group may still hold that open."""


class Program:
    """One [[hooks]] with a program.

    Args:
        limiter: of programs at one time, shared with the others.

    Attributes:
        health: how it goes.
    """

    def __init__(self, hook: Hook, limiter: trio.CapacityLimiter) -> None:
        self._hook = hook
        self._limiter = limiter
        self.health = Health()

    async def tell(self, parcel: Parcel) -> None:
        """Run the program for a parcel, from start to end."""
        async with self._limiter:
            if time.monotonic() - parcel.events[-1].at > STALE_SECONDS:
                warn_rarely(f"hook {self._hook.program} is too slow: events are dropped")
                return
            try:
                await self._run(parcel)
            except OSError as error:
                self._failed(f"cannot be run: {error.strerror or error}", parcel)

    async def _run(self, parcel: Parcel) -> None:
        stdin = _readable(parcel.body)
        try:
            process = await trio.lowlevel.open_process(
                [self._hook.program, *self._hook.args],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(parcel),
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(stdin)
        try:
            in_time = await self._attend(process)
        finally:
            _kill_group(process.pid)
            with trio.move_on_after(LAST_SECONDS, shield=True):
                await process.wait()
            if process.stdout is not None:
                await trio.aclose_forcefully(process.stdout)
        if not in_time:
            self._failed(f"killed after {self._hook.timeout_seconds:g} s", parcel)
        elif process.returncode:
            self._failed(ending(process.returncode), parcel)
        else:
            self.health.told += 1

    def _failed(self, why: str, parcel: Parcel) -> None:
        self.health.fail(why)
        log.warning("hook %s: %s (%s)", self._hook.program, why, parcel.names)

    async def _attend(self, process: trio.Process) -> bool:
        """Log what it says until it ends; False if it did not in its time."""
        assert process.stdout is not None
        ended = os.pidfd_open(process.pid)  # readable when it has, without a wait(2): it keeps its number
        try:
            return await self._attend_until(ended, process, process.stdout)
        finally:
            os.close(ended)

    async def _attend_until(self, ended: int, process: trio.Process, output: trio.abc.ReceiveStream) -> bool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._relay, output)
            with trio.move_on_after(self._hook.timeout_seconds) as limit:
                await trio.lowlevel.wait_readable(ended)
            # Before anybody has waited for it, so that its number cannot be another's yet.
            _kill_group(process.pid)
            nursery.cancel_scope.deadline = trio.current_time() + LAST_SECONDS
        return not limit.cancelled_caught

    async def _relay(self, output: trio.abc.ReceiveStream) -> None:
        """Log a program's output, a line each, up to a bound."""
        received, lines, rest = 0, 0, b""
        while received < OUTPUT_BYTES and lines < OUTPUT_LINES:
            data = await output.receive_some(OUTPUT_BYTES - received)
            if not data:
                break
            received += len(data)
            *whole, rest = (rest + data).split(b"\n")
            for line in whole[: OUTPUT_LINES - lines]:
                self._log_line(line)
            lines += len(whole)
        else:
            log.warning("hook %s: says too much, the rest is not read", self._hook.program)
            await output.aclose()
            return
        if rest:
            self._log_line(rest)

    def _log_line(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        more = "..." if len(text) > LINE_CHARACTERS else ""
        log.info("hook %s: %s%s", self._hook.program, text[:LINE_CHARACTERS], more)


def environment(parcel: Parcel) -> dict[str, str]:
    """All the variables a program gets: PATH, CASTD_EVENT, CASTD_MOUNT and, of a single event, CASTD_TIME and
    CASTD_FIELD_*."""
    mounts = {event.mount for event in parcel.events}
    variables = {
        "PATH": os.environ.get("PATH", os.defpath),
        "CASTD_EVENT": parcel.names,
        "CASTD_MOUNT": mounts.pop() if len(mounts) == 1 else "",
    }
    if not parcel.batch:
        (event,) = parcel.events
        variables["CASTD_TIME"] = event.moment
        for name, value in event.fields.items():
            variables[f"CASTD_FIELD_{name.upper()}"] = "" if value is None else str(value)
    return {name: _sendable(value) for name, value in variables.items()}


def ending(returncode: int) -> str:
    """A process's end in words."""
    if returncode > 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def _sendable(value: str) -> str:
    # An environment carries bytes, and ends each value at the first zero (execve(2)).
    return value[:VALUE_CHARACTERS].replace("\0", "").encode("utf-8", "replace").decode()


def _readable(data: bytes) -> int:
    """A descriptor from which the data can be read to its end; nobody need feed it, unlike a pipe."""
    descriptor = os.memfd_create("castd-hook", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nobody left, or it became another user

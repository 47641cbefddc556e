"""Programs under test or testing: each in a process group of its own, stopped by its id, with its output in a file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

T = TypeVar("T")

GOODBYE_SECONDS = 10.0
"""How long a program may take to end after SIGTERM before its group is killed."""

NOBODY = 65534


class Program:
    """A running program; entering starts it, leaving stops it and whatever it started.

    Args:
        command: the program and its arguments.
        output: the file that takes what it prints; standard error goes there too, unless `errors` is given.
        errors: the file for standard error.
        stdin: the file it reads; by default nothing.
        environment: added to ours.
        unprivileged: run as nobody if we are root (for programs that refuse root).
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        output: Path,
        *,
        errors: Path | None = None,
        stdin: Path | None = None,
        environment: Mapping[str, str | Path] | None = None,
        unprivileged: bool = False,
    ) -> None:
        self.command = [str(part) for part in command]
        self.output = output
        self.errors = errors or output
        self._stdin = stdin or Path(os.devnull)
        self._environment = {**os.environ, **{name: str(value) for name, value in (environment or {}).items()}}
        self._options: dict[str, Any] = {}
        if unprivileged and os.geteuid() == 0:
            self._options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}

    async def __aenter__(self) -> Self:
        with self._stdin.open("rb") as stdin, self.output.open("wb") as output, self.errors.open("ab") as errors:
            self.process = await trio.lowlevel.open_process(
                self.command,
                stdin=stdin,
                stdout=output,
                stderr=errors if self.errors != self.output else subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                **self._options,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the program and its group.

        Returns:
            Its exit status, negative for the signal that ended it.
        """
        with trio.CancelScope(shield=True):
            self._signal(how)
            with trio.move_on_after(GOODBYE_SECONDS):
                await self.process.wait()
            self._signal(signal.SIGKILL)  # what it left in its group, and itself if it is deaf
            await self.process.wait()
        return self.process.returncode or 0

    def _signal(self, signum: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, signum)
        except ProcessLookupError:
            pass

    async def wait(self) -> int:
        return await self.process.wait()

    async def accepts(self, port: int) -> bool:
        """Whether it takes connections at a port of 127.0.0.1.

        Raises:
            AssertionError: it ended.
        """
        assert self.running, self.text()
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            return False
        await trio.aclose_forcefully(stream)
        return True

    def text(self) -> str:
        """All it has printed so far."""
        printed = self.output.read_text(errors="replace")
        return printed if self.errors == self.output else printed + self.errors.read_text(errors="replace")

    async def printed(self, pattern: str, *, seconds: float = 10.0) -> re.Match[str]:
        """Wait until it prints something that matches.

        Raises:
            AssertionError: it ended, or the time was up; the message holds what it did print.
        """

        async def search() -> re.Match[str] | None:
            found = re.search(pattern, self.text(), re.MULTILINE)
            assert found or self.running, f"{self.command[0]} ended before it printed {pattern}:\n{self.text()}"
            return found

        try:
            return await until(search, seconds=seconds, what=f"{pattern} from {self.command[0]}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None


async def until(
    probe: Callable[[], Awaitable[T | None]], *, seconds: float, what: str, every_seconds: float = 0.05
) -> T:
    """Ask again and again until the answer is true.

    Args:
        probe: what to ask.
        seconds: how long at most.
        what: what is waited for, as the failure names it.

    Returns:
        The first true answer.

    Raises:
        AssertionError: the time was up.
    """
    with trio.move_on_after(seconds):
        while True:
            if answer := await probe():
                return answer
            await trio.sleep(every_seconds)
    raise AssertionError(f"not within {seconds:g} s: {what}")

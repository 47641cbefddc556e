"""The process that decodes, as the server sees it: asked one question at a time, and gone at the first fault."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, TypeVar

import msgspec
import trio

from castd.levels.messages import ANSWER_BYTES, LENGTH, Heard, read_answer, written
from castd.stats.hooks.programs import ending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from castd.levels.messages import Question

COMMAND = (sys.executable, "-P", "-m", "castd.levels")

ANSWER_SECONDS = 10.0
"""For an answer; the first one waits until the libraries are loaded, on a busy machine."""

ENDING_SECONDS = 1.0
"""Between the end of its output and its own."""

READ_BYTES = 65_536
"""Of its answers at once."""

KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
"""Of the environment: what it takes to find Python's modules and the libraries."""


Answer = TypeVar("Answer")


class ChildFailed(Exception):
    """It crashed, hung or answered nonsense, and is no more; the message completes "it ..."."""


class Child:
    """A running one; close it."""

    def __init__(self, process: trio.Process, answer_seconds: float) -> None:
        self._process = process
        self._answer_seconds = answer_seconds
        self._received = bytearray()

    @classmethod
    async def start(
        cls, command: Sequence[str | os.PathLike[str]] = COMMAND, answer_seconds: float = ANSWER_SECONDS
    ) -> Child:
        """Start one.

        Raises:
            ChildFailed: that cannot be.
        """
        try:
            process = await trio.lowlevel.open_process(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in KEPT if name in os.environ},
                start_new_session=True,  # the terminal's Ctrl-C is for the server
            )
        except OSError as error:
            raise ChildFailed(f"cannot be started: {error.strerror or error}") from None
        return cls(process, answer_seconds)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, question: Question) -> Heard:
        """Have it decode a piece, or forget a source.

        Raises:
            ChildFailed: it is no more, or must be closed.
        """
        return await self.converse(written(question), read_answer, ANSWER_BYTES)

    async def converse(self, question: bytes, read: Callable[[bytes], Answer], most_bytes: int) -> Answer:
        """Send a question of whatever language, and read the answer.

        Args:
            question: its length, and what it says.
            read: understands the answer; raises msgspec.MsgspecError if it is none.
            most_bytes: of the answer.

        Raises:
            ChildFailed: it is no more, or must be closed.
        """
        assert self._process.stdin is not None
        try:
            with trio.fail_after(self._answer_seconds):
                await self._process.stdin.send_all(question)
                (size,) = LENGTH.unpack(await self._exactly(LENGTH.size))
                if size > most_bytes:
                    raise msgspec.DecodeError
                return read(await self._exactly(size))
        except trio.TooSlowError:
            raise ChildFailed(f"did not answer for {self._answer_seconds:g} s") from None
        except trio.BrokenResourceError:
            raise ChildFailed(await self._ending()) from None
        except msgspec.MsgspecError:
            raise ChildFailed("gave an answer that is none") from None

    async def aclose(self) -> None:
        """Have it end, now. Twice does no harm."""
        with trio.CancelScope(shield=True):
            self._process.kill()
            await self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    await trio.aclose_forcefully(pipe)

    async def _exactly(self, size: int) -> bytes:
        assert self._process.stdout is not None
        while len(self._received) < size:
            data = await self._process.stdout.receive_some(READ_BYTES)
            if not data:
                raise trio.BrokenResourceError
            self._received += data
        found = bytes(self._received[:size])
        del self._received[:size]
        return found

    async def _ending(self) -> str:
        with trio.move_on_after(ENDING_SECONDS):
            await self._process.wait()
        return "closed its pipes" if self._process.returncode is None else f"ended: {ending(self._process.returncode)}"

"""The control socket: how commands on the same machine reach the running server.

A Unix stream socket in the state directory. One JSON object a line asks, one answers; only root and the server's own
user are heard (unix(7), SO_PEERCRED), so there is no password to keep.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from castd.errors import ConfigError

log = logging.getLogger(__name__)

FILE_NAME = "control.sock"

LINE_BYTES = 65_536
"""The longest question."""

PATIENCE_SECONDS = 10.0
"""For a question to arrive and its answer to leave, beside the time the work takes."""

MAX_CLIENTS = 10
"""At once; more wait."""

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class ControlSocket:
    """The server's end.

    Args:
        folder: the state directory.
        handlers: by the question's "do"; each is given the question and returns the answer, or raises ConfigError.
        succeeds: another process had the socket until now, and may not be quite gone.
    """

    def __init__(self, folder: Path, handlers: dict[str, Handler], *, succeeds: bool = False) -> None:
        self._folder = folder
        self._handlers = handlers
        self._succeeds = succeeds
        self._left = False
        self._answering = 0
        self._answered = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled. A server that cannot have its socket runs without, with a warning."""
        try:
            sock = _bind(self._folder, succeeds=self._succeeds)
        except OSError as error:
            log.warning("%s: no control socket: %s; castd reload will not reach this server",
                        self._folder / FILE_NAME, error)  # fmt: skip
            task_status.started()
            return
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                await self._accept(listener, nursery)
        finally:
            sock.close()
            if not self._left:
                (self._folder / FILE_NAME).unlink(missing_ok=True)

    def leave(self) -> None:
        """Another process answers from now on: its socket has our name."""
        self._left = True

    async def finish(self) -> None:
        """Wait until whoever asked has the answer."""
        with trio.move_on_after(PATIENCE_SECONDS):
            while self._answering:
                self._answered = trio.Event()
                await self._answered.wait()

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        room = trio.CapacityLimiter(MAX_CLIENTS)
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                log.warning("control socket: %s", error)
                await trio.sleep(1)
                continue
            nursery.start_soon(self._serve, stream, room)

    async def _serve(self, stream: trio.SocketStream, room: trio.CapacityLimiter) -> None:
        pid, uid = peer(stream.socket)
        async with stream, room:
            self._answering += 1
            try:
                if uid not in (0, os.geteuid()):
                    log.warning("control socket: process %d of user %d is not heard", pid, uid)
                    return
                with trio.fail_after(PATIENCE_SECONDS):
                    line = await _receive_line(stream)
                answer = await self._answer(line, f"process {pid}")
                with trio.fail_after(PATIENCE_SECONDS):
                    await stream.send_all(json.dumps(answer).encode() + b"\n")
            except (trio.TooSlowError, trio.BrokenResourceError):
                log.info("control socket: process %d left", pid)
            except Exception:  # the edge: a bug must not cost more than its command
                log.exception("control socket: a command failed")
            finally:
                self._answering -= 1
                self._answered.set()

    async def _answer(self, line: bytes, by: str) -> dict[str, Any]:
        try:
            question = json.loads(line)
            handler = self._handlers[question["do"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"error": f"not understood; known are {', '.join(self._handlers)}"}
        try:
            return await handler(question | {"by": by})
        except ConfigError as error:
            return {"error": str(error)}


def ask(folder: Path, question: dict[str, Any], seconds: float = 60.0) -> dict[str, Any]:
    """Ask the server whose state directory this is. Blocks.

    Returns:
        Its answer; with "error" if it refused.

    Raises:
        OSError: none answers there.
    """
    with socket.socket(socket.AF_UNIX) as sock, _short(folder) as path:
        sock.settimeout(seconds)
        sock.connect(path)
        sock.sendall(json.dumps(question).encode() + b"\n")
        with sock.makefile("rb") as answers:
            line = answers.readline()
    if not line:
        raise ConnectionResetError("the server hung up: it hears only root and its own user")
    answer: dict[str, Any] = json.loads(line)
    return answer


def peer(sock: trio.socket.SocketType | socket.socket) -> tuple[int, int]:
    """Process and user at the other end of a Unix socket."""
    pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


def _bind(folder: Path, *, succeeds: bool) -> socket.socket:
    """A listening socket under the name, unless a living server has it that this one does not succeed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    try:
        with _short(folder) as path:
            with socket.socket(socket.AF_UNIX) as there:
                try:
                    there.connect(path)
                except OSError:  # nobody, or the socket of a server that has died
                    (folder / FILE_NAME).unlink(missing_ok=True)
                else:
                    if not succeeds:
                        raise OSError(f"process {peer(there)[0]} has this state directory")
                    (folder / FILE_NAME).unlink()
            sock.bind(path)
        (folder / FILE_NAME).chmod(0o600)
        sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A name of the socket that fits the 108 bytes of sockaddr_un wherever the directory is."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{FILE_NAME}"
    finally:
        os.close(descriptor)


async def _receive_line(stream: trio.SocketStream) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < LINE_BYTES:
        data = await stream.receive_some(LINE_BYTES)
        if not data:
            break
        line += data
    return line

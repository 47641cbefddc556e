"""Pipes that nobody reads: standard output and error from the start, and a client of the control socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.remote import Remote
from tests.e2e.server import Castd
from tests.support import head

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e]


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that has no room for another byte."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)  # as a service manager gives it
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


class Unread(Castd):
    """A castd whose output nobody reads."""

    def __init__(self, folder: Path, port: int, output: int) -> None:
        super().__init__(folder, port=port)
        self.address = f"http://127.0.0.1:{port}"
        self._output = output

    def start(self) -> None:
        command = [sys.executable, "-P", "-m", "castd", "run", "-c", str(self.config)]
        self.process = subprocess.Popen(command, stdout=self._output, stderr=self._output)

    @property
    def pid(self) -> int:
        return self.process.pid


async def test_an_output_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with full_pipe() as (reader, writer):
        castd = Unread(tmp_path, port, writer)
        castd.start()
        try:
            async with Remote(castd) as remote:
                with trio.fail_after(20):
                    while True:
                        with suppress(OSError):
                            await remote.stream()
                            break
                        await trio.sleep(0.1)
                async with remote.canary():
                    for _ in range(50):
                        assert (await remote.ask(head("GET", "/nothing"))).status == 404
                os.set_blocking(reader, False)
                with suppress(BlockingIOError):
                    while os.read(reader, 65536):
                        pass
                assert (await remote.ask(head("GET", "/nothing"))).status == 404
                told = os.read(reader, 65536).decode()
                assert "messages were lost" in told, "once there is room the log goes on, and says so"
                castd.process.send_signal(signal.SIGTERM)
                assert await trio.to_thread.run_sync(castd.process.wait, 10) == 0
        finally:
            castd.process.kill()
            castd.process.wait()


async def test_clients_of_the_control_socket_that_neither_ask_nor_read(tmp_path: Path) -> None:
    async with Castd(tmp_path) as castd, Remote(castd) as remote, remote.canary():
        path = str(tmp_path / "state" / "control.sock")
        clients = []
        for number in range(8):
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            if number % 2:
                client.sendall(json.dumps({"do": "reload", "trial": True}).encode() + b"\n")
            clients.append(client)
        done = await castd.command("reload")
        assert done.returncode == 0, done.stderr
        for client in clients:
            client.close()

"""A hand-over that does not come about: the old process goes on, and nobody notices."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from castd.app import Server
from castd.config.model import Server as ServerSettings
from castd.control import ask
from castd.upgrade import giving
from castd.upgrade.channel import Channel
from castd.upgrade.messages import FORMAT, Ready
from castd.upgrade.taking import VARIABLE
from tests.support import SECRETS, Serving, configured, frames, until

NEW = """
import os, socket, sys, time
from castd.upgrade.channel import Channel, ChannelError
from castd.upgrade.messages import *
from castd.upgrade.taking import VARIABLE
channel = Channel(socket.socket(fileno=int(os.environ[VARIABLE])), 5)
"""
READY = f"channel.send(Ready({FORMAT}, '9', PARSERS, BODIES))\n"
TO_THE_END = "while not isinstance(channel.receive(Told)[0], End): pass\n"

FAILURES = {
    "it ends at once": ("sys.exit(1)", "hung up"),
    "it is killed": (NEW + "os.kill(os.getpid(), 9)", "hung up"),
    "it cannot read its configuration": (NEW + "channel.send(Refused('no such file'))", "refused: no such file"),
    "it is of another time": (NEW + f"channel.send(Ready({FORMAT + 1}, '9', '', ''))\ntime.sleep(9)", "only a restart"),
    "it talks nonsense": (NEW + "channel._sock.sendall(b'HTTP/1.1 200 OK')", "sent too much"),
    "it dies before it hears a word": (NEW + READY, "was not reached|hung up|did not answer"),
    "it dies in the middle": (
        NEW + READY + "channel.receive(Start); channel.receive(MountTold)",
        "reached|hung|answer",
    ),
    "it dies at the end": (NEW + READY + TO_THE_END, "hung up"),
    "it never takes it": (NEW + READY + TO_THE_END + "time.sleep(60)", "timed out"),
    "it refuses what it heard": (NEW + READY + TO_THE_END + "channel.send(Refused('not me'))", "refused: not me"),
}


@asynccontextmanager
async def startable(folder: Path, *command: str) -> AsyncIterator[Serving]:
    """A server that starts another with a command."""
    server = Server(configured(server=ServerSettings(state_dir=str(folder))), SECRETS, command=command)
    urls: list[str] = []
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run, urls.extend)
            await until(lambda: bool(urls))
            made = Serving(server, int(urls[0].rpartition(":")[2]))
            try:
                yield made
            finally:
                nursery.cancel_scope.cancel()
                for stream in made.streams:
                    stream.socket.close()


async def upgrade(folder: Path) -> str:
    """Why it was not handed over."""
    answer = await trio.to_thread.run_sync(ask, folder, {"do": "upgrade"})
    return str(answer["error"])


@pytest.mark.parametrize("failure", FAILURES)
async def test_the_old_process_goes_on(failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, why = FAILURES[failure]
    monkeypatch.setattr(giving, "TRANSFER_SECONDS", 0.5)
    async with startable(tmp_path, sys.executable, "-c", "import sys\n" + script) as castd:
        encoder = await castd.encoder("/live")
        await encoder.push(20)
        await until(lambda: castd.ring("/live") != b"")
        ear = await castd.ear("/live")
        idle = await castd.connect()
        await idle.send(b"GET /healthz HTTP/1.1\r\nHos")
        assert re.search(why, await upgrade(tmp_path))
        await encoder.push(21)  # a frame is known to be whole when the next begins
        assert await ear.exactly(40 * 417) == frames(0, 40)
        await idle.send(b"t: x\r\n\r\n")
        assert (await idle.reply()).status == 200
        assert len(castd.mount("/live").listeners) == 1
        assert (await castd.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200  # accepted anew


async def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    async with startable(tmp_path, "/nowhere/castd") as _:
        assert await upgrade(tmp_path) == "cannot start /nowhere/castd: No such file or directory"


async def test_a_server_that_knows_no_command(tmp_path: Path) -> None:
    async with startable(tmp_path) as _:
        assert "was not started by the castd command" in await upgrade(tmp_path)


async def test_process_1_is_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with startable(tmp_path, "true") as _:
        monkeypatch.setattr(os, "getpid", lambda: 1)
        assert "restart that instead" in await upgrade(tmp_path)


async def test_two_at_once(tmp_path: Path) -> None:
    script = NEW + "time.sleep(0.5)\nchannel.send(Refused('slowly'))"
    async with startable(tmp_path, sys.executable, "-c", script) as _, trio.open_nursery() as nursery:
        answers: list[str] = []

        async def ask_once() -> None:
            answers.append(await upgrade(tmp_path))

        nursery.start_soon(ask_once)
        await trio.sleep(0.1)
        nursery.start_soon(ask_once)
        await until(lambda: len(answers) == 2)
        assert answers == [
            "the server is being handed over, or stopping, already", "the new process refused: slowly",
        ]  # fmt: skip


def test_a_new_process_whose_predecessor_is_gone_says_so(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    config = tmp_path / "castd.toml"
    config.write_text(f'[server]\nstate_dir = "{tmp_path}/state"\n[[listen]]\nhost = "127.0.0.1"\nport = 0\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "castd", "run", "-c", config],
        pass_fds=[theirs.fileno()], env={**os.environ, VARIABLE: str(theirs.fileno())},
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    theirs.close()
    channel = Channel(ours, 20)
    assert channel.receive(Ready)[0].format == FORMAT
    channel.close()
    _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "castd: nothing to take over: the old process hung up" in said
    assert "Traceback" not in said

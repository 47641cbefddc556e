"""The servers under test, and what a test asks of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote, urlsplit

import trio

from tests.e2e.client import get
from tests.e2e.program import GOODBYE_SECONDS, Program, until

SOURCE_PASSWORD = "s0urce-secret"
ADMIN_PASSWORD = "adm1n-secret"

LISTEN = """\
[[listen]]
host = "127.0.0.1"
port = {port}"""

READY_SECONDS = 20.0
"""How long a server may take from its start to its first line."""


class Server(Protocol):
    """A server that runs, on a free port of loopback.

    Attributes:
        address: http://127.0.0.1:PORT, nothing after the port.
    """

    @property
    def address(self) -> str: ...


def source_url(server: Server, mount: str, scheme: str = "icecast") -> str:
    """Where an encoder sends to, with its credentials."""
    return f"{scheme}://source:{SOURCE_PASSWORD}@{urlsplit(server.address).netloc}{mount}"


async def status(server: Server, mount: str) -> dict[str, Any] | None:
    """What /status-json.xsl tells of a mount; None while the mount is not live."""
    reply = await get(f"{server.address}/status-json.xsl")
    assert reply.status == 200, reply
    sources = json.loads(reply.body)["icestats"].get("source", [])
    for source in sources if isinstance(sources, list) else [sources]:
        if urlsplit(source["listenurl"]).path == mount:
            return dict(source)
    return None


async def live(server: Server, mount: str, *, seconds: float = 20.0) -> None:
    """Wait for a mount's source."""

    async def probe() -> bool:
        return await status(server, mount) is not None

    await until(probe, seconds=seconds, what=f"a source on {mount}")


async def set_title(server: Server, mount: str, title: str) -> None:
    """Tell the server what is playing, as encoders do."""
    query = f"mount={quote(mount)}&mode=updinfo&charset=UTF-8&song={quote(title)}"
    reply = await get(f"{server.address}/admin/metadata?{query}", ("source", SOURCE_PASSWORD))
    assert reply.status == 200, reply


async def kill_source(server: Server, mount: str) -> None:
    """Cut a source off, as an operator does."""
    reply = await get(f"{server.address}/admin/killsource?mount={quote(mount)}", ("admin", ADMIN_PASSWORD))
    assert reply.status == 200, reply


class Castd:
    """castd as its users start it; leaving it, it has to end by itself, without an error in its log.

    Args:
        folder: takes the configuration, the state and the logs.
        settings: lines of TOML added to the configuration.
        listen: lines of TOML added to its [[listen]].
        port: of that; None leaves [[listen]] to the settings.
        limits: lines of TOML added to [limits].
        tree: of the castd to run, if it is not this one; it may be a symbolic link.
        prefix: of its command, such as another that runs it elsewhere and is replaced by it.
        environment: added to ours.
    """

    def __init__(
        self,
        folder: Path,
        settings: str = "",
        listen: str = "",
        port: int | None = 0,
        limits: str = "",
        tree: Path | None = None,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        config = folder / "castd.toml"
        config.write_text(
            f"""\
[server]
state_dir = "{folder / "state"}"

{"" if port is None else LISTEN.format(port=port)}
{listen}

[auth]
relay_password = "{SOURCE_PASSWORD}"
source_password = "{SOURCE_PASSWORD}"
admin_password = "{ADMIN_PASSWORD}"

[limits]
drain_seconds = 2
{limits}

{settings}
""",
            encoding="utf-8",
        )
        config.chmod(0o600)
        self.config = config
        self._successor = 0
        self._python = [sys.executable, "-P", "-m", "castd"]  # -P: not the castd of the current directory
        self._program = Program(
            [*prefix, *self._python, "run", "-c", config],
            folder / "castd.out",
            errors=folder / "castd.log",
            environment={"PYTHONUNBUFFERED": "1", **({"PYTHONPATH": tree} if tree else {}), **(environment or {})},
        )
        self.address = ""

    async def __aenter__(self) -> Self:
        await self._program.__aenter__()
        try:
            self.address = await self._announced_address()
        except BaseException:
            await self._program.stop()
            raise
        return self

    @property
    def pid(self) -> int:
        """Of the process that serves now."""
        return self._successor or self._program.process.pid

    async def upgrade(self) -> str:
        """Have a new process go on with everything, as its operator does.

        Returns:
            What the command printed.
        """
        done = await self.command("upgrade")
        said = done.stdout.decode()
        assert done.returncode == 0, said + done.stderr.decode() + self.log()
        match = re.search(r"process (\d+) goes on", said)
        assert match, said
        before, self._successor = self.pid, int(match[1])
        await until(partial(gone, before), seconds=10, what=f"process {before} to end")
        return said

    async def command(self, name: str) -> subprocess.CompletedProcess[bytes]:
        """A command of castd with the configuration of this one."""
        command = [*self._python, name, "-c", str(self.config)]
        return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)

    async def _end_successor(self) -> None:
        """It is not our child: nobody tells us its exit status, but its log does."""
        os.kill(self._successor, signal.SIGTERM)
        await until(partial(gone, self._successor), seconds=GOODBYE_SECONDS, what="the end of the successor")

    @property
    def addresses(self) -> list[str]:
        """Where all its [[listen]] are, in their order."""
        return list(dict.fromkeys(re.findall(r"http://127\.0\.0\.1:\d+", self.log())))

    async def _announced_address(self) -> str:
        """Where it listens: what it prints once it does, since the port was the system's choice."""
        return (await self._program.printed(r"http://127\.0\.0\.1:\d+", seconds=READY_SECONDS)).group()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._successor:
            with trio.CancelScope(shield=True), suppress(ProcessLookupError):
                await self._end_successor()
        exit_status = await self._program.stop()
        log = self.log()
        if error is not None and not isinstance(error, trio.Cancelled):
            print(log)  # pytest shows it beside the failure
            return
        assert exit_status == 0, f"castd ended with {exit_status}:\n{log}"
        assert "Traceback" not in log, log

    def log(self) -> str:
        return self._program.text()


def _has_ended(pid: int) -> bool:
    """A process has ended; one that nobody has waited for has, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def gone(pid: int) -> bool:
    """A process has ended."""
    return _has_ended(pid)

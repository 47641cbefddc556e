"""butt (Broadcast Using This Tool), driven as its users do, but without a screen or a microphone."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import trio

from tests.e2e.peers.icecast import free_port
from tests.e2e.program import Program, until
from tests.e2e.server import SOURCE_PASSWORD, Server

PROGRAMS = ("butt", "Xvfb", "pulseaudio", "pactl")
"""What a test with butt needs installed."""

CONFIG = """\
[main]
server = lab
icy = station
num_of_srv = 1
num_of_icy = 1
srv_ent = lab
icy_ent = station
song_update = 0
app_update = 0
check_for_update = 0
gain = 1.0
start_agent = 0
minimize_to_tray = 0
connect_at_startup = 0
force_reconnecting = 1
reconnect_delay = 1
[audio]
device = default
samplerate = {hertz}
bitrate = 128
channel = 2
codec = {codec}
resample_mode = 1
buffer_ms = 50
[record]
samplerate = {hertz}
bitrate = 128
channel = 2
codec = mp3
filename = rec.mp3
folder = {folder}/
[lab]
address = {host}
port = {port}
password = {password}
type = {type}
tls = 0
cert_hash =
mount = {mount}
usr = source
[station]
pub = 0
genre = Lab
url = http://example.net/
description = butt station é
irc =
icq =
aim =
"""

ASOUNDRC = """\
pcm.!default { type pulse device "hum.monitor" hint { show on description "pulse" } }
ctl.!default { type pulse }
"""


class Desktop:
    """A screen nobody sees and a sound server whose microphone hums at 440 Hz.

    Args:
        folder: the home of what runs there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environment: dict[str, str | Path] = {
            "HOME": folder,
            "XDG_RUNTIME_DIR": folder,
            "XDG_CONFIG_HOME": folder,
            "PULSE_SERVER": f"unix:{folder}/pulse.socket",
            "LC_ALL": "C.UTF-8",
        }
        screen = ["-screen", "0", "1024x768x24", "-nolisten", "tcp"]
        self._screen = Program(["Xvfb", "-displayfd", "1", *screen], folder / "xvfb.out", errors=folder / "xvfb.log")
        modules = (
            f"module-native-protocol-unix auth-anonymous=1 socket={folder}/pulse.socket",
            "module-null-sink sink_name=hum rate=44100",
            "module-sine sink=hum frequency=440",  # module-sine-source lost half of what butt recorded
        )
        load = [argument for module in modules for argument in ("-L", module)]
        self._sound = Program(
            ["pulseaudio", "--daemonize=no", "--exit-idle-time=-1", "-n", *load],
            folder / "pulse.log",
            environment=self.environment,
        )

    async def __aenter__(self) -> Self:
        self._folder.mkdir(mode=0o700)
        (self._folder / ".asoundrc").write_text(ASOUNDRC)
        await self._screen.__aenter__()
        await self._sound.__aenter__()
        try:
            display = await self._screen.printed(r"^\d+$", seconds=20)
            self.environment["DISPLAY"] = f":{display.group()}"
            await until(self._hums, seconds=20, what="the sound server")
        except BaseException:
            await self._stop()
            raise
        return self

    async def _hums(self) -> bool:
        async with Program(["pactl", "info"], self._folder / "pactl.log", environment=self.environment) as pactl:
            return await pactl.wait() == 0

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await self._sound.stop()
        await self._screen.stop()


class Butt:
    """A butt that has been told to connect.

    Args:
        codec: "mp3", "ogg" (Vorbis), "opus" or "flac".
        mount: "" makes it speak SHOUTcast, which has none; the stream goes to the port after the server's then.
    """

    def __init__(self, desktop: Desktop, codec: str, server: Server, mount: str, folder: Path) -> None:
        folder.mkdir()
        address = urlsplit(server.address)
        config = folder / "butt.cfg"
        config.write_text(
            CONFIG.format(
                codec=codec,
                hertz=48000 if codec == "opus" else 44100,
                folder=folder,
                host=address.hostname,
                port=address.port,
                password=SOURCE_PASSWORD,
                mount=mount.removeprefix("/"),
                type=int(bool(mount)),
            ),
            encoding="utf-8",
        )
        self._desktop = desktop
        self._port = str(free_port())
        self._control_log = folder / "control.log"
        self._config = config
        self._log = folder / "butt.log"

    async def __aenter__(self) -> Self:
        command = ["butt", "-c", str(self._config), "-p", self._port]
        self._program = Program(command, self._log, environment=self._desktop.environment)
        await self._program.__aenter__()
        try:
            await self._program.printed("Command server listening", seconds=30)
            await self._control("-s", "lab")
        except BaseException:
            await self._program.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._program.stop()

    async def _control(self, *arguments: str) -> str:
        command = ["butt", "-a", "127.0.0.1", "-p", self._port, *arguments]
        with trio.fail_after(15):
            async with Program(command, self._control_log, environment=self._desktop.environment) as control:
                await control.wait()
                return control.text()

    async def set_title(self, title: str) -> None:
        await self._control("-u", title)

    async def status(self) -> dict[str, str]:
        """What it says of itself: "connected" ("1"), "stream kBytes" and so on."""
        lines = (await self._control("-S")).splitlines()
        return {name.strip(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}

    async def disconnect(self) -> None:
        await self._control("-d")

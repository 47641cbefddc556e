"""Players, each made to write what it plays into a WAV file, so that what it decoded can be measured."""

from __future__ import annotations

import os
import signal
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.program import Program, until


@dataclass(frozen=True, slots=True)
class Player:
    """A player.

    Attributes:
        program: its name.
        formats: the names of the formats it plays.
        command: its arguments, given the URL and the WAV file to write.
        unprivileged: it refuses to run as root.
    """

    program: str
    formats: tuple[str, ...]
    command: Callable[[str, str], list[str]]
    unprivileged: bool = False


EVERY_FORMAT = ("mp3", "mp3-vbr", "aac", "vorbis", "opus", "flac")

VLC_CACHE = ("--network-caching=2500",)
"""In ms; VLC drops sound that comes later than its cache holds, and ffmpeg sends Ogg pages of a second."""

PLAYERS = (
    Player("ffmpeg", EVERY_FORMAT, lambda url, wav: ["-nostdin", "-v", "error", "-i", url, "-flush_packets", "1", wav]),
    Player(
        "mpv",
        EVERY_FORMAT,
        lambda url, wav: ["--no-config", "--no-terminal", "--no-video", "--ao=pcm", f"--ao-pcm-file={wav}", url],
    ),
    Player(
        "cvlc",
        EVERY_FORMAT,
        lambda url, wav: ["-I", "dummy", "--no-video", *VLC_CACHE, "--aout=afile", f"--audiofile-file={wav}", url],
        unprivileged=True,
    ),
    Player("mpg123", ("mp3", "mp3-vbr"), lambda url, wav: ["-q", "-w", wav, url]),
    Player("ogg123", ("vorbis",), lambda url, wav: ["-q", "-d", "wav", "-f", wav, url]),
    Player(
        "gst-launch-1.0",
        EVERY_FORMAT,
        lambda url, wav: [
            *("-q", "souphttpsrc", f"location={url}", "iradio-mode=true", "!", "decodebin", "!", "audioconvert"),
            *("!", "audio/x-raw,format=S16LE", "!", "wavenc", "!", "filesink", "buffer-mode=unbuffered"),
            f"location={wav}",
        ],
    ),
)


async def play(player: Player, url: str, log: Path, seconds: float, within_seconds: float) -> None:
    """Let a player listen.

    Args:
        seconds: of sound it has to decode.
        within_seconds: how long it may take.

    Raises:
        AssertionError: it did not.
    """
    with tempfile.TemporaryDirectory(prefix="castd-player.") as folder:
        os.chmod(folder, 0o777)  # for a player that runs as nobody
        wav = Path(folder) / "heard.wav"
        program = Program(
            [player.program, *player.command(url, str(wav))],
            log,
            environment={"HOME": folder, "XDG_RUNTIME_DIR": folder},
            unprivileged=player.unprivileged,
        )
        async with program:

            async def heard() -> bool:
                assert wav_seconds(wav) >= seconds or program.running, f"{player.program} ended:\n{program.text()}"
                return wav_seconds(wav) >= seconds

            what = f"{player.program} to decode {seconds:g} s of {url}"
            try:
                await until(heard, seconds=within_seconds, what=what, every_seconds=0.1)
            except AssertionError as error:
                raise AssertionError(f"{error} (it has {wav_seconds(wav):.2f} s)\n{program.text()}") from None
            await program.stop(signal.SIGINT)


def wav_seconds(path: Path) -> float:
    """How much sound a WAV file holds that is still being written: by its length, its header does not know yet."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0.0
    form, start = data.find(b"fmt "), data.find(b"data")
    if form < 0 or start < 0:
        return 0.0
    (bytes_per_second,) = struct.unpack_from("<I", data, form + 16)
    return float((len(data) - start - 8) / bytes_per_second)

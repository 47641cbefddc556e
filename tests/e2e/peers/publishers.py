"""Encoders that read a configuration of their own, ices2, ezstream, darkice and liquidsoap; and oggfwd, for pipes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from tests.e2e.program import Program
from tests.e2e.server import SOURCE_PASSWORD, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.media import Media

FIXTURES = Path(__file__).parents[2] / "fixtures"

NAME = "Lab é"

SONG = ("Lab Ärtist", "Söng 1")
"""What those are told to play that are told a title."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """An encoder.

    Attributes:
        program: its name.
        mount: what it feeds.
        start: makes the program that sends, given the media, the server and a folder of its own.
        title: what its listeners see; "" if it sends none.
        silent: it sends silence, since it records from nothing.
    """

    program: str
    mount: str
    start: Callable[[Mapping[str, Media], Server, Path], Program]
    title: str = ""
    silent: bool = False


def _place(server: Server) -> tuple[str, int]:
    address = urlsplit(server.address)
    return str(address.hostname), int(address.port or 0)


def _ices2(media: Mapping[str, Media], server: Server, folder: Path) -> Program:
    host, port = _place(server)
    files = [folder / "one.ogg", folder / "two.ogg"]  # over and over, each a link of a chain; one alone would end it
    for file in files:
        shutil.copy(FIXTURES / "vorbis.ogg", file)
    (folder / "list").write_text("".join(f"{file}\n" for file in files))
    config = folder / "ices.xml"
    config.write_text(
        f"<ices><background>0</background><logpath>{folder}</logpath><logfile>ices.log</logfile><loglevel>4</loglevel>"
        f"<consolelog>1</consolelog><stream><metadata><name>{NAME}</name><genre>g</genre><description>d</description>"
        f'</metadata><input><module>playlist</module><param name="type">basic</param><param name="file">{folder}/list'
        '</param><param name="random">0</param></input>'
        f"<instance><hostname>{host}</hostname><port>{port}</port><username>source</username>"
        f"<password>{escape(SOURCE_PASSWORD)}</password><mount>/ices2</mount></instance></stream></ices>"
    )
    return Program(["ices2", config], folder / "output")


def _ezstream(media: Mapping[str, Media], server: Server, folder: Path) -> Program:
    host, port = _place(server)
    config = folder / "ezstream.xml"
    config.write_text(
        "<ezstream><servers><server><name>default</name><protocol>HTTP</protocol>"
        f"<hostname>{host}</hostname><port>{port}</port><user>source</user>"
        f"<password>{escape(SOURCE_PASSWORD)}</password><tls>none</tls></server></servers>"
        "<streams><stream><name>default</name><server>default</server><intake>default</intake><mountpoint>/ezstream</mountpoint>"
        f"<format>MP3</format><stream_name>{NAME}</stream_name></stream></streams>"
        f"<intakes><intake><name>default</name><type>file</type><filename>{media['mp3'].path}</filename></intake></intakes>"
        "</ezstream>",
        encoding="utf-8",
    )
    config.chmod(0o600)
    return Program(["ezstream", "-c", config], folder / "output")


def _darkice(media: Mapping[str, Media], server: Server, folder: Path) -> Program:
    host, port = _place(server)
    config = folder / "darkice.cfg"
    config.write_text(
        "[general]\nduration = 0\nbufferSecs = 1\nreconnect = no\nrealtime = no\n"
        "[input]\ndevice = null\nsampleRate = 44100\nbitsPerSample = 16\nchannel = 2\n"
        "[icecast2-0]\nbitrateMode = cbr\nformat = mp3\nbitrate = 128\n"
        f"server = {host}\nport = {port}\npassword = {SOURCE_PASSWORD}\n"
        f"mountPoint = darkice\nname = {NAME}\npublic = no\n",
        encoding="utf-8",
    )
    return Program(["darkice", "-c", config], folder / "output")


def _liquidsoap(media: Mapping[str, Media], server: Server, folder: Path) -> Program:
    host, port = _place(server)
    script = folder / "radio.liq"
    artist, title = SONG
    script.write_text(
        "settings.init.allow_root.set(true)\nsettings.log.stdout.set(true)\nsettings.log.file.set(false)\n"
        "s = insert_metadata(sine(440.))\n"
        f'output.icecast(%mp3(bitrate=128), host="{host}", port={port}, password="{SOURCE_PASSWORD}", '
        f'user="source", mount="liquidsoap", name="{NAME}", mksafe(s))\n'
        f'thread.run(delay=4., every=2., {{ s.insert_metadata([("artist","{artist}"),("title","{title}")]) }})\n',
        encoding="utf-8",
    )
    private = {"HOME": folder, "XDG_CACHE_HOME": folder}
    return Program(["liquidsoap", script], folder / "output", environment=private)


def _oggfwd(media: Mapping[str, Media], server: Server, folder: Path) -> Program:
    host, port = _place(server)
    path = media["vorbis"].path
    pipe = f"ffmpeg -nostdin -v error -re -i '{path}' -c copy -f ogg pipe:1 | "
    return Program(
        ["sh", "-c", f"{pipe} exec oggfwd -n x {host} {port} '{SOURCE_PASSWORD}' /oggfwd"], folder / "output"
    )


PUBLISHERS = (
    Publisher("ices2", "/ices2", _ices2, title="Sweep"),
    Publisher("ezstream", "/ezstream", _ezstream, title="Tone é ü"),
    Publisher("darkice", "/darkice", _darkice, silent=True),
    Publisher("liquidsoap", "/liquidsoap", _liquidsoap, title=SONG[1]),
    Publisher("oggfwd", "/oggfwd", _oggfwd),
)

"""libshout, by its own tool `shout` and by GStreamer's shout2send."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.e2e.program import Program
from tests.e2e.server import SOURCE_PASSWORD, Server

if TYPE_CHECKING:
    from tests.e2e.media import Media


def shout(media: Media, server: Server, mount: str, log: Path) -> Program:
    """`shout` sending a file to a mount, paced by libshout."""
    address = urlsplit(server.address)
    where = ["--host", str(address.hostname), "--port", str(address.port), "--mount", mount]
    who = ["--user", "source", "--pass", SOURCE_PASSWORD]
    what = ["--proto", "http", "--usage", "audio", "--format", media.format.container, "--station-name", "Lab é"]
    return Program(["shout", *where, *who, *what], log, stdin=media.path)


def shout2send(server: Server, mount: str, title: str, log: Path) -> Program:
    """GStreamer sending a tone as MP3, with a title it tells libshout."""
    address = urlsplit(server.address)
    tone = ["audiotestsrc", "is-live=true", "!", "audio/x-raw,rate=44100,channels=2", "!", "audioconvert"]
    encode = [
        "taginject",
        f'tags="title=\\"{title}\\""',
        "!",
        "lamemp3enc",
        "target=bitrate",
        "bitrate=128",
        "cbr=true",
    ]
    send = ["shout2send", f"ip={address.hostname}", f"port={address.port}", f"mount={mount}", "username=source"]
    send += [f"password={SOURCE_PASSWORD}", "streamname=Lab é"]
    return Program(["gst-launch-1.0", "-q", *tone, "!", *encode, "!", *send], log)

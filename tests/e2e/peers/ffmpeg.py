"""ffmpeg as an encoder: it sends a file as it is, at the speed of sound, in each of the ways ffmpeg can."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.program import Program
from tests.e2e.server import Server, source_url

if TYPE_CHECKING:
    from tests.e2e.media import Media


class Method(StrEnum):
    """How it sends: PUT without a length, the SOURCE of old, PUT in chunks."""

    PUT = "put"
    SOURCE = "source"
    CHUNKED = "chunked"


def publish(
    media: Media, server: Server, mount: str, log: Path, method: Method = Method.PUT, *, again: bool = False
) -> Program:
    """An ffmpeg that sends a file to a mount, once or again and again, to be entered."""
    match method:
        case Method.PUT:
            target = ["-ice_name", "Lab é", source_url(server, mount)]
        case Method.SOURCE:
            target = ["-ice_name", "Lab é", "-legacy_icecast", "1", source_url(server, mount)]
        case Method.CHUNKED:
            target = ["-method", "PUT", "-auth_type", "basic", source_url(server, mount, "http")]
    loop = ["-stream_loop", "-1"] if again else []
    copy = ["-re", *loop, "-i", str(media.path), "-map", "0:a", "-c", "copy", "-flush_packets", "1"]
    form = ["-f", media.format.container, "-content_type", media.format.content_type]
    return Program(["ffmpeg", "-nostdin", "-hide_banner", "-v", "warning", *copy, *form, *target], log)

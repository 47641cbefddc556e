"""Players that jump about in a static file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from tests.e2e.media import FLAC, MP3, VORBIS, Media
from tests.e2e.server import Castd

pytestmark = [pytest.mark.e2e, pytest.mark.needs("ffmpeg")]


async def heard(source: str | Path) -> tuple[bytes, str]:
    """Three seconds from the fortieth on as ffmpeg decodes them, and what it said on the way.

    fastseek: without a table of contents ffmpeg would read an MP3 from its beginning.
    """
    command = ["ffmpeg", "-nostdin", "-v", "debug", "-fflags", "fastseek", "-ss", "40", "-i", str(source)]
    result = await trio.run_process(
        [*command, "-t", "3", "-f", "s16le", "pipe:1"], capture_stdout=True, capture_stderr=True
    )
    return result.stdout, result.stderr.decode(errors="replace")


@pytest.mark.parametrize("name", [MP3.name, VORBIS.name, FLAC.name])
async def test_ffmpeg_seeks(name: str, media: Mapping[str, Media], tmp_path: Path) -> None:
    song = media[name].path
    async with Castd(tmp_path, f'[files]\nroot = "{song.parent}"') as castd:
        with trio.fail_after(30):
            sound, said = await heard(f"{castd.address}/{song.name}")
    starts = [int(start) for start in re.findall(r"Range: bytes=(\d+)-", said)]
    assert max(starts) > song.stat().st_size / 2, "it read from the beginning"
    assert len(sound) > 2 * 44_100 * 2
    assert sound == (await heard(song))[0]

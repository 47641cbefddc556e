"""ffmpeg sends each format in each way it can; what two listeners receive is, frame by frame, what was sent.

All eighteen encoders run at once on one server, with two listeners each: one there from the start, one who joins later.
The tests then judge the recordings.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests import xiph
from tests.conftest import unavailable
from tests.e2e.client import Listener
from tests.e2e.conftest import start
from tests.e2e.decode import decode
from tests.e2e.media import FORMATS, Format, Media
from tests.e2e.peers.ffmpeg import Method, publish
from tests.e2e.server import Server, live
from tests.e2e.units import ogg_pages

pytestmark = [pytest.mark.e2e, pytest.mark.needs("ffmpeg", "ffprobe")]

LATE_SECONDS = 4.0
"""How much later the second listener joins."""

RECORDING_SECONDS = 12.0

TOLERANCE_SECONDS = 0.15

MATRIX = list(itertools.product(FORMATS, Method))


def combinations(*containers: str) -> pytest.MarkDecorator:
    chosen = [(form, method) for form, method in MATRIX if form.container in containers]
    return pytest.mark.parametrize(("form", "method"), chosen, ids=[f"{form.name}-{method}" for form, method in chosen])


matrix = combinations("mp3", "adts", "ogg")
ogg_matrix = combinations("ogg")


@dataclass(frozen=True, slots=True)
class Recording:
    """What the two listeners of a mount received, and what the late one was told it is."""

    early: bytes
    late: bytes
    content_type: str


Recordings = Mapping[tuple[str, Method], Recording | Exception]


@pytest.fixture(scope="module")
def recordings(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, media: Mapping[str, Media]
) -> Recordings:
    folder = tmp_path_factory.mktemp("matrix")

    async def record_all() -> Recordings:
        made: dict[tuple[str, Method], Recording | Exception] = {}
        async with start(pytestconfig, folder) as server:

            async def record_one(form: Format, method: Method) -> None:
                try:
                    with trio.fail_after(60):
                        made[form.name, method] = await record(server, media[form.name], method, folder)
                except Exception as error:  # told by the tests of this recording, the others go on
                    made[form.name, method] = error

            async with trio.open_nursery() as nursery:
                for form, method in MATRIX:
                    nursery.start_soon(record_one, form, method)
        return made

    return trio.run(record_all)


@pytest.fixture
def recording(recordings: Recordings, form: Format, method: Method) -> Recording:
    """The recording a test is about."""
    made = recordings[form.name, method]
    if isinstance(made, Exception):
        raise made
    return made


async def record(server: Server, media: Media, method: Method, folder: Path) -> Recording:
    mount = f"/{media.format.name}-{method}"
    early = Listener(server.address + mount)
    late = Listener(server.address + mount)
    async with publish(media, server, mount, folder / f"{mount[1:]}.log", method):
        await live(server, mount, seconds=30)
        async with early, trio.open_nursery() as nursery:
            nursery.start_soon(early.listen, RECORDING_SECONDS)
            await trio.sleep(LATE_SECONDS)
            async with late:
                await late.listen(RECORDING_SECONDS - LATE_SECONDS)
    assert early.reply.status == late.reply.status == 200
    return Recording(bytes(early.reply.body), bytes(late.reply.body), late.reply.headers["content-type"])


@matrix
def test_both_receive_what_was_sent(recording: Recording, media: Mapping[str, Media], form: Format) -> None:
    early = media[form.name].find(form.walk(recording.early))
    late = media[form.name].find(form.walk(recording.late))
    assert early.first <= late.first < early.end, "they have heard nothing in common"
    assert early.seconds > RECORDING_SECONDS - LATE_SECONDS
    assert late.seconds > (RECORDING_SECONDS - LATE_SECONDS) / 2


@matrix
async def test_a_late_listener_decodes_from_the_first_frame(
    recording: Recording, media: Mapping[str, Media], form: Format
) -> None:
    expected_seconds = media[form.name].find(form.walk(recording.late)).seconds
    decoded = await decode(whole(recording.late, form))
    assert decoded.errors == ()
    assert decoded.seconds == pytest.approx(expected_seconds, abs=TOLERANCE_SECONDS)
    assert decoded.peak > 0.1


@ogg_matrix
def test_xiph_decodes_what_a_late_listener_received(
    recording: Recording, media: Mapping[str, Media], form: Format
) -> None:
    expected_seconds = media[form.name].find(form.walk(recording.late)).seconds
    try:
        decoded = xiph.decode(form.name, whole(recording.late, form))
    except ImportError as error:
        unavailable(str(error))
    assert decoded.holes == 0
    assert decoded.samples / decoded.sample_rate == pytest.approx(expected_seconds, abs=TOLERANCE_SECONDS)


def whole(stream: bytes, form: Format) -> bytes:
    """A stream without the part of a frame or page at its end."""
    pieces = form.walk(stream) if form.container != "ogg" else [page.data for page in ogg_pages(stream)]
    return b"".join(pieces)


@matrix
def test_a_listener_is_told_the_type(recording: Recording, form: Format) -> None:
    assert recording.content_type.partition(";")[0] == form.content_type

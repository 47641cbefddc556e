"""An encoder that goes on sending, and sends silence: noticed in every codec, and bridged by the fallback."""

from __future__ import annotations

import json
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.e2e.client import Listener, get
from tests.e2e.media import AAC, MP3, OPUS, SWEEP, VORBIS, Format, Media
from tests.e2e.peers.ffmpeg import publish
from tests.e2e.program import Program, until
from tests.e2e.server import ADMIN_PASSWORD, Castd, source_url
from tests.e2e.units import BEGINS, ogg_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg")]

FORMATS = (MP3, AAC, VORBIS, OPUS)

SOUND_SECONDS, SILENCE_SECONDS, AFTER_SECONDS = 3, 5, 7
NOTICED_SECONDS = 2.0

LATER_SECONDS = 30
"""More of what stands in: it is sent until all is over."""

OTHER = "0.2*sin(2*PI*(2000-9*t)*t)|0.2*sin(2*PI*(1500+7*t)*t)"


def make(folder: Path) -> dict[str, tuple[Media, Media]]:
    """Sound, silence and sound again, and what stands in, in each format."""
    whole = SOUND_SECONDS + SILENCE_SECONDS + AFTER_SECONDS
    on = rf"lt(t\,{SOUND_SECONDS})+gt(t\,{SOUND_SECONDS + SILENCE_SECONDS})"
    programme = "|".join(f"({on})*{channel}" for channel in SWEEP.split("|"))
    command = ["ffmpeg", "-nostdin", "-v", "error"]
    for expression, seconds in ((programme, whole), (OTHER, whole + LATER_SECONDS)):
        command += ["-f", "lavfi", "-i", f"aevalsrc={expression}:s=44100:d={seconds}"]
    made: dict[str, tuple[Media, Media]] = {}
    for form in FORMATS:
        files = [folder / f"{name}-{form.name}.{form.container}" for name in ("programme", "other")]
        for number, file in enumerate(files):
            command += ["-map", str(number), *form.encode, *_short_pages(form), "-f", form.container, str(file)]
        made[form.name] = (Media(form, files[0], (), ()), Media(form, files[1], (), ()))
    subprocess.run(command, check=True)
    return made


def _short_pages(form: Format) -> list[str]:
    return ["-page_duration", "200000"] if form.container == "ogg" else []


def units(form: Format, stream: bytes) -> list[bytes]:
    """The frames or packets of a stream, of an Ogg stream those of all its links."""
    if form.container != "ogg":
        return form.walk(stream)
    return [packet for link in _links(stream) for packet in form.walk(link)]


def _links(stream: bytes) -> Iterator[bytes]:
    link = b""
    for page in ogg_pages(stream):
        if page.flags & BEGINS and link:
            yield link
            link = b""
        link += page.data
    yield link


def parts(received: list[bytes], programme: list[bytes], other: list[bytes]) -> tuple[int, int, int]:
    """How much was heard of the programme before the other, of the other, and of the programme after it: each without
    a gap, the programme to its end."""
    first = programme.index(received[0])
    before = 0
    while received[before] == programme[first + before] and received[before] != other[0]:
        before += 1
    after = 0
    while received[-1 - after] == programme[len(programme) - 1 - after]:
        after += 1
    between = received[before : len(received) - after]
    at = other.index(between[0])
    assert between == other[at : at + len(between)], "the fallback has a gap, or something is heard that nobody sent"
    return before, len(between), after


async def state(server: Castd, name: str) -> dict[str, Any]:
    """What operators see of a mount; nothing before there is one."""
    reply = await get(f"{server.address}/api/v1/admin/stats", ("admin", ADMIN_PASSWORD))
    assert reply.status == 200, reply
    return next((dict(each) for each in json.loads(reply.body)["mounts"] if each["mount"] == f"/{name}"), {})


async def test_silence_is_noticed_and_bridged(tmp_path: Path) -> None:
    """Events, API, log; listeners hear the fallback meanwhile, and of nothing too little, twice, or cut. Another
    process goes on with all of it."""
    media = make(tmp_path)
    told = tmp_path / "events.json"
    settings = f"""\
[[hooks]]
events = ["source.silent", "source.sounding"]
program = "/usr/bin/tee"
args = ["-a", "{told}"]

[mounts.default]
silence_seconds = {NOTICED_SECONDS}
"""
    for name in (*media, "dead"):
        settings += f'[mounts."/{name}"]\nfallback = "/other-{name.replace("dead", "opus")}"\nsilence_fallback = true\n'
    quiet = ["-nostdin", "-v", "warning", "-re", "-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo", *OPUS.encode]
    quiet += [*_short_pages(OPUS), "-content_type", OPUS.content_type, "-f", "ogg"]
    heard: dict[str, bytes] = {}
    silent: dict[str, dict[str, Any]] = {}

    async def listen(name: str, task_status: trio.TaskStatus[None]) -> None:
        async with Listener(f"{server.address}/{name}") as listener:
            task_status.started()
            with trio.CancelScope() as scope:
                scopes.append(scope)
                await listener.listen()
            heard[name] = bytes(listener.reply.body)

    async def follow(name: str) -> None:
        async def is_live() -> bool:
            return (await state(server, name)).get("state") == "live"

        async def is_silent() -> bool:
            found = await state(server, name)
            if found.get("state") == "fallback":
                silent[name] = found
            return name in silent

        programme, other = media[name]
        async with AsyncExitStack() as stack:
            if name != "opus":
                await stack.enter_async_context(
                    publish(other, server, f"/other-{name}", tmp_path / f"other-{name}.log")
                )
            sending = publish(programme, server, f"/{name}", tmp_path / f"{name}.log")
            encoder = await stack.enter_async_context(sending)
            await until(is_live, seconds=20, what=f"{name} on air", every_seconds=0.2)
            await listeners.start(listen, name)
            await until(is_silent, seconds=20, what=f"{name} silent", every_seconds=0.2)
            await until(is_live, seconds=20, what=f"{name} sounding", every_seconds=0.2)
            await encoder.process.wait()

    async def is_dead() -> bool:
        found = await state(server, "dead")
        return found.get("state") == "fallback" and found["sources"][1]["sound"] is not None

    scopes: list[trio.CancelScope] = []
    async with Castd(tmp_path, settings) as server:
        async with trio.open_nursery() as listeners:
            stays_silent = Program(["ffmpeg", *quiet, source_url(server, "/dead")], tmp_path / "dead.log")
            async with stays_silent, publish(media["opus"][1], server, "/other-opus", tmp_path / "other.log"):
                async with trio.open_nursery() as encoders:
                    for name in media:
                        encoders.start_soon(follow, name)
                await until(is_dead, seconds=20, what="silence")
                await server.upgrade()
                await until(is_dead, seconds=20, what="silence after an upgrade")
                after_upgrade = await state(server, "dead")
            for scope in scopes:
                scope.cancel()
        log = server.log()
    sound = after_upgrade["sources"][1]["sound"]
    assert sound["silent"], "nor is it new that it is"
    assert sound["quiet_seconds"] > NOTICED_SECONDS
    events = [json.loads(each) for each in told.read_text().replace("}{", "}\n{").splitlines()]
    assert [each["event"] for each in events if each["mount"] == "/dead"] == ["source.silent"]
    for name, (programme, other) in media.items():
        mine = [each for each in events if each["mount"] == f"/{name}"]
        assert [each["event"] for each in mine] == ["source.silent", "source.sounding"], name
        assert mine[0]["fields"]["level_dbfs"] < -50, name
        assert SILENCE_SECONDS - 1 < mine[1]["fields"]["seconds"] < SILENCE_SECONDS + 5, name
        assert f"/{name}: silent for" in log
        encoder = next(each for each in silent[name]["sources"] if not each["fallback"])
        assert encoder["sound"]["silent"], name
        sent, stands_in = (units(programme.format, each.path.read_bytes()) for each in (programme, other))
        received = units(programme.format, heard[name])
        received = received[: len(received) - received[::-1].index(sent[-1])]
        before, between, after = parts(received, sent, stands_in)
        assert min(before, between, after) > 20, (name, before, between, after)

"""The same requests to a real Icecast and to castd: nothing differs that is not wanted."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from tests.conformance.compare import Answer, differences, parse
from tests.conformance.requests import REQUESTS, SOURCE, Ask, ask
from tests.conformance.wanted import EVERYWHERE, WANTED
from tests.e2e.peers.icecast import Icecast
from tests.e2e.program import until
from tests.e2e.server import Castd, Server, status
from tests.support import PROBE

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("icecast2")]

FIXTURES = Path(__file__).parents[1] / "fixtures"

TRIES = 8

ON_AIR = {
    "/live.mp3": ("audio/mpeg", "cbr-44100-stereo.mp3"),
    "/two.mp3": ("audio/mpeg", "cbr-44100-stereo.mp3"),
    "/live.ogg": ("application/ogg", "vorbis.ogg"),
}


async def connect(server: Server) -> trio.SocketStream:
    address = urlsplit(server.address)
    return await trio.open_tcp_stream(address.hostname or "", address.port or 0)


async def answer(server: Server, asked: Ask) -> Answer:
    """What a server answers; of a stream its head, of anything else all until it closes or has nothing more to say."""
    received = b""
    async with await connect(server) as stream:
        await stream.send_all(asked.request)
        with trio.move_on_after(2.0):
            while data := await stream.receive_some(65536):
                received += data
                heads = 2 if b" 100 " in received[:16] else 1
                if asked.stream and received.count(b"\r\n\r\n") >= heads:
                    break
                if heads == 1 and (wanted := _length(received)) is not None and len(received) >= wanted:
                    break
    return parse(received)


def _length(received: bytes) -> int | None:
    head, blank, _ = received.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if blank and line.startswith(b"content-length:"):
            return len(head) + 4 + int(line.partition(b":")[2])
    return None


async def feed(server: Server, mount: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Send a fixture over and over, as fast as it plays."""
    content_type, name = ON_AIR[mount]
    data = (FIXTURES / name).read_bytes()
    request = ask(
        "", mount, SOURCE, "SOURCE", {"Content-Type": content_type, **PROBE, "ice-public": "0"}, version="HTTP/1.0"
    ).request
    async with await connect(server) as stream:
        await stream.send_all(request)
        await stream.receive_some()
        task_status.started()
        try:
            while True:
                for at in range(0, len(data), 1600):
                    await stream.send_all(data[at : at + 1600])
                    await trio.sleep(0.1)
        except trio.BrokenResourceError:
            pass  # killed, as one of the requests has it


async def on_air(server: Server, sources: trio.Nursery) -> None:
    for mount in ON_AIR:
        await sources.start(feed, server, mount)

    async def all_there() -> bool:
        facts = [await status(server, mount) for mount in ON_AIR]
        return all(each is not None for each in facts)

    await until(all_there, seconds=20, what="all mounts")

    async def known() -> bool:
        facts = await status(server, "/live.ogg")
        return facts is not None and "audio_bitrate" in facts

    await until(known, seconds=20, what="what the headers of Ogg say")
    await trio.sleep(1.5)  # until bitrates and the like are known


async def compared(icecast: Icecast, castd: Castd, asked: Ask) -> set[str]:
    """In what the answers differ; where they do, they are asked for again, since Icecast shows some facts only after a
    while, and for a while forgets them at the start of each link of an Ogg stream."""
    for _ in range(TRIES):
        theirs, ours = await answer(icecast, asked), await answer(castd, asked)
        found = {each for each in differences(theirs, ours) if each not in EVERYWHERE}
        if found == WANTED.get(asked.name, {}).keys() or not asked.request.startswith(b"GET") or asked.once:
            break
        await trio.sleep(0.5)
    return found


async def test_nothing_differs_that_is_not_wanted(tmp_path: Path) -> None:
    found: dict[str, set[str]] = {}
    async with AsyncExitStack() as stack:
        icecast = await stack.enter_async_context(Icecast(tmp_path / "icecast"))
        castd = await stack.enter_async_context(Castd(tmp_path))
        async with trio.open_nursery() as sources:
            for server in (icecast, castd):
                await on_air(server, sources)
            for asked in REQUESTS:
                found[asked.name] = await compared(icecast, castd, asked)
            sources.cancel_scope.cancel()
    unwanted = {name: each - WANTED.get(name, {}).keys() for name, each in found.items()}
    gone = {name: wanted.keys() - found.get(name, set()) for name, wanted in WANTED.items()}
    assert {name: sorted(each) for name, each in unwanted.items() if each} == {}
    assert {name: sorted(each) for name, each in gone.items() if each} == {}, "listed as wanted, and not there any more"

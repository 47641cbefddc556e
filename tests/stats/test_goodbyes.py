"""Every reason code, by doing what it says to a running server; and what the record of the visit then holds."""

from __future__ import annotations

import ctypes
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from castd.config import Certificate, Config, Delivery, Limits, Listen, Sessions
from castd.ingest import intake
from castd.ingest.session import Session
from castd.mount.party import Goodbye
from tests.support import ADMIN, SOURCE, Ear, Serving, configured, frames, head, serving, until
from tests.test_tls import make_certificate

if TYPE_CHECKING:
    from castd.stats.visits import Visit

FIXTURES = Path(__file__).parents[1] / "fixtures"

PLAYED: set[Goodbye] = set()
"""The reasons that tests here brought about."""

SO_ATTACH_FILTER = 26  # asm-generic/socket.h


def config(limits: Limits | None = None, delivery: Delivery | None = None) -> Config:
    """Addresses as they are, so that they can be compared."""
    return replace(configured(limits=limits, delivery=delivery), sessions=Sessions(addresses="plain"))


async def ended(castd: Serving, goodbye: Goodbye) -> Visit:
    """The visit that ends now, for this reason."""
    recent = castd.server.records.recent
    await until(lambda: bool(recent))
    visit = recent[0]
    assert visit.reason == goodbye.value
    PLAYED.add(goodbye)
    return visit


async def heard(castd: Serving, **kwargs: str) -> Ear:
    """A listener that has its first audio."""
    ear = await castd.ear("/live", kwargs)
    await ear.exactly(1)
    return ear


Deed = Callable[[Serving, Ear], Awaitable[None]]


async def hang_up(castd: Serving, ear: Ear) -> None:
    await ear.close()


async def reset(castd: Serving, ear: Ear) -> None:
    ear.reset()


async def flood(castd: Serving, ear: Ear) -> None:
    with trio.move_on_after(5):
        try:
            while True:
                await ear.send(bytes(1 << 20))
        except trio.BrokenResourceError:
            pass


async def kick(castd: Serving, ear: Ear, mount: str = "/live") -> None:
    (listener_id,) = castd.mount(mount).listeners
    reply = await castd.ask(head("DELETE", f"/api/v1/admin/listeners/{listener_id}", user=ADMIN))
    assert reply.status == 200


async def kick_as_icecast(castd: Serving, ear: Ear) -> None:
    (listener_id,) = castd.mount("/live").listeners
    reply = await castd.ask(head("GET", f"/admin/killclient?mount=/live&id={listener_id}", user=ADMIN))
    assert reply.status == 200


@pytest.mark.parametrize(
    ("goodbye", "deed"),
    [
        (Goodbye.LEFT, hang_up),
        (Goodbye.RESET, reset),
        (Goodbye.FLOODED, flood),
        (Goodbye.KICKED, kick),
        (Goodbye.KICKED, kick_as_icecast),
    ],
)
async def test_a_listener_goes(goodbye: Goodbye, deed: Deed) -> None:
    async with serving(config()) as castd, await castd.encoder("/live") as encoder:
        await encoder.push(50)
        ear = await heard(castd)
        await deed(castd, ear)
        visit = await ended(castd, goodbye)
        assert (visit.kind, visit.mount, visit.address, visit.agent) == ("listener", "/live", "127.0.0.1", "probe/1")
        assert visit.bytes > 417
        assert visit.tcp is not None
        assert visit.ended_by == (ADMIN[0] if goodbye is Goodbye.KICKED else "")
        assert visit.tcp.state == {Goodbye.LEFT: "close_wait", Goodbye.RESET: "closed"}.get(goodbye, "established")


async def test_a_listener_vanishes() -> None:
    async with serving(config(Limits(peer_timeout_seconds=0.3))) as castd, await castd.encoder("/live") as encoder:
        await encoder.push(50)
        ear = await heard(castd)
        assert isinstance(ear.stream, trio.SocketStream)
        drive_into_a_tunnel(ear.stream.socket)
        await encoder.push(50)
        visit = await ended(castd, Goodbye.VANISHED)
        assert visit.tcp is not None
        assert visit.tcp.retransmits > 0
        await ear.close()


def drive_into_a_tunnel(sock: trio.socket.SocketType) -> None:
    """Have the kernel drop all that arrives for a socket, by a BPF program of one instruction, `ret 0`
    (linux/filter.h): nothing is acknowledged any more."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


async def test_a_listener_falls_behind() -> None:
    delivery = Delivery(burst_seconds=1.0, lag_seconds=5.0, lag_policy="drop", send_buffer_bytes=4096)
    async with serving(config(delivery=delivery)) as castd, await castd.encoder("/live") as encoder:
        await encoder.push(50)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", castd.port))
            deaf.sendall(head("GET", "/live"))
            await until(lambda: len(castd.mount("/live").listeners) == 1)
            while not castd.server.records.recent:
                await encoder.push(40)  # a second
                await trio.sleep(0.01)
            visit = await ended(castd, Goodbye.FELL_BEHIND)
        assert visit.worst_lag_seconds >= 5.0
        assert visit.tcp is not None
        assert visit.jumps == 0


async def test_a_listeners_tls_breaks(tmp_path: Path) -> None:
    make_certificate(tmp_path, "localhost")
    certificate = Certificate(certificate=str(tmp_path / "localhost.pem"), key=str(tmp_path / "localhost.key"))
    secure = replace(config(), listen=(Listen(host="127.0.0.1", port=0, tls="auto"),), certificates=(certificate,))
    async with serving(secure) as castd, await castd.encoder("/live") as encoder:
        await encoder.push(50)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(tmp_path / "localhost.pem")
        plain = await trio.open_tcp_stream("127.0.0.1", castd.port)
        stream = trio.SSLStream(plain, context, server_hostname="localhost")
        await stream.send_all(head("GET", "/live"))
        await stream.receive_some()
        await plain.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record nobody encrypted
        await ended(castd, Goodbye.TLS_ERROR)
        await trio.aclose_forcefully(stream)


async def test_a_listeners_source_ends() -> None:
    async with serving(config(delivery=Delivery(linger_seconds=0.0))) as castd:
        encoder = await castd.encoder("/live")
        await encoder.push(50)
        ear = await heard(castd)
        await encoder.close()
        recent = castd.server.records.recent
        await until(lambda: len(recent) == 2)
        assert [(each.kind, each.reason) for each in recent] == [("source", "finished"), ("listener", "source_ended")]
        PLAYED.add(Goodbye.SOURCE_ENDED)
        await ear.close()


async def test_a_listener_is_moved() -> None:
    async with serving(config()) as castd, await castd.encoder("/live") as live, await castd.encoder("/other") as other:
        await live.push(50)
        await other.push(50)
        ear = await heard(castd)
        moved = await castd.ask(head("GET", "/admin/moveclients?mount=/live&destination=/other", user=ADMIN))
        assert "Clients moved from /live to /other" in moved.text
        visit = await ended(castd, Goodbye.MOVED)
        assert (visit.mount, visit.bytes) == ("/live", castd.mount("/live").bytes_sent)
        castd.server.records.recent.clear()
        await kick(castd, ear, "/other")
        visit = await ended(castd, Goodbye.KICKED)
        assert visit.mount == "/other"


async def test_a_listeners_next_source_sends_another_format() -> None:
    async with serving(config()) as castd:
        encoder = await castd.encoder("/live")
        await encoder.push(50)
        ear = await heard(castd)
        await encoder.close()
        await ended(castd, Goodbye.FINISHED)
        castd.server.records.recent.clear()
        other = await castd.encoder("/live", {"Content-Type": "audio/ogg"})
        await other.send((FIXTURES / "opus.opus").read_bytes())
        await ended(castd, Goodbye.FORMAT_CHANGED)
        await ear.close()
        await other.close()


async def test_everybody_goes_when_the_server_stops() -> None:
    async with serving(config()) as castd:
        encoder = await castd.encoder("/live")
        await encoder.push(50)
        await heard(castd)
    assert {(each.kind, each.reason) for each in castd.server.records.recent} == {
        ("source", "drained"),
        ("listener", "drained"),
    }
    PLAYED.add(Goodbye.DRAINED)


async def test_a_source_finishes_and_is_recorded() -> None:
    async with serving(config()) as castd:
        encoder = await castd.encoder("/live")
        await encoder.push(50)
        await until(lambda: castd.mount("/live").ring.head > 0)
        castd.mount("/live").set_title("its title")
        await encoder.push(50)
        await until(lambda: castd.mount("/live").ring.head > 417 * 90)
        await encoder.close()
        visit = await ended(castd, Goodbye.FINISHED)
    assert (visit.kind, visit.user, visit.protocol, visit.bytes) == ("source", SOURCE[0], "PUT", 100 * 417)
    assert (visit.titles, visit.last_titles) == (1, ("its title",))
    assert visit.tcp is not None
    assert visit.tcp.state == "close_wait"


async def test_a_source_breaks_off() -> None:
    async with serving(config()) as castd:
        encoder = await castd.encoder("/live")
        encoder.reset()
        visit = await ended(castd, Goodbye.RESET)
        assert visit.kind == "source"


async def test_a_source_hangs_up_in_the_middle_of_a_chunk() -> None:
    async with serving(config()) as castd:
        encoder = await castd.encoder("/live", {"Transfer-Encoding": "chunked"})
        await encoder.send(b"FFFF\r\n" + bytes(100))
        await encoder.close()
        visit = await ended(castd, Goodbye.LEFT)
        assert visit.kind == "source"


async def test_a_source_is_kicked() -> None:
    async with serving(config()) as castd:
        encoder = await castd.encoder("/live")
        await castd.ask(head("GET", "/admin/killsource?mount=/live", user=SOURCE))
        visit = await ended(castd, Goodbye.KICKED)
        assert (visit.kind, visit.ended_by) == ("source", SOURCE[0])
        await encoder.close()


async def test_a_source_falls_silent() -> None:
    async with serving(config(Limits(source_timeout_seconds=0.05))) as castd, await castd.encoder("/live"):
        await ended(castd, Goodbye.SILENT)


async def test_a_source_sends_no_audio() -> None:
    limits = Limits(source_timeout_seconds=0.05)
    async with serving(config(limits)) as castd, await castd.encoder("/live") as encoder:
        while not castd.server.records.recent:
            try:
                await encoder.send(bytes(100))
            except trio.BrokenResourceError:
                pass
            await trio.sleep(0.005)
        await ended(castd, Goodbye.NO_AUDIO)


async def test_a_dead_source_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "DEAD_SECONDS", 0.05)
    async with serving(config()) as castd, await castd.encoder("/live"), await castd.encoder("/live"):
        await ended(castd, Goodbye.REPLACED)


async def test_a_source_breaks_its_framing() -> None:
    async with serving(config()) as castd:
        encoder = await castd.encoder("/live", {"Transfer-Encoding": "chunked"})
        await encoder.send(b"no chunk\r\n")
        await ended(castd, Goodbye.BROKEN)
        await encoder.close()


async def test_a_listeners_time_is_over() -> None:
    """At the end of a frame, with everything before it, and not earlier."""
    timed = replace(config(), limits=Limits(max_listener_seconds=0.3))
    async with serving(timed) as castd, await castd.encoder("/live") as encoder:
        await encoder.push(20)
        await until(lambda: castd.mount("/live").ring.head > 0)
        begun = trio.current_time()
        ear = await castd.ear("/live")
        received = await ear.rest()
        assert trio.current_time() - begun >= 0.3
        assert received == frames(0, 19)
        visit = await ended(castd, Goodbye.LIMIT)
        assert visit.seconds >= 0.3


async def test_the_server_fails_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    async def bug(session: Session) -> Goodbye:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Session, "run", bug)
    async with serving(config()) as castd, await castd.encoder("/live"):
        await ended(castd, Goodbye.FAILED)


def test_all_reasons_were_brought_about(request: pytest.FixtureRequest) -> None:
    """The last test of this file; alone, or with -k, it has nothing to say."""
    if len([item for item in request.session.items if item.path == request.path]) < 20:
        pytest.skip("not all tests of this file run")
    assert set(Goodbye) - {Goodbye.HANDED_OVER} == PLAYED  # who goes on elsewhere has not left

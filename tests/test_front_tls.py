"""TLS at the front door of a whole server: one port for both, handshakes that stall, certificates that change."""

from __future__ import annotations

import shutil
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trio

from castd.config import Certificate, Delivery, Listen, Tls
from castd.delivery.listener import Listener
from castd.mount.party import Goodbye
from tests.delivery.live import Numbers, serving, until
from tests.delivery.swarm import Kind, Swarm
from tests.test_tls import make_certificate

if TYPE_CHECKING:
    from pathlib import Path

run = trio.to_thread.run_sync

AUTO = Listen(host="127.0.0.1", port=0, tls="auto")
ONLY = Listen(host="127.0.0.1", port=0, tls="on")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("localhost", "renewed.test"):
        make_certificate(folder, name)
    return folder


@pytest.fixture
def certificate(folder: Path, tmp_path: Path) -> Certificate:
    """The certificate for localhost, in files of this test's own."""
    for suffix in ("pem", "key"):
        shutil.copy(folder / f"localhost.{suffix}", tmp_path / f"live.{suffix}")
    return Certificate(certificate=str(tmp_path / "live.pem"), key=str(tmp_path / "live.key"))


@pytest.fixture
def trusting(folder: Path) -> ssl.SSLContext:
    """A client that trusts what castd has here, whatever its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    for file in folder.glob("*.pem"):
        context.load_verify_locations(file)
    return context


async def ask(port: int, path: str, context: ssl.SSLContext | None = None) -> bytes:
    """The whole reply to a GET."""
    plain = await trio.open_tcp_stream("127.0.0.1", port)
    stream = plain if context is None else trio.SSLStream(plain, context, https_compatible=True)
    async with stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: radio.test\r\nConnection: close\r\n\r\n".encode())
        reply = b""
        while piece := await stream.receive_some():
            reply += piece
        return reply


def name_served(port: int, context: ssl.SSLContext) -> str:
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as secured:
        found = secured.getpeercert()
    assert found is not None
    return str(found["subjectAltName"][0][1])


async def test_one_port_speaks_both(certificate: Certificate, trusting: ssl.SSLContext) -> None:
    async with (
        serving(listen=AUTO, certificates=(certificate,), tls=Tls(hsts_seconds=600)) as (_, port),
        trio.open_nursery() as nursery,
    ):
        source = Numbers(port, "/numbers", context=trusting)
        await nursery.start(source.run)
        plain, secured = await ask(port, "/api/v1/status"), await ask(port, "/api/v1/status", trusting)
        assert b'"listen_url":"http://radio.test/numbers"' in plain
        assert b'"listen_url":"https://radio.test/numbers"' in secured
        assert b"Strict-Transport-Security" not in plain
        assert b"Strict-Transport-Security: max-age=600\r\n" in secured
        source.leave()


async def test_a_tls_port_tells_plain_clients_so(certificate: Certificate, trusting: ssl.SSLContext) -> None:
    async with serving(listen=ONLY, certificates=(certificate,)) as (_, port):
        assert (await ask(port, "/healthz", trusting)).startswith(b"HTTP/1.1 200 OK")
        reply = await ask(port, "/healthz")
        assert reply.startswith(b"HTTP/1.0 400 ")
        assert b"https" in reply


async def test_stalled_handshakes_disturb_nobody(certificate: Certificate, trusting: ssl.SSLContext) -> None:
    tls = Tls(handshake_timeout_seconds=6)
    async with serving(listen=AUTO, certificates=(certificate,), tls=tls) as (server, port):
        stalled = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(200)]
        for each in stalled:
            await each.send_all(b"\x16\x03\x01\x02\x00\x01")
        await until(lambda: len(server.front.handshaking) == 200, 5.0)
        assert (await ask(port, "/healthz", trusting)).startswith(b"HTTP/1.1 200 OK")
        assert (await ask(port, "/healthz")).startswith(b"HTTP/1.1 200 OK")
        assert len(server.front.handshaking) == 200  # nobody waited for any of them
        await until(lambda: not server.front.handshaking, 20.0)
        assert not server.admission.waiting
        for each in stalled:
            assert await each.receive_some() == b""
            await each.aclose()


async def test_too_many_handshakes_are_closed_and_it_recovers(
    certificate: Certificate, trusting: ssl.SSLContext
) -> None:
    tls = Tls(handshake_timeout_seconds=0.5, max_handshakes=5)
    async with serving(listen=AUTO, certificates=(certificate,), tls=tls) as (server, port):
        stalled = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(5)]
        for each in stalled:
            await each.send_all(b"\x16\x03\x01")
        await until(lambda: len(server.front.handshaking) == 5, 5.0)
        with pytest.raises(trio.BrokenResourceError):
            await ask(port, "/healthz", trusting)
        # somebody from elsewhere gets the place of the one of them that has waited longest
        stream = await trio.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.2")
        elsewhere = trio.SSLStream(stream, trusting, server_hostname="localhost", https_compatible=True)
        await elsewhere.send_all(b"GET /healthz HTTP/1.1\r\nHost: radio.test\r\nConnection: close\r\n\r\n")
        assert (await elsewhere.receive_some()).startswith(b"HTTP/1.1 200 OK")
        await trio.aclose_forcefully(elsewhere)
        assert await stalled[0].receive_some() == b""
        await until(lambda: not server.front.handshaking, 5.0)
        assert (await ask(port, "/healthz", trusting)).startswith(b"HTTP/1.1 200 OK")
        for each in stalled:
            await each.aclose()


@pytest.mark.slow
async def test_a_certificate_changes_under_400_listeners(
    certificate: Certificate, trusting: ssl.SSLContext, folder: Path
) -> None:
    """Nobody loses a frame, and who comes next sees the new one."""
    async with (
        serving(
            Delivery(burst_seconds=1.0, send_interval_max_seconds=0.5), listen=AUTO, certificates=(certificate,)
        ) as (
            server,
            port,
        ),
        trio.open_nursery() as nursery,
    ):
        with Swarm(port) as swarm:
            source = Numbers(port, "/numbers", context=trusting)
            await nursery.start(source.run)
            for kind in (Kind.READS, Kind.ICY):
                for context in (trusting, None):
                    await run(swarm.join, 100, kind, "/numbers", context)
            await run(swarm.listen, 1.0)
            assert await run(name_served, port, trusting) == "localhost"
            for suffix in ("key", "pem"):
                shutil.copy(folder / f"renewed.test.{suffix}", certificate.certificate.replace("pem", suffix))
            await until(lambda: server.certificates.refresh() != [], 2.0)
            assert await run(name_served, port, trusting) == "renewed.test"
            await run(swarm.listen, 1.0)
            source.silent = True
            await trio.sleep(0.1)
            await run(swarm.drain, source.next - 2, 5.0)
            listeners = list(server.registry.mounts["/numbers"].listeners.values())
        await until(lambda: all(isinstance(each, Listener) and each.gone for each in listeners), 2.0)
        nursery.cancel_scope.cancel()
    assert len(listeners) == 400
    for ear in swarm.ears:
        assert not ear.wrong, ear.wrong
        assert not ear.breaks
        assert ear.last >= source.next - 2
    assert {getattr(each, "gone", None) for each in listeners} <= {Goodbye.LEFT, Goodbye.RESET}

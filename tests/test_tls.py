"""TLS: certificates by name, read again when they change; listeners' records kept whole however little is taken."""

from __future__ import annotations

import os
import random
import socket
import ssl
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from castd.config import Certificate
from castd.delivery.listener import Listener
from castd.errors import ConfigError
from castd.mount.mount import Mount
from castd.tls import Certificates, TlsConnection, TlsStream
from tests.delivery.icy import deinterleave
from tests.mount.fakes import Encoder, HandClock, frames_of, settings

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates for a.test and b.test."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("a.test", "b.test", "c.test"):
        make_certificate(folder, name)
    return folder


def configured(folder: Path, name: str, *hosts: str) -> Certificate:
    return Certificate(certificate=str(folder / f"{name}.pem"), key=str(folder / f"{name}.key"), hosts=hosts)


def name_served(certificates: Certificates, asked: str | None, folder: Path) -> str:
    """The name in the certificate a client sees that asks for a host."""
    ours, theirs = socket.socketpair()
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    for file in folder.glob("*.pem"):
        trusting.load_verify_locations(file)
    with ours, theirs:
        for each in (ours, theirs):
            each.setblocking(False)
        server = certificates.context.wrap_socket(ours, server_side=True, do_handshake_on_connect=False)
        client = trusting.wrap_socket(theirs, server_hostname=asked, do_handshake_on_connect=False)
        with server, client:
            for _ in range(10):
                for side in (client, server):
                    try:
                        side.do_handshake()
                    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                        pass
            found = client.getpeercert()
    assert found is not None
    return str(found["subjectAltName"][0][1])


@pytest.mark.parametrize(
    ("asked", "served"),
    [(None, "a.test"), ("a.test", "a.test"), ("b.test", "b.test"), ("B.TEST", "b.test"), ("x.b.test", "b.test"),
     ("x.y.b.test", "a.test"), ("other.test", "a.test")],
)  # fmt: skip
def test_the_certificate_is_chosen_by_name(folder: Path, asked: str | None, served: str) -> None:
    chosen = Certificates((configured(folder, "a.test"), configured(folder, "b.test", "b.test", "*.b.test")))
    assert name_served(chosen, asked, folder) == served


def test_changed_files_are_read_again_and_broken_ones_are_not_used(folder: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "live.pem", tmp_path / "live.key"

    def install(name: str) -> None:
        for target, suffix in ((certificate, "pem"), (key, "key")):
            fresh = target.with_suffix(".new")
            fresh.write_bytes((folder / f"{name}.{suffix}").read_bytes())
            fresh.replace(target)

    install("a.test")
    used = Certificates((Certificate(certificate=str(certificate), key=str(key)),))
    assert used.refresh() == []
    install("b.test")
    assert used.refresh() == [str(certificate)]
    assert name_served(used, None, folder) == "b.test"
    key.write_text("no key any more")
    assert used.refresh() == []
    assert name_served(used, None, folder) == "b.test"
    certificate.unlink()
    assert used.refresh() == []
    install("c.test")
    assert used.refresh() == [str(certificate)]
    assert name_served(used, None, folder) == "c.test"


def test_what_cannot_be_used_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot use the certificate .*missing\.pem"):
        Certificates((Certificate(certificate=str(tmp_path / "missing.pem")),))
    mixed = Certificate(certificate=str(folder / "a.test.pem"), key=str(folder / "b.test.key"))
    with pytest.raises(ConfigError, match="MISMATCH"):
        Certificates((mixed,))
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-aes256", "-passout", "pass:x", "-in", folder / "a.test.key", "-out", locked], check=True
    )
    with pytest.raises(ConfigError, match="encrypted"):
        Certificates((Certificate(certificate=str(folder / "a.test.pem"), key=str(locked)),))


@pytest.fixture
def pair(folder: Path) -> Iterator[tuple[TlsConnection, ssl.SSLSocket]]:
    """A listener's side and the client's side of a TLS connection with small buffers, both non-blocking."""
    listening = socket.create_server(("127.0.0.1", 0))
    theirs = socket.socket()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    theirs.connect(listening.getsockname())
    ours, _ = listening.accept()
    listening.close()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for each in (ours, theirs):
        each.setblocking(False)
    trusting = ssl.create_default_context(cafile=str(folder / "a.test.pem"))
    server = Certificates((configured(folder, "a.test"),)).context.wrap_socket(
        ours, server_side=True, do_handshake_on_connect=False
    )
    client = trusting.wrap_socket(theirs, server_hostname="a.test", do_handshake_on_connect=False)
    with server, client:
        for _ in range(10):
            for side in (client, server):
                try:
                    side.do_handshake()
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
        yield TlsConnection(server), client


def drink(client: ssl.SSLSocket, size: int) -> bytes:
    try:
        return client.recv(size)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return b""


@pytest.mark.parametrize("metaint", [0, 500])
@pytest.mark.parametrize("seed", range(5))
def test_a_listener_over_tls_gets_every_byte_once(
    pair: tuple[TlsConnection, ssl.SSLSocket], metaint: int, seed: int
) -> None:
    """Short writes at every turn, a client that sips, ICY blocks, and a move forward in the middle of a record."""
    connection, client = pair
    rng = random.Random(seed)
    mount = Mount("/m", settings(), HandClock().clock)
    encoder = Encoder(mount, sizes=(400, 1044, 37))
    with mount.claim(encoder.source):
        listener = Listener(mount, connection, position=0, metaint=metaint)
        received, jumped = b"", False
        for turn in range(400):
            if turn % 50 == 0:
                mount.set_title(f"title {turn}")
            encoder.feed(rng.randrange(1, 6))
            listener.serve()
            received += drink(client, rng.randrange(1, 3000))
            if turn == 200:
                entry = mount.timeline.next_entry(listener.position)
                target = mount.timeline.join(0.5)
                assert entry is not None
                assert target is not None
                assert target.position > entry.position
                listener.finish_at(entry.position)
                listener.position = target.position
                jumped = True
        while not listener.serve() or connection.owes:
            received += drink(client, 65_536)
        received += drink(client, 65_536)
        while piece := drink(client, 65_536):
            received += piece
    assert jumped
    assert listener.bytes_sent == len(received)
    audio, titles = deinterleave(received, metaint)
    numbers = [number for _, number in frames_of(audio)]
    breaks = [(a, b) for a, b in pairwise(numbers) if b != a + 1]
    assert numbers[0] == 0
    assert numbers[-1] == encoder.number - 1
    assert len(breaks) == 1
    assert breaks[0][1] in encoder.entries
    assert not metaint or titles[0] == "StreamTitle='title 0';"


async def test_the_stream_is_a_stream(folder: Path) -> None:
    """What trio asks of its streams, with its own TLS on the other side."""
    context = Certificates((configured(folder, "a.test"),)).context
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    blob = os.urandom(300_000)

    async def serve() -> None:
        accepted = await listeners[0].accept()
        sock = socket.socket(fileno=os.dup(accepted.socket.fileno()))
        await accepted.aclose()
        sock.setblocking(False)
        async with TlsStream(sock, context) as stream:
            await stream.do_handshake()
            said = b""
            while not said.endswith(b"END"):
                said += await stream.receive_some()
            await stream.send_all(said)
            await stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        plain = await trio.open_tcp_stream("127.0.0.1", port)
        trusting = ssl.create_default_context(cafile=str(folder / "a.test.pem"))
        async with trio.SSLStream(plain, trusting, server_hostname="a.test", https_compatible=True) as client:
            heard = b""
            async with trio.open_nursery() as both:
                both.start_soon(client.send_all, blob + b"END")
                while piece := await client.receive_some():
                    heard += piece
            assert heard == blob + b"END"
    await listeners[0].aclose()


async def test_what_is_no_tls_is_a_broken_connection(folder: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        async with TlsStream(ours, Certificates((configured(folder, "a.test"),)).context) as stream:
            theirs.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError):
                await stream.do_handshake()

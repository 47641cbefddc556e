"""The PROXY header is taken off a connection's beginning and nothing behind it, however it comes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from castd.access.proxied import receive_header
from castd.wire.proxy_protocol import NotProxyProtocol, ProxyHeader, write_v1, write_v2

HEADER = ProxyHeader(ip_address("2001:db8::9"), 4711, ip_address("2001:db8::1"), 443)
NEXT = b"\x16\x03\x01 as TLS begins"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, trio.socket.SocketType]]:
    """A proxy's end, and ours."""
    theirs, ours = socket.socketpair()
    yield theirs, trio.socket.from_stdlib_socket(ours)
    theirs.close()
    ours.close()


Pair = tuple[socket.socket, trio.socket.SocketType]


@pytest.mark.parametrize("header", [write_v1(HEADER), write_v2(HEADER)], ids=["v1", "v2"])
@pytest.mark.parametrize("piece_bytes", [1, 7, 13, 1000])
async def test_not_a_byte_more(pair: Pair, header: bytes, piece_bytes: int) -> None:
    theirs, ours = pair
    received: list[ProxyHeader] = []

    async def receive() -> None:
        received.append(await receive_header(ours, 5))

    data = header + NEXT
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        for at in range(0, len(data), piece_bytes):
            await trio.testing.wait_all_tasks_blocked()
            theirs.sendall(data[at : at + piece_bytes])
    assert received == [HEADER]
    assert await ours.recv(1000) == NEXT


async def test_what_is_none_is_refused_at_once(pair: Pair) -> None:
    theirs, ours = pair
    theirs.sendall(b"GET")
    with pytest.raises(NotProxyProtocol, match="begins with no PROXY header"):
        await receive_header(ours, 5)


@pytest.mark.parametrize("begun", [b"", b"PROXY TCP4 1", write_v2(HEADER)[:-1]])
async def test_who_hangs_up_within_it(pair: Pair, begun: bytes) -> None:
    theirs, ours = pair
    theirs.sendall(begun)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(NotProxyProtocol, match="ended before"):
        await receive_header(ours, 5)


@pytest.mark.parametrize("begun", [b"", b"PROXY TCP4 1"])
async def test_who_never_ends_it(pair: Pair, begun: bytes) -> None:
    theirs, ours = pair
    theirs.sendall(begun)
    with pytest.raises(NotProxyProtocol, match=r"within 0\.05 s"):
        await receive_header(ours, 0.05)

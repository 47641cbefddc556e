"""struct tcp_info against the kernel's own header, and against connections whose state is known."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator

import pytest

from castd.tcp import TcpState, descriptor, parse_tcp_info, read_tcp_state


class KernelTcpInfo(ctypes.Structure):
    """The beginning of struct tcp_info, field for field as linux/tcp.h has it."""

    _fields_ = (
        *((f"tcpi_{name}", ctypes.c_uint8) for name in ("state", "ca_state", "retransmits", "probes", "backoff")),
        *((f"tcpi_{name}", ctypes.c_uint8) for name in ("options", "wscale", "flags")),
        *((f"tcpi_{name}", ctypes.c_uint32) for name in ("rto", "ato", "snd_mss", "rcv_mss")),
        *((f"tcpi_{name}", ctypes.c_uint32) for name in ("unacked", "sacked", "lost", "retrans", "fackets")),
        *((f"tcpi_last_{name}", ctypes.c_uint32) for name in ("data_sent", "ack_sent", "data_recv", "ack_recv")),
        *((f"tcpi_{name}", ctypes.c_uint32) for name in ("pmtu", "rcv_ssthresh", "rtt", "rttvar", "snd_ssthresh")),
        *((f"tcpi_{name}", ctypes.c_uint32) for name in ("snd_cwnd", "advmss", "reordering", "rcv_rtt", "rcv_space")),
        ("tcpi_total_retrans", ctypes.c_uint32),
    )


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
    with client, peer:
        yield client, peer


def test_the_fields_are_where_the_header_has_them() -> None:
    info = KernelTcpInfo(
        tcpi_state=8, tcpi_unacked=17, tcpi_last_ack_recv=31_250, tcpi_rtt=42_500, tcpi_total_retrans=99
    )
    assert parse_tcp_info(bytes(info)) == TcpState("close_wait", 0.0425, 99, 17, 31.25)
    assert parse_tcp_info(bytes(info) + bytes(128)) == parse_tcp_info(bytes(info)), "newer kernels add fields"
    assert parse_tcp_info(bytes(info)[:-1]) is None
    assert parse_tcp_info(b"\xff" * 104) == TcpState("", 0xFFFFFFFF / 1e6, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF / 1e3)


def test_a_live_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    client, peer = pair
    client.sendall(b"hello")
    assert peer.recv(5) == b"hello"
    state = read_tcp_state(client.fileno())
    assert state is not None
    assert state.state == "established"
    assert 0 < state.rtt_seconds < 1
    assert 0 <= state.last_ack_seconds < 5
    assert state.retransmits == 0
    client.sendall(b"still open: reading the state closed nothing")


def test_after_a_hang_up_and_after_a_reset(pair: tuple[socket.socket, socket.socket]) -> None:
    client, peer = pair
    client.shutdown(socket.SHUT_WR)
    assert peer.recv(1) == b""
    state = read_tcp_state(peer.fileno())
    assert state is not None
    assert state.state == "close_wait"
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    state = read_tcp_state(peer.fileno())
    assert state is not None
    assert state.state == "closed"


def test_what_has_no_tcp_state(pair: tuple[socket.socket, socket.socket]) -> None:
    closed = pair[0].fileno()
    pair[0].close()
    assert read_tcp_state(closed) is None
    assert read_tcp_state(-1) is None
    left, right = socket.socketpair()
    with left, right:
        assert read_tcp_state(left.fileno()) is None
    assert descriptor(object()) == -1

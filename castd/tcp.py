"""What the kernel knows of a TCP connection, read for the record when it ends.

`struct tcp_info` of linux/tcp.h has only ever grown at its end, so the offsets of its old fields hold for every kernel.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from struct import Struct

STATES = (
    "",
    "established",
    "syn_sent",
    "syn_received",
    "fin_wait_1",
    "fin_wait_2",
    "time_wait",
    "closed",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
)
"""By number, from TCP_ESTABLISHED = 1 (net/tcp_states.h); the names of RFC 9293 §3.3.2."""

# 0: u8 tcpi_state; 24: u32 tcpi_unacked; 56: u32 tcpi_last_ack_recv; 68: u32 tcpi_rtt; 100: u32 tcpi_total_retrans
_TCP_INFO = Struct("=B23xI28xI8xI28xI")


@dataclass(frozen=True, slots=True)
class TcpState:
    """A connection at one moment.

    Attributes:
        state: one of STATES; "closed" after a reset.
        rtt_seconds: the smoothed round trip time (RFC 6298).
        retransmits: segments sent again, over the whole connection.
        unacked: segments sent and not acknowledged yet.
        last_ack_seconds: since the peer last acknowledged anything.
    """

    state: str
    rtt_seconds: float
    retransmits: int
    unacked: int
    last_ack_seconds: float


def parse_tcp_info(data: bytes) -> TcpState | None:
    """A struct tcp_info; None if it is too short to be one."""
    if len(data) < _TCP_INFO.size:
        return None
    state, unacked, last_ack_milliseconds, rtt_microseconds, retransmits = _TCP_INFO.unpack_from(data)
    return TcpState(
        state=STATES[state] if state < len(STATES) else "",
        rtt_seconds=rtt_microseconds / 1e6,
        retransmits=retransmits,
        unacked=unacked,
        last_ack_seconds=last_ack_milliseconds / 1e3,
    )


def read_tcp_state(fd: int) -> TcpState | None:
    """The state of the connection behind a descriptor; None where there is none any more, or it is not TCP."""
    try:
        # any family: only TCP's option is read; and no copy, for which there may be no descriptor
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=fd)
    except (OSError, ValueError):
        return None
    try:
        return parse_tcp_info(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    except OSError:
        return None
    finally:
        sock.detach()


def descriptor(stream: object) -> int:
    """The descriptor of a stream's socket, -1 where there is none, as in a test, or it is closed."""
    sock = getattr(stream, "socket", None)
    return sock.fileno() if sock is not None else -1

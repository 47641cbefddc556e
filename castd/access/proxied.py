"""The PROXY header of a new connection, read off its socket and not a byte more: what follows may be TLS or HTTP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from castd.wire.proxy_protocol import V2_MAX_BYTES, NotProxyProtocol, ProxyHeader, split_header

if TYPE_CHECKING:
    from trio.socket import SocketType


async def receive_header(sock: SocketType, seconds: float) -> ProxyHeader:
    """Wait for the PROXY header (castd.wire.proxy_protocol) at the start of a connection.

    Args:
        sock: nothing was read from it yet; afterwards its next byte is the first behind the header.
        seconds: for the whole header to arrive.

    Raises:
        NotProxyProtocol: something else came, or not all of it in time, or nothing.
        OSError: the peer broke the connection.
    """
    received = b""
    try:
        with trio.fail_after(seconds):
            while True:
                seen = await sock.recv(V2_MAX_BYTES, socket.MSG_PEEK)
                if not seen:
                    raise NotProxyProtocol("it ended before its PROXY header")
                split = split_header(received + seen)
                # what was seen of an unfinished header is all the header's
                taken = await sock.recv(split[1] - len(received) if split else len(seen))
                if split:
                    return split[0]
                received += taken
    except trio.TooSlowError:
        raise NotProxyProtocol(f"no PROXY header within {seconds:g} s") from None

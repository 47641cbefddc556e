"""Fetching a small file from an address that somebody gave us: bounded in size and time, and never from within.

Whoever may set a title could otherwise have this server ask its neighbours, whom no stranger can reach. So each name
is resolved here, every address it has must be of the public internet, and it is these addresses that are connected to;
redirects go through the same door.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from urllib.parse import urljoin

import h11
import trio

from castd.config.rules import WEB_URL
from castd.http.connection import SERVER
from castd.http.post import NoAnswer, Target, default_context, describe_error, next_event

REDIRECTS = 3


async def fetch(url: str, most_bytes: int, seconds: float, *, private: bool) -> bytes:
    """The body of what is at a URL.

    Args:
        most_bytes: it may have.
        seconds: for all of it.
        private: addresses that are not of the public internet will do, too.

    Raises:
        NoAnswer: why there is none.
    """
    with trio.move_on_after(seconds):
        for _ in range(REDIRECTS + 1):
            if not WEB_URL.holds(url) or not url:
                raise NoAnswer("it redirects to what is no web address")
            found = await _ask(Target.of(url), most_bytes, private=private)
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
        raise NoAnswer(f"it redirects more than {REDIRECTS} times")
    raise NoAnswer(f"it did not answer within {seconds:g} s")


async def _ask(target: Target, most_bytes: int, *, private: bool) -> bytes | str:
    """The body, or where it is instead."""
    try:
        stream = await _connect(target, private=private)
    except (OSError, trio.BrokenResourceError) as error:
        raise NoAnswer(describe_error(error)) from None
    try:
        return await _exchange(stream, target, most_bytes)
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        raise NoAnswer(describe_error(error)) from None
    finally:
        await trio.aclose_forcefully(stream)


async def _connect(target: Target, *, private: bool) -> trio.abc.Stream:
    found = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not private and (inside := [each for each in addresses if not is_public_address(each)]):
        raise NoAnswer(f"{target.host} is {inside[0]}, which is not on the public internet")
    stream: trio.abc.Stream = await trio.open_tcp_stream(addresses[0], target.port)
    if target.scheme != "https":
        return stream
    secured = trio.SSLStream(stream, default_context(), server_hostname=target.host, https_compatible=True)
    try:
        await secured.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured


def is_public_address(text: str) -> bool:
    """Whether an address is one of the public internet (IANA's registries of special ones, as Python has them)."""
    address = ip_address(text.partition("%")[0])
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    return address.is_global and not address.is_multicast and (inner is None or inner.is_global)


async def _exchange(stream: trio.abc.Stream, target: Target, most_bytes: int) -> bytes | str:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=16_384)
    fields = [("Host", target.authority), ("User-Agent", SERVER), ("Accept", "image/*"), ("Connection", "close")]
    request = h11.Request(method="GET", target=target.path, headers=fields)
    await stream.send_all((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    while not isinstance(response := await next_event(stream, connection), h11.Response):
        pass  # 1xx
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in response.headers}
    if response.status_code in (301, 302, 303, 307, 308) and headers.get("location"):
        return headers["location"]
    if response.status_code != 200:
        raise NoAnswer(f"it answered {response.status_code}")
    body = bytearray()
    while isinstance(data := await next_event(stream, connection), h11.Data):
        body += data.data
        if len(body) > most_bytes:
            raise NoAnswer(f"it is larger than {most_bytes} bytes")
    return bytes(body)

"""Fetching a small file from an address that somebody gave us: bounded in size and time, and never from within.

Whoever may set a title could otherwise have this server ask its neighbours, whom no stranger can reach. So each name
is resolved here, every address it has must be of the public internet, and it is these addresses that are connected to;
redirects go through the same door.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urljoin

import h11
import trio

from castd.config.rules import WEB_URL
from castd.http.heads import SERVER
from castd.http.post import NoAnswer, Target, default_context, describe_error, next_event

REDIRECTS = 3

ADDRESS_SECONDS = 2.0
"""For a connection to one of a host's addresses, before the next is tried: IPv6 may lead nowhere."""


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
            found = await _ask(Target.of(url), most_bytes, private=private)
            if isinstance(found, bytes):
                return found
            url = redirected(url, found)
        raise NoAnswer(f"it redirects more than {REDIRECTS} times")
    raise NoAnswer(f"it did not answer within {seconds:g} s")


def redirected(url: str, location: str) -> str:
    """The URL that a redirect leads to.

    Args:
        location: untrusted.

    Raises:
        NoAnswer: it is no web address, or has a user in it.
    """
    try:
        joined = urljoin(url, location)
    except ValueError:  # a broken IPv6 address
        joined = ""
    if not joined or not WEB_URL.holds(joined):
        raise NoAnswer("it redirects to what is no web address")
    return joined


async def _ask(target: Target, most_bytes: int, *, private: bool) -> bytes | str:
    """The body, or where it is instead."""
    try:
        stream, _ = await connect(target, default_context(), private=private)
    except (OSError, trio.BrokenResourceError) as error:
        raise NoAnswer(describe_error(error)) from None
    try:
        return await _exchange(stream, target, most_bytes)
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        raise NoAnswer(describe_error(error)) from None
    finally:
        await trio.aclose_forcefully(stream)


async def connect(target: Target, context: ssl.SSLContext, *, private: bool) -> tuple[trio.abc.Stream, str]:
    """A connection to where a URL leads, found out once: no second look at the name can find anything else.

    Args:
        context: decides which certificates are trusted.
        private: addresses that are not of the public internet will do, too.

    Returns:
        The connection, and the address it is to.

    Raises:
        NoAnswer: they will not, and there is one.
        OSError, trio.BrokenResourceError: there is no connection.
    """
    found = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not private and (inside := [each for each in addresses if not is_public_address(each)]):
        raise NoAnswer(f"{target.host} is {inside[0]}, which is not on the public internet")
    stream, address = await _connect_to_one(addresses, target.port)
    if target.scheme != "https":
        return stream, address
    secured = trio.SSLStream(stream, context, server_hostname=target.host, https_compatible=True)
    try:
        await secured.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured, address


async def _connect_to_one(addresses: list[str], port: int) -> tuple[trio.SocketStream, str]:
    """Try addresses in turn.

    Raises:
        OSError: of the last one.
    """
    *others, last = addresses
    for address in others:
        with trio.move_on_after(ADDRESS_SECONDS), suppress(OSError):
            return await trio.open_tcp_stream(address, port), address
    return await trio.open_tcp_stream(last, port), last


_GLOBAL_UNICAST = ip_network("2000::/3")
"""All of IPv6 that is given out (IANA). What lies beside it leads to hosts of IPv4 by some gateway (RFC 6052, RFC 4291
§2.5.5.1), or to the same site (RFC 3879)."""

_SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))
"""For protocols (RFC 6890), 6to4's relays (RFC 7526), documents (RFC 9637): Python has them for global, or does not
know them yet."""


def is_public_address(text: str) -> bool:
    """Whether an address is one of the public internet (IANA's registries of special ones)."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public_address(str(inner))
        if address not in _GLOBAL_UNICAST:
            return False
    special = any(each.version == address.version and address in each for each in _SPECIAL)
    return address.is_global and not address.is_multicast and not special


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

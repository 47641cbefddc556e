"""The PROXY protocol, versions 1 and 2: a proxy's word, before all else, on whose connection it carries.

After proxy-protocol.txt by Willy Tarreau, https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt: §2.1 the line of
version 1, §2.2 the binary header of version 2, §2.2.6 its TLS extension. Fields have the document's names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

V1_MAX_BYTES = 107
"""§2.1: the longest line of version 1, with its CRLF."""

V2_MAX_BYTES = 4096
"""The longest header of version 2 taken here: addresses and the extensions there are need a few hundred bytes, the name
in a client's certificate included; the 65,551 that §2.2 allows would only be room for strangers."""

V1_BEGIN = b"PROXY "
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

_V2_FIXED = struct.Struct("!12sBBH")  # sig, ver_cmd, fam, len
_ADDRESS_BYTES = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}  # by address family: unspecified, INET, INET6, UNIX

LOCAL, PROXY = 0, 1
PP2_TYPE_SSL = 0x20
PP2_CLIENT_SSL = 0x01


class NotProxyProtocol(ValueError):
    """The bytes are no PROXY header; the message says in what. The connection must be dropped (§2)."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a proxy says of the connection it carries.

    Attributes:
        src_addr: the client's address; None where the proxy speaks for itself (LOCAL: a health check) or does not know
            (UNKNOWN, UNSPEC, a Unix socket): the real connection's addresses stand.
        src_port: 0 without an address.
        dst_addr: what the client connected to; None as above.
        dst_port: 0 without an address.
        ssl: the client reached the proxy by TLS (PP2_CLIENT_SSL; version 1 cannot tell).
    """

    src_addr: Address | None = None
    src_port: int = 0
    dst_addr: Address | None = None
    dst_port: int = 0
    ssl: bool = False


def split_header(received: bytes) -> tuple[ProxyHeader, int] | None:
    """Take the PROXY header off the first bytes of a connection.

    Args:
        received: from the first byte on, cut anywhere.

    Returns:
        The header and its length in bytes; None while it is not complete.

    Raises:
        NotProxyProtocol: as soon as no further byte could make it one.
    """
    if received[: len(V2_SIGNATURE)] == V2_SIGNATURE[: len(received)]:
        return _split_v2(received)
    if received[: len(V1_BEGIN)] == V1_BEGIN[: len(received)]:
        return _split_v1(received)
    raise NotProxyProtocol("it begins with no PROXY header")


def _split_v1(received: bytes) -> tuple[ProxyHeader, int] | None:
    end = received.find(b"\r\n", 0, V1_MAX_BYTES)
    if end < 0:
        if len(received) >= V1_MAX_BYTES:
            raise NotProxyProtocol(f"no CRLF within {V1_MAX_BYTES} bytes")
        return None
    match received[len(V1_BEGIN) : end].split(b" "):
        case [b"UNKNOWN", *_]:
            return ProxyHeader(), end + 2
        case [b"TCP4" | b"TCP6" as family, src_addr, dst_addr, src_port, dst_port]:
            kind = IPv4Address if family == b"TCP4" else IPv6Address
            header = ProxyHeader(
                _v1_address(kind, src_addr), _v1_port(src_port), _v1_address(kind, dst_addr), _v1_port(dst_port)
            )
            return header, end + 2
        case _:
            raise NotProxyProtocol("a line that is neither TCP4, TCP6 nor UNKNOWN")


def _v1_address(kind: type[Address], text: bytes) -> Address:
    try:
        if b"%" in text:
            raise ValueError("a scope")
        return kind(text.decode("ascii"))
    except ValueError:
        raise NotProxyProtocol("an address that is none of its family") from None


def _v1_port(text: bytes) -> int:
    if not (text.isdigit() and len(text) <= 5 and int(text) <= 65535 and (text == b"0" or text[:1] != b"0")):
        raise NotProxyProtocol("a port that is none")
    return int(text)


def _split_v2(received: bytes) -> tuple[ProxyHeader, int] | None:
    if len(received) < _V2_FIXED.size:
        return None
    _, ver_cmd, fam, length = _V2_FIXED.unpack_from(received)
    version, command = divmod(ver_cmd, 16)
    family, transport = divmod(fam, 16)
    end = _V2_FIXED.size + length
    if version != 2 or command not in (LOCAL, PROXY):
        raise NotProxyProtocol(f"version {version}, command {command}")
    if end > V2_MAX_BYTES:
        raise NotProxyProtocol(f"a header of {end} bytes")
    # LOCAL's family and length mean nothing (§2.2), but what no sender may emit is refused all the same
    if family not in _ADDRESS_BYTES or transport > 2:
        raise NotProxyProtocol(f"address family {family}, transport {transport}")
    if command == PROXY and length < _ADDRESS_BYTES[family]:
        raise NotProxyProtocol(f"{length} bytes for an address of {_ADDRESS_BYTES[family]}")
    if len(received) < end:
        return None
    if command == LOCAL:
        return ProxyHeader(), end
    block = received[_V2_FIXED.size : end]
    ssl = any(kind == PP2_TYPE_SSL and value[:1] and value[0] & PP2_CLIENT_SSL
              for kind, value in _extensions(block[_ADDRESS_BYTES[family] :]))  # fmt: skip
    if family not in (0x1, 0x2) or transport != 1:
        return ProxyHeader(ssl=ssl), end
    size = 4 if family == 0x1 else 16
    src_addr, dst_addr, src_port, dst_port = struct.unpack_from(f"!{size}s{size}sHH", block)
    return ProxyHeader(ip_address(src_addr), src_port, ip_address(dst_addr), dst_port, ssl), end


def _extensions(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each TLV (§2.2); one that says it is longer than there are bytes ends them."""
    while len(block) >= 3:
        kind, length = struct.unpack_from("!BH", block)
        if 3 + length > len(block):
            return
        yield kind, block[3 : 3 + length]
        block = block[3 + length :]


def write_v1(header: ProxyHeader) -> bytes:
    """The header as a line of version 1 (§2.1), which cannot tell of TLS."""
    if header.src_addr is None or header.dst_addr is None:
        return b"PROXY UNKNOWN\r\n"
    family, ports = f"TCP{header.src_addr.version}", f"{header.src_port} {header.dst_port}"
    return f"PROXY {family} {header.src_addr} {header.dst_addr} {ports}\r\n".encode("ascii")


def write_v2(header: ProxyHeader) -> bytes:
    """The header in version 2 (§2.2), as LOCAL where there is no address."""
    extension = b"\x20\x00\x05\x01\x00\x00\x00\x00" if header.ssl else b""
    if header.src_addr is None or header.dst_addr is None:
        command, family, block = (PROXY if header.ssl else LOCAL), 0x00, extension
    else:
        command, family = PROXY, 0x11 if header.src_addr.version == 4 else 0x21
        ports = struct.pack("!HH", header.src_port, header.dst_port)
        block = header.src_addr.packed + header.dst_addr.packed + ports + extension
    return _V2_FIXED.pack(V2_SIGNATURE, 0x20 | command, family, len(block)) + block

"""PROXY headers: read at any cut, written and read back, refused as soon as they can be none."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.wire.proxy_protocol import (
    V1_MAX_BYTES,
    V2_MAX_BYTES,
    V2_SIGNATURE,
    NotProxyProtocol,
    ProxyHeader,
    split_header,
    write_v1,
    write_v2,
)

PORTS = st.integers(0, 65535)


def headers_of(kind: type[IPv4Address] | type[IPv6Address]) -> st.SearchStrategy[ProxyHeader]:
    addresses = st.ip_addresses(v=4 if kind is IPv4Address else 6)
    return st.builds(ProxyHeader, addresses, PORTS, addresses, PORTS, st.booleans())


HEADERS = st.one_of(
    st.just(ProxyHeader()), st.just(ProxyHeader(ssl=True)), headers_of(IPv4Address), headers_of(IPv6Address)
)


def v2(ver_cmd: int, fam: int, block: bytes) -> bytes:
    return V2_SIGNATURE + struct.pack("!BBH", ver_cmd, fam, len(block)) + block


V4 = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + struct.pack("!HH", 4711, 8000)
V4_HEADER = ProxyHeader(ip_address("192.0.2.1"), 4711, ip_address("192.0.2.2"), 8000)


@given(HEADERS, st.binary(max_size=40))
def test_what_is_written_is_read_at_any_cut(header: ProxyHeader, rest: bytes) -> None:
    for written, meant in ((write_v1(header), replace(header, ssl=False)), (write_v2(header), header)):
        for cut in range(len(written)):
            assert split_header(written[:cut]) is None
        assert split_header(written + rest) == (meant, len(written))


@given(st.binary(max_size=300))
def test_noise_is_refused_or_waited_for_and_never_longer_than_it_is(noise: bytes) -> None:
    for received in (noise, b"PROXY " + noise, b"PROXY TCP4 " + noise, V2_SIGNATURE + noise, v2(0x21, 0x11, noise)):
        try:
            split = split_header(received)
        except NotProxyProtocol:
            continue
        assert split is None or split[1] <= len(received)
        assert split is not None or len(received) < V2_MAX_BYTES


@given(st.binary(max_size=120))
def test_a_whole_buffer_is_always_enough(noise: bytes) -> None:
    for received in (b"PROXY " + noise + bytes(V2_MAX_BYTES), V2_SIGNATURE + noise + bytes(V2_MAX_BYTES)):
        try:
            assert split_header(received) is not None
        except NotProxyProtocol:
            pass


@pytest.mark.parametrize(
    ("line", "header"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 8000\r\n", V4_HEADER),
        (
            b"PROXY TCP6 2001:DB8::1 ::1 0 65535\r\n",
            ProxyHeader(ip_address("2001:db8::1"), 0, ip_address("::1"), 65535),
        ),
        (b"PROXY UNKNOWN\r\n", ProxyHeader()),
        (b"PROXY UNKNOWN ff:f ! anything 1 2\r\n", ProxyHeader()),
        (b"PROXY UNKNOWN" + b" " * (V1_MAX_BYTES - 15) + b"\r\n", ProxyHeader()),
    ],
)
def test_version_1(line: bytes, header: ProxyHeader) -> None:
    assert split_header(line + b"GET /") == (header, len(line))


@pytest.mark.parametrize(
    ("ver_cmd", "fam", "block", "header"),
    [
        pytest.param(0x21, 0x11, V4, V4_HEADER, id="TCP over IPv4"),
        pytest.param(0x21, 0x11, V4 + b"\x01\x00\x02h2", V4_HEADER, id="with ALPN"),
        pytest.param(0x21, 0x11, V4 + b"\x04\x00\x00\x20\x00\x05\x01\0\0\0\0", replace(V4_HEADER, ssl=True), id="TLS"),
        pytest.param(0x21, 0x11, V4 + b"\x20\x00\x05\x06\0\0\0\0", V4_HEADER, id="a certificate from before"),
        pytest.param(0x21, 0x11, V4 + b"\x20\x00\x00", V4_HEADER, id="an empty extension"),
        pytest.param(0x21, 0x11, V4 + b"\x20\xff\xff\x01", V4_HEADER, id="an extension longer than the header"),
        pytest.param(0x21, 0x12, V4, ProxyHeader(), id="UDP"),
        pytest.param(0x21, 0x31, bytes(216), ProxyHeader(), id="a Unix socket"),
        pytest.param(0x21, 0x00, b"", ProxyHeader(), id="UNSPEC"),
        pytest.param(0x20, 0x00, b"", ProxyHeader(), id="LOCAL"),
        pytest.param(0x20, 0x11, V4, ProxyHeader(), id="LOCAL with an address"),
        pytest.param(0x20, 0x11, b"xyz", ProxyHeader(), id="LOCAL with whatever"),
        pytest.param(0x21, 0x11, V4 + bytes(V2_MAX_BYTES - 28), V4_HEADER, id="the longest"),
    ],
)
def test_version_2(ver_cmd: int, fam: int, block: bytes, header: ProxyHeader) -> None:
    written = v2(ver_cmd, fam, block)
    assert split_header(written + b"GET /") == (header, len(written))


@pytest.mark.parametrize(
    "received",
    [
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"PROXZ",
        b"proxy TCP4 ",
        b"\x16\x03\x01",
        b"\r\n\r\nGET",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 \xb2 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNKNOWN " + b"x" * V1_MAX_BYTES + b"\r\n",
        v2(0x11, 0x11, V4),
        v2(0x31, 0x11, V4),
        v2(0x22, 0x11, V4),
        v2(0x21, 0x41, V4),
        v2(0x21, 0x13, V4),
        v2(0x21, 0x11, V4[:-1]),
        v2(0x21, 0x21, V4),
        v2(0x21, 0x31, bytes(215)),
        v2(0x21, 0x11, bytes(V2_MAX_BYTES - 15))[:16],
        V2_SIGNATURE + b"\x20\x00\xff\xff",
    ],
)
def test_refused(received: bytes) -> None:
    with pytest.raises(NotProxyProtocol):
        split_header(received)

"""The front door behind proxies, on real sockets: whose each request and connection is, and what that counts for."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address

import pytest

from castd.config import Config, Limits, Listen, Proxies
from castd.wire.proxy_protocol import ProxyHeader, write_v1, write_v2
from tests.support import SOURCE, Serving, configured, head, serving

TELLS = ProxyHeader(ip_address("203.0.113.9"), 4711, ip_address("198.51.100.1"), 443)


def behind(*, proxy_protocol: bool = False, most: int = 0, trusted: str = "127.0.0.1") -> Config:
    """A configuration for a proxy at an address; the tests' own connections come from 127.0.0.1.

    Args:
        most: connections at once from one address.
    """
    return replace(
        configured(limits=Limits(max_connections_per_address=most, header_timeout_seconds=0.2)),
        listen=(Listen(host="127.0.0.1", port=0, proxy_protocol=proxy_protocol),),
        proxies=Proxies(trusted=(trusted,)),
    )


def status(**fields: str) -> bytes:
    return head("GET", "/api/v1/status", {name.replace("_", "-"): value for name, value in fields.items()})


def addresses(castd: Serving) -> list[str]:
    return sorted(castd.server.admission.open.addresses)


async def test_a_proxys_connection_carries_many_clients() -> None:
    async with serving(behind()) as castd, await castd.connect() as client:
        for address in ("203.0.113.1", "203.0.113.2", "2001:db8::3", "203.0.113.1"):
            assert (await client.ask(status(X_Forwarded_For=f"1.1.1.1, {address}"))).status == 200
            assert addresses(castd) == [address]
        await client.ask(status())
        assert addresses(castd) == ["127.0.0.1"]


async def test_strangers_are_not_believed() -> None:
    async with serving(behind(trusted="10.0.0.0/8")) as castd, await castd.connect() as client:
        assert (await client.ask(status(X_Forwarded_For="1.1.1.1"))).status == 200
        assert addresses(castd) == ["127.0.0.1"]


async def test_sources_listeners_and_links_have_the_clients_address() -> None:
    said = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/radio"}
    async with serving(behind()) as castd:
        encoder = await castd.encoder("/live", said)
        await encoder.push(5)
        await castd.ear("/live", said | {"X-Forwarded-For": "[2001:db8::9]:4711"})
        mount = castd.mount("/live")
        assert mount.source is not None
        assert mount.source.address == "203.0.113.9"
        assert [listener.address for listener in mount.listeners.values()] == ["2001:db8::9"]
        for more, url in (
            ({}, "https://radio.test/radio/live"),
            ({"X-Forwarded-Host": "a:8"}, "https://a:8/radio/live"),
        ):
            reply = await castd.ask(head("GET", "/api/v1/mounts/live", said | more))
            assert json.loads(reply.body)["listen_url"] == url


async def test_the_limit_of_connections_is_the_clients_not_the_proxys() -> None:
    async with serving(behind(most=2)) as castd:
        clients = [await castd.connect() for _ in range(5)]
        statuses = [(await client.ask(status(X_Forwarded_For="203.0.113.9"))).status for client in clients]
        assert statuses == [200, 200, 429, 429, 429]
        assert (await clients[0].ask(status(X_Forwarded_For="203.0.113.9"))).status == 200
        assert (await (await castd.connect()).ask(status(X_Forwarded_For="203.0.113.8"))).status == 200


async def test_fields_that_make_no_sense_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(behind()) as castd, await castd.connect() as client:
        for _ in range(3):
            assert (await client.ask(status(X_Forwarded_For="nobody"))).status == 200
        assert addresses(castd) == ["127.0.0.1"]
    assert [each.getMessage() for each in caplog.records if "nobody" in each.getMessage()] == [
        'fields of a proxy not understood, 127.0.0.1 sent x-forwarded-for: "nobody" is no address'
        " (0 times more since the last such line)"
    ]


@pytest.mark.parametrize("header", [write_v1(TELLS), write_v2(TELLS)], ids=["v1", "v2"])
async def test_a_proxy_header_tells_address_and_our_own(header: bytes) -> None:
    async with serving(behind(proxy_protocol=True)) as castd, await castd.connect() as client:
        assert (await client.ask(header + status(X_Forwarded_For="1.1.1.1"))).status == 200
        assert addresses(castd) == ["203.0.113.9"]


async def test_a_proxy_header_of_the_proxy_itself() -> None:
    async with serving(behind(proxy_protocol=True)) as castd, await castd.connect() as client:
        assert (await client.ask(write_v2(ProxyHeader()) + status())).status == 200
        assert addresses(castd) == ["127.0.0.1"]


@pytest.mark.parametrize("ssl", [False, True])
async def test_a_proxy_header_makes_links(ssl: bool) -> None:
    """To what the client connected to, where it names no host (HTTP/1.0), by TLS if it reached the proxy so."""
    header = write_v2(replace(TELLS, ssl=ssl))
    async with serving(behind(proxy_protocol=True)) as castd:
        encoder = await castd.connect()
        put = head("PUT", "/live", user=SOURCE)
        await encoder.send(header + put)
        await encoder.until(b"200 OK\r\n\r\n")
        async with await castd.connect() as client:
            reply = await client.ask(header + b"GET /api/v1/mounts/live HTTP/1.0\r\n\r\n")
        scheme = "https" if ssl else "http"
        assert json.loads(reply.body)["listen_url"] == f"{scheme}://198.51.100.1:443/live"


@pytest.mark.parametrize(
    ("sent", "trusted", "reason"),
    [
        (write_v1(TELLS), "10.0.0.1", "it is not in proxies.trusted"),
        (b"GET / HTTP/1.0\r\n\r\n", "127.0.0.1", "it begins with no PROXY header"),
        (b"PROXY TCP4 ", "127.0.0.1", "no PROXY header within 0.2 s"),
    ],
)
async def test_who_is_closed_and_why(sent: bytes, trusted: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(behind(proxy_protocol=True, trusted=trusted)) as castd, await castd.connect() as client:
        await client.send(sent)
        assert await client.rest() == b""
        assert not castd.server.admission.waiting
    assert f"127.0.0.1 was closed: {reason}" in caplog.text


async def test_the_limit_of_connections_counts_what_the_proxy_header_says() -> None:
    async with serving(behind(proxy_protocol=True, most=1)) as castd:
        first, second, third = [await castd.connect() for _ in range(3)]
        assert (await first.ask(write_v1(TELLS) + status())).status == 200
        assert (await second.ask(write_v1(TELLS) + status())).status == 429
        other = replace(TELLS, src_addr=ip_address("203.0.113.8"))
        assert (await third.ask(write_v1(other) + status())).status == 200

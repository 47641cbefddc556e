"""Through nginx, HAProxy and Caddy: audio arrives whole, titles with it, and castd knows whose each connection is.

The proxies connect from PROXY_ADDRESS (Caddy, which cannot choose, from 127.0.0.1), listeners from LISTENER, encoders
from 127.0.0.1. What cannot pass is tested, too, and docs/proxies.md says so.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.e2e.client import Listener, get
from tests.e2e.peers.ffmpeg import Method, publish
from tests.e2e.peers.proxies import PROXY_ADDRESS, Proxy
from tests.e2e.program import until
from tests.e2e.server import ADMIN_PASSWORD, SOURCE_PASSWORD, Castd, live, set_title

if TYPE_CHECKING:
    from tests.e2e.media import Media

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "nginx", "haproxy", "caddy")]

ENCODER, LISTENER = "127.0.0.1", "127.0.0.9"
TITLE = "Söng through a proxy"

SETTINGS = f"""
[[listen]]
host = "127.0.0.1"
port = 0
proxy_protocol = true

[proxies]
trusted = ["{PROXY_ADDRESS}", "127.0.0.1"]
"""


@dataclass(frozen=True)
class Through:
    """A proxy as an encoder sees it: as tests.e2e.server.Server."""

    address: str


@pytest.fixture
async def castd(tmp_path: Path) -> AsyncIterator[Castd]:
    """castd behind proxies, with a second port for the PROXY protocol."""
    async with Castd(tmp_path, SETTINGS) as running:
        yield running


async def both_ports(castd: Castd) -> None:
    async def told() -> bool:
        return len(castd.addresses) == 2

    await until(told, seconds=5, what="both ports")


async def proxied(castd: Castd, name: str, folder: Path) -> Proxy:
    await both_ports(castd)
    http, proxy_protocol = castd.addresses
    return Proxy(name, http, proxy_protocol, folder / f"{name}.log")


async def listed(castd: Castd, kind: str, mount: str) -> list[dict[str, Any]]:
    """The sources or listeners of a mount, as operators see them."""
    reply = await get(f"{castd.address}/api/v1/admin/{kind}?mount={mount}", ("admin", ADMIN_PASSWORD))
    return list(json.loads(reply.body)[kind]) if reply.status == 200 else []


@pytest.mark.parametrize(
    ("name", "way"), [("nginx", "http"), ("haproxy", "http"), ("haproxy", "v1"), ("haproxy", "v2"), ("caddy", "http")]
)
async def test_listeners(name: str, way: str, castd: Castd, media: Mapping[str, Media], tmp_path: Path) -> None:
    mp3 = media["mp3"]
    with trio.fail_after(60):
        async with publish(mp3, castd, "/live", tmp_path / "ffmpeg.log"), await proxied(castd, name, tmp_path) as proxy:
            await live(castd, "/live")
            url = proxy.addresses[way]
            async with Listener(url + "/live", icy=True, local_address=LISTENER) as listener:
                (seen,) = await listed(castd, "listeners", "/live")
                assert seen["address"] == LISTENER
                await set_title(castd, "/live", TITLE)
                await listener.listen(6)  # past the burst: what is sent from now on is not held back
                assert mp3.find(mp3.format.walk(listener.audio())).seconds > 5
                assert TITLE in listener.titles()
            assert await listen_url(url) == f"{url}/live"
            if way == "http":
                assert await listen_url(f"{url}/radio") == f"{url}/radio/live"


async def listen_url(url: str) -> str:
    reply = await get(f"{url}/api/v1/mounts/live")
    return str(json.loads(reply.body)["listen_url"])


@pytest.mark.parametrize(
    ("name", "way", "method"),
    [
        ("nginx", "http", Method.CHUNKED),
        ("haproxy", "http", Method.CHUNKED),
        ("haproxy", "v1", Method.CHUNKED),
        ("haproxy", "v1", Method.SOURCE),
        ("haproxy", "v2", Method.SOURCE),
        ("haproxy", "v2", Method.PUT),
    ],
)
async def test_sources(
    name: str, way: str, method: Method, castd: Castd, media: Mapping[str, Media], tmp_path: Path
) -> None:
    mp3 = media["mp3"]
    with trio.fail_after(60):
        async with await proxied(castd, name, tmp_path) as proxy:
            through = Through(proxy.addresses[way])
            async with publish(mp3, through, "/live", tmp_path / "ffmpeg.log", method) as encoder:
                await live(castd, "/live")
                async with Listener(castd.address + "/live") as listener:
                    received = mp3.format.walk(await listener.listen(6))
                assert mp3.find(received).seconds > 5
                (seen,) = await listed(castd, "sources", "/live")
                assert seen["address"] == ENCODER
                assert seen["skipped_bytes"] < 2 * len(mp3.units[0])
                assert encoder.running, encoder.text()


@pytest.mark.parametrize("name", ["nginx", "haproxy", "caddy"])
@pytest.mark.parametrize("head", ["PUT /live HTTP/1.1", "SOURCE /live HTTP/1.0"])
async def test_an_endless_body_does_not_pass_an_http_proxy(
    name: str, head: str, castd: Castd, media: Mapping[str, Media], tmp_path: Path
) -> None:
    """It ends there, after no bytes: HTTP says that a request without length has no body (RFC 9112 §6.3)."""
    audio = media["mp3"].path.read_bytes()[:40_000]
    secret = base64.b64encode(f"source:{SOURCE_PASSWORD}".encode()).decode()
    request = f"{head}\r\nHost: localhost\r\nAuthorization: Basic {secret}\r\nContent-Type: audio/mpeg\r\n\r\n"

    async def sources() -> list[dict[str, Any]]:
        return await listed(castd, "sources", "/live")

    with trio.fail_after(30):
        async with await proxied(castd, name, tmp_path) as proxy:
            stream = await trio.open_tcp_stream("127.0.0.1", int(proxy.addresses["http"].rpartition(":")[2]))
            await stream.send_all(request.encode() + audio)
            (seen,) = await until(sources, seconds=10, what="the source")
            await trio.sleep(0.2)
            (seen,) = await sources()
            assert seen["bytes_received"] == 0
            await trio.aclose_forcefully(stream)


async def test_the_proxy_protocol_is_for_trusted_proxies(castd: Castd) -> None:
    """Whoever else comes to that port, and a proxy that sends something else, is closed with a reason in the log."""
    header = b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\nGET /api/v1/status HTTP/1.0\r\n\r\n"

    async def said(local_address: str, sent: bytes) -> bytes:
        port = int(castd.addresses[1].rpartition(":")[2])
        stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=local_address)
        try:
            await stream.send_all(sent)
            return bytes(await stream.receive_some())
        except trio.BrokenResourceError:
            return b""
        finally:
            await trio.aclose_forcefully(stream)

    with trio.fail_after(20):
        await both_ports(castd)
        assert (await said(PROXY_ADDRESS, header)).startswith(b"HTTP/1.1 200")
        assert await said(LISTENER, header) == b""
        assert f"{LISTENER} was closed: it is not in proxies.trusted" in castd.log()

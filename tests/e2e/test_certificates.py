"""Certificates that somebody else gets and renews, as docs/tls.md tells: Caddy keeps them, castd serves them.

Caddy's own authority stands in for a public one: what it does with the certificate afterwards is the same.
"""

from __future__ import annotations

import shutil
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trio

from tests.e2e.peers.icecast import free_port
from tests.e2e.program import Program, until
from tests.e2e.server import Castd, live, source_url

if TYPE_CHECKING:
    from tests.e2e.media import Media

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg", "curl", "caddy")]

CADDY = """\
{{
    admin off
    auto_https disable_redirects
    skip_install_trust
    http_port {http}
    https_port {https}
    storage file_system {storage}
}}
localhost {{
    bind 127.0.0.1
    tls internal
    respond "kept by Caddy"
}}
"""


@asynccontextmanager
async def caddy(folder: Path) -> AsyncIterator[tuple[Path, Path, Path]]:
    """A Caddy that keeps a certificate for localhost: its files, and that of the authority."""
    storage = folder / "caddy"
    kept = storage / "certificates/local/localhost"
    files = kept / "localhost.crt", kept / "localhost.key", storage / "pki/authorities/local/root.crt"
    config = folder / "Caddyfile"
    config.write_text(CADDY.format(http=free_port(), https=free_port(), storage=storage))
    command = [shutil.which("caddy") or "caddy", "run", "--config", str(config), "--adapter", "caddyfile"]
    home = {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}

    async def there() -> bool:
        return all(file.exists() and file.stat().st_size for file in files)

    async with Program(command, folder / "caddy.log", environment=home):
        await until(there, seconds=20, what="Caddy's certificate")
        yield files


async def serial_number(castd: Castd, authority: Path) -> str:
    """Of the certificate that a new connection gets; it has to be the authority's, for localhost."""
    port = urlsplit(castd.address).port
    assert port is not None
    context = ssl.create_default_context(cafile=str(authority))
    stream = await trio.open_ssl_over_tcp_stream("localhost", port, ssl_context=context)
    await stream.do_handshake()
    serial: str = stream.getpeercert()["serialNumber"]
    await trio.aclose_forcefully(stream)
    return serial


async def test_castd_serves_what_caddy_keeps(media: Mapping[str, Media], tmp_path: Path) -> None:
    with trio.fail_after(90):
        async with caddy(tmp_path) as (certificate, key, authority):
            first_key = key.read_bytes()
        settings = f'[[certificates]]\ncertificate = "{certificate}"\nkey = "{key}"\n'
        async with Castd(tmp_path / "castd", settings, listen='tls = "auto"') as castd:
            form = media["mp3"].format
            push = ["-re", "-stream_loop", "-1", "-i", str(media["mp3"].path), "-c", "copy", "-f", form.container]
            target = ["-content_type", form.content_type, "-tls", "1", source_url(castd, "/live")]
            async with Program(["ffmpeg", "-nostdin", "-v", "warning", *push, *target], tmp_path / "ffmpeg.log"):
                await live(castd, "/live")
                first = await serial_number(castd, authority)
                secured = castd.address.replace("http://127.0.0.1", "https://localhost")
                heard = tmp_path / "heard.mp3"
                listen = ["curl", "-sS4", "--cacert", str(authority), "-o", str(heard), f"{secured}/live"]
                async with Program(listen, tmp_path / "curl.log") as listener:
                    certificate.unlink()  # as good as expired: Caddy gets another one, for the same name
                    key.unlink()
                    async with caddy(tmp_path):
                        assert key.read_bytes() != first_key

                    async def renewed() -> bool:
                        return await serial_number(castd, authority) != first

                    await until(renewed, seconds=10, what="the new certificate")

                    def size() -> int:
                        return heard.stat().st_size

                    before = size()

                    async def plays_on() -> bool:
                        return size() > before

                    await until(plays_on, seconds=10, what="more audio for who was there before")
                    assert listener.running, listener.text()
            decoded = await trio.run_process(
                ["ffmpeg", "-v", "error", "-f", "mp3", "-i", heard, "-f", "null", "-"], capture_stderr=True, check=False
            )
            assert not decoded.stderr.strip()

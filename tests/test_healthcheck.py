"""castd healthcheck: 0 or 1, and why."""

from __future__ import annotations

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from castd import healthcheck
from castd.cli import main
from castd.config import Listen
from castd.errors import ConfigError
from castd.healthcheck import ailment, health_url
from tests.support import serving


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ([Listen()], "http://127.0.0.1:8000/healthz"),
        ([Listen(host="0.0.0.0", port=80)], "http://127.0.0.1:80/healthz"),
        ([Listen(host="::")], "http://[::1]:8000/healthz"),
        ([Listen(host="fd00::1")], "http://[fd00::1]:8000/healthz"),
        ([Listen(host="radio.test", port=443, tls="on")], "https://radio.test:443/healthz"),
        ([Listen(tls="auto")], "http://127.0.0.1:8000/healthz"),
        ([Listen(proxy_protocol=True), Listen(port=0), Listen(port=81)], "http://127.0.0.1:81/healthz"),
    ],
)
def test_where_to_ask(listen: list[Listen], url: str) -> None:
    assert health_url(listen) == url


def test_nowhere_to_ask() -> None:
    with pytest.raises(ConfigError, match="--url"):
        health_url([Listen(port=0), Listen(proxy_protocol=True)])


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x/", "http://", "http://[x", "http://x:99999/"])
def test_no_url(url: str) -> None:
    with pytest.raises(ConfigError, match="no http or https URL"):
        ailment(url)


async def test_a_living_server() -> None:
    async with serving() as castd:
        assert await trio.to_thread.run_sync(ailment, f"http://127.0.0.1:{castd.port}") == ""
        assert await trio.to_thread.run_sync(main, ["healthcheck", "--url", f"http://127.0.0.1:{castd.port}/"]) == 0
        wrong = await trio.to_thread.run_sync(ailment, f"http://127.0.0.1:{castd.port}/absent")
        assert wrong.endswith("status 404")


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that hangs: the kernel connects, nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def test_a_hanging_server(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healthcheck, "TIMEOUT_SECONDS", 0.1)
    assert "timed out" in ailment(f"http://127.0.0.1:{silent}")


def test_no_server(silent: int, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    config = tmp_path / "castd.toml"
    config.write_text(f'[[listen]]\nhost = "127.0.0.1"\nport = {port}\n')
    assert main(["healthcheck", "-c", str(config)]) == 1
    assert f"castd: not healthy: http://127.0.0.1:{port}/healthz: " in capsys.readouterr().err


def test_what_is_no_http(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:

        def answer() -> None:
            connection, _ = sock.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"ICY 401\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["healthcheck", "--url", f"http://127.0.0.1:{sock.getsockname()[1]}"]) == 1
        thread.join(5)
    assert "not healthy" in capsys.readouterr().err


def test_a_broken_configuration_is_1_too(tmp_path: Path) -> None:
    (tmp_path / "castd.toml").write_text("nonsense")
    assert main(["healthcheck", "-c", str(tmp_path / "castd.toml")]) == 1


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Well(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with http.server.HTTPServer(("127.0.0.1", 0), Well) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert ailment(f"http://127.0.0.1:{server.server_port}") == ""
        thread.join(5)
    assert os.environ["http_proxy"]

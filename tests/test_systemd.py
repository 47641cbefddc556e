"""systemd's side of it played by a datagram socket, and by a parent that passes descriptors."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from castd.app import Server
from castd.config import Listen
from castd.errors import ConfigError
from castd.sockets import open_listeners
from castd.systemd import FIRST_DESCRIPTOR, Notifier, passed_descriptors
from tests.support import SECRETS, configured, until

HOST_ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


class Manager:
    """Receives what a service tells."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address)

    def heard(self) -> list[str]:
        """All messages since the last time."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Manager, dict[str, str]]]:
    """A manager, and the environment it gives its service."""
    if request.param == "path":
        address, given = str(tmp_path / "n"), str(tmp_path / "n")
    else:
        address, given = f"\0castd-test-{os.getpid()}", f"@castd-test-{os.getpid()}"
    made = Manager(address)
    with made.socket:
        yield made, {"NOTIFY_SOCKET": given}


Managed = tuple[Manager, dict[str, str]]

Make = Callable[[dict[str, str]], Notifier]


@pytest.fixture
def notifier_of() -> Iterator[Make]:
    """Makes notifiers, and closes them in the end."""
    made: list[Notifier] = []

    def make(environ: dict[str, str]) -> Notifier:
        made.append(Notifier(environ))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_what_is_told(manager: Managed, notifier_of: Make) -> None:
    listening, environ = manager
    notifier = notifier_of(environ)
    notifier.ready()
    notifier.status("3 sources,\n7 listeners ")
    notifier.status("3 sources, 7 listeners")
    notifier.stopping(5)
    assert listening.heard() == [
        "READY=1",
        "STATUS=3 sources, 7 listeners",
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000",
    ]


def test_reloading_carries_the_time(manager: Managed, notifier_of: Make) -> None:
    listening, environ = manager
    before = time.monotonic_ns() // 1000
    notifier_of(environ).reloading()
    (message,) = listening.heard()
    match = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", message)
    assert match
    assert before <= int(match[1]) <= time.monotonic_ns() // 1000


async def test_the_watchdog_hears_twice_in_its_time(
    manager: Managed, notifier_of: Make, autojump_clock: trio.testing.MockClock
) -> None:
    listening, environ = manager
    notifier = notifier_of({**environ, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())})
    with trio.move_on_after(7):
        await notifier.attend(lambda: "well")
    assert listening.heard() == ["WATCHDOG=1", "STATUS=well", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]


@pytest.mark.parametrize("watchdog", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "1"}])
async def test_without_a_watchdog_only_the_status_is_told(
    manager: Managed, notifier_of: Make, watchdog: dict[str, str], autojump_clock: trio.testing.MockClock
) -> None:
    listening, environ = manager
    lines = iter(["a", "a", "b", "b", "b"])
    with trio.move_on_after(35):
        await notifier_of({**environ, **watchdog}).attend(lambda: next(lines))
    assert listening.heard() == ["STATUS=a", "STATUS=b"]


async def test_nobody_listens(notifier_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    notifier = notifier_of({})
    notifier.ready()
    notifier.reloading()
    notifier.stopping(1)
    await notifier.attend(lambda: "nobody asks")
    assert not caplog.records


def test_a_manager_that_is_gone_does_no_harm(
    notifier_of: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier_of({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert "did not hear READY=1" in caplog.text


def test_a_manager_that_does_not_read_is_told_of_once(
    manager: Managed, notifier_of: Make, caplog: pytest.LogCaptureFixture
) -> None:
    listening, environ = manager
    notifier = notifier_of(environ)
    for number in range(2000):
        notifier.status(f"{number}".ljust(1000, "."))
    assert caplog.text.count("did not hear") == 1
    assert listening.heard()[0].startswith("STATUS=0.")
    caplog.clear()
    notifier.status("read again")
    assert listening.heard() == ["STATUS=read again"]


def test_the_watchdog_hears_from_a_server_without_descriptors(manager: Managed, notifier_of: Make) -> None:
    listening, environ = manager
    notifier = notifier_of(environ)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        notifier.ready()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert listening.heard() == ["READY=1"]


async def test_a_server_tells_when_it_is_ready_and_when_it_stops(
    manager: Managed, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening, environ = manager
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    server = Server(configured(), SECRETS)
    heard: list[str] = []

    def so_far() -> list[str]:
        heard.extend(listening.heard())
        return heard

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run, lambda urls: None)
            await until(lambda: "READY=1" in so_far() and "STATUS=0 sources, 0 listeners" in so_far())
            os.kill(os.getpid(), 15)
    assert so_far()[-1].startswith("STOPPING=1\n")
    assert heard.count("READY=1") == 1


# Passed sockets


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_nothing_was_passed(environ: dict[str, str]) -> None:
    assert passed_descriptors(environ) == []


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    tightened = []
    monkeypatch.setattr(os, "set_inheritable", lambda *given: tightened.append(given))
    environ = {"LISTEN_FDS": "3", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "http:https"}
    assert passed_descriptors(environ) == [(3, "http"), (4, "https"), (5, "")]
    assert tightened == [(3, False), (4, False), (5, False)]


def passing(monkeypatch: pytest.MonkeyPatch, sock: socket.socket) -> None:
    """Have open_listeners find a socket of ours."""
    monkeypatch.setattr("castd.systemd.passed_descriptors", lambda environ: [(sock.detach(), "radio")])


def listening_on_loopback() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


async def test_a_passed_socket_is_used_with_the_settings_of_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    sock = listening_on_loopback()
    port = sock.getsockname()[1]
    passing(monkeypatch, sock)
    mine = Listen(port=port, proxy_protocol=True)
    (bound,) = await open_listeners((Listen(port=1), mine))
    with bound.listener.socket as used:
        assert used.getsockname() == ("127.0.0.1", port)
        assert bound.listen == mine


async def test_a_single_address_is_for_whatever_was_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    passing(monkeypatch, listening_on_loopback())
    (bound,) = await open_listeners((Listen(port=1),))
    with bound.listener.socket:
        assert bound.listen == Listen(port=1)


async def test_a_socket_nobody_knows_what_for(monkeypatch: pytest.MonkeyPatch) -> None:
    passing(monkeypatch, listening_on_loopback())
    with pytest.raises(ConfigError, match=r"\(radio\).*no \[\[listen\]\] with this port"):
        await open_listeners((Listen(port=1), Listen(port=2)))


@pytest.mark.parametrize("kind", ["udp", "unix", "connected", "file"])
async def test_what_cannot_be_listened_on(monkeypatch: pytest.MonkeyPatch, kind: str, tmp_path: Path) -> None:
    if kind == "file":
        descriptor = os.open(tmp_path, os.O_RDONLY)
    elif kind == "udp":
        descriptor = socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()
    elif kind == "unix":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        descriptor = listening.detach()
    else:  # Accept=yes
        descriptor = socket.socket().detach()
    monkeypatch.setattr("castd.systemd.passed_descriptors", lambda environ: [(descriptor, "")])
    with pytest.raises(ConfigError, match="passed by systemd"):
        await open_listeners((Listen(),))


@pytest.mark.e2e
def test_castd_serves_a_socket_systemd_opened(tmp_path: Path) -> None:
    """A launcher in the place of systemd: the socket is descriptor 3 of the process that LISTEN_PID names."""
    with listening_on_loopback() as sock, Manager(str(tmp_path / "n")).socket as manager:
        manager.setblocking(True)
        manager.settimeout(20)
        port = sock.getsockname()[1]
        launcher = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
            "os.execv(sys.executable, [sys.executable, '-m', 'castd', 'run', '-c', '/dev/null'])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", launcher, str(sock.fileno())],
            env={
                **HOST_ENVIRONMENT,
                "LISTEN_FDS": "1",
                "LISTEN_FDNAMES": "castd.socket",
                "NOTIFY_SOCKET": str(tmp_path / "n"),
                "CASTD_SERVER__STATE_DIR": str(tmp_path / "state"),
            },
            pass_fds=[sock.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            while manager.recv(4096) != b"READY=1":
                pass
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert client.makefile("rb").read().endswith(b"ok\n")
            process.terminate()
            out, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert f":{port}/" in out
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), "systemd's own copy still listens"
    assert FIRST_DESCRIPTOR == 3

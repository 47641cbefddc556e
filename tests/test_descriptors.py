"""Descriptors that are kept back, and how few may be left."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio

from castd import descriptors
from castd.errors import lacks_resources
from castd.tcp import read_tcp_state
from castd.watched_file import WatchedFile
from tests.support import bench, head

REPLY = b"HTTP/1.0 503 Service Unavailable\r\n\r\n"


@contextmanager
def no_descriptor() -> Iterator[None]:
    """None can be had for the length of the block, but for those that are let go in it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for each in taken:
            os.close(each)


@pytest.mark.parametrize(
    ("limit", "listeners", "connections"), [(20_000, 19_900, 19_968), (400, 300, 368), (200, 150, 184), (40, 30, 37)]
)
def test_rooms(limit: int, listeners: int, connections: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "limit", lambda: limit)
    assert descriptors.room(descriptors.LISTENERS_LEAVE) == listeners
    assert descriptors.room(descriptors.CONNECTIONS_LEAVE) == connections
    assert descriptors.leaves(listeners - 1, descriptors.LISTENERS_LEAVE)
    assert not descriptors.leaves(listeners, descriptors.LISTENERS_LEAVE)


def test_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert descriptors.leaves(1 << 30, descriptors.LISTENERS_LEAVE)


async def test_who_knocks_is_answered_without_a_descriptor() -> None:
    reserve = descriptors.Reserve()
    kept = len(reserve)
    (door,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    clients = [socket.create_connection(door.socket.getsockname()) for _ in range(5)]
    clients[0].send(b"GET / HTTP/1.1\r\n\r\n")
    clients[1].close()
    with no_descriptor():
        with pytest.raises(OSError, match="Too many open files"):
            await door.accept()
        assert reserve.turn_away(door, REPLY, 3) == 3
        assert reserve.turn_away(door, REPLY, 100) == 2, "no more are there"
        assert reserve.turn_away(door, REPLY, 100) == 0
        assert len(reserve) == kept, "for the next who knock"
    for client in (clients[0], *clients[2:]):
        with client:
            assert client.recv(100) == REPLY
            assert client.recv(100) == b""
    await door.aclose()
    reserve.close()
    assert not len(reserve)


async def test_a_reserve_that_somebody_else_took_is_filled_again() -> None:
    reserve = descriptors.Reserve()
    kept = len(reserve)
    reserve.close()
    with no_descriptor():
        reserve.refill()
        assert not len(reserve)
    reserve.refill()
    assert len(reserve) == kept
    reserve.close()


async def test_an_ended_connections_state_is_read_without_a_descriptor() -> None:
    (door,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with door, await trio.open_tcp_stream(*door.socket.getsockname()) as client:
        with no_descriptor():
            state = read_tcp_state(client.socket.fileno())
        assert state is not None
        assert state.state == "established"
        assert read_tcp_state(client.socket.fileno()) == read_tcp_state(client.socket.fileno()), "it is open still"


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (OSError(errno.EMFILE, ""), True),
        (OSError(errno.ENOMEM, ""), True),
        (MemoryError(), True),
        (RuntimeError("can't start new thread"), True),
        (ExceptionGroup("", [OSError(errno.ENFILE, ""), MemoryError()]), True),
        (ExceptionGroup("", [OSError(errno.ENFILE, ""), ValueError()]), False),
        (OSError(errno.ENOENT, ""), False),
        (RuntimeError("a bug"), False),
    ],
)
def test_what_says_that_something_is_short(error: BaseException, lacks: bool) -> None:
    assert lacks_resources(error) is lacks


async def test_a_file_that_cannot_be_read_for_lack_of_descriptors_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "users"
    told: list[str] = []
    path.write_text("anna")
    file = WatchedFile[str](str(path), lambda name: Path(name).read_text(), "", told.append)
    assert await file.content() == "anna"
    path.write_text("anna, berta")
    file._due = 0.0
    with no_descriptor():
        assert await file.content() == "anna"
    file._due = 0.0
    assert await file.content() == "anna, berta"
    path.unlink()
    file._due = 0.0
    assert await file.content() == ""
    assert len(told) == 1


@pytest.mark.parametrize(
    ("error", "status"), [(MemoryError(), 503), (OSError(errno.EMFILE, "Too many open files"), 503), (KeyError(), 500)]
)
async def test_a_request_that_finds_no_resources_gets_503(
    error: Exception, status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench() as castd:

        async def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(castd.server.gate, "authorise", fail)
        reply = await castd.ask(head("GET", "/healthz"))
    assert reply.status == status
    assert reply.headers.get("retry-after") == ("5" if status == 503 else None)
    assert ("Traceback" in caplog.text) is (status == 500)

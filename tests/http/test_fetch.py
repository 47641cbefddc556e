"""Fetching what a stranger points at: never from within, never too much, never for ever."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from castd.http import fetch as fetch_module
from castd.http.fetch import fetch, is_public_address
from castd.http.post import NoAnswer


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:10.0.0.1", "2002:7f00:1::", "192.0.2.1", "198.18.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1", "fec0::1",
     "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2001:0:7f00:1::", "3fff::1", "5f00::1", "192.0.0.8", "192.88.99.1"],
)  # fmt: skip
def test_what_is_within(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_what_is_without(address: str) -> None:
    assert is_public_address(address)


@asynccontextmanager
async def answering(*replies: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives these replies in turn; its URL, and the requests it got."""
    asked: list[bytes] = []
    left = list(replies)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            asked.append(bytes(await stream.receive_some(4096)))
            try:
                await stream.send_all(left.pop(0) if left else b"")
            except trio.BrokenResourceError:
                pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", asked
        nursery.cancel_scope.cancel()


def reply(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def get(url: str, most: int = 1000, seconds: float = 2, private: bool = True) -> bytes:
    return await fetch(url, most, seconds, private=private)


async def test_a_file() -> None:
    async with answering(reply(b"picture")) as (url, asked):
        assert await get(f"{url}/a.png?x=1") == b"picture"
        assert asked[0].startswith(b"GET /a.png?x=1 HTTP/1.1\r\n")
        assert b"Authorization" not in asked[0]
        assert b"Cookie" not in asked[0]


async def test_not_from_within() -> None:
    async with answering(reply(b"secret"), reply(b"secret")) as (url, asked):
        for each in (url, url.replace("127.0.0.1", "localhost"), url.replace("127.0.0.1", "0x7f000001")):
            with pytest.raises(NoAnswer, match=r"not on the public internet|resolv|known|Name"):
                await get(each, private=False)
        assert asked == []


async def test_a_redirect_is_followed_some_times_and_through_the_same_door(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = reply(b"", "Location: /b", status="302 Found")
    async with answering(moved, moved, reply(b"x")) as (url, asked):
        assert await get(f"{url}/a") == b"x"
        assert len(asked) == 3
    async with answering(*[moved] * 9) as (url, asked):
        with pytest.raises(NoAnswer, match="more than 3 times"):
            await get(url)
        assert len(asked) == 4
    away = reply(b"", "Location: file:///etc/passwd", status="302 Found")
    async with answering(away) as (url, _):
        with pytest.raises(NoAnswer, match="no web address"):
            await get(url)
    for location in ("http://[", "http://a:99999/", "http://user@127.0.0.1/", "//a b/", "gopher://x/"):
        async with answering(reply(b"", f"Location: {location}", status="302 Found")) as (url, _):
            with pytest.raises(NoAnswer, match="no web address"):
                await get(url)
    monkeypatch.setattr(fetch_module, "is_public_address", lambda address: address != "127.0.0.2")
    async with answering(reply(b"secret")) as (within, asked):
        inside = reply(b"", f"Location: {within.replace('127.0.0.1', '127.0.0.2')}/", status="302 Found")
        async with answering(inside) as (url, _):
            with pytest.raises(NoAnswer, match=r"127\.0\.0\.2, which is not on the public internet"):
                await get(url, private=False)
        assert asked == []


class Resolver(trio.abc.HostnameResolver):
    """Says something else each time it is asked for a name."""

    def __init__(self, *answers: list[str]) -> None:
        self.left = list(answers)

    async def getaddrinfo(self, host: bytes | str | None, port: bytes | str | int | None, *_: object) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.left.pop(0)]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_name_is_looked_up_once_and_all_it_stands_for_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(reply(b"x"), reply(b"x")) as (url, asked):
        port = url.rpartition(":")[2]
        trio.socket.set_custom_hostname_resolver(Resolver(["8.8.8.8", "127.0.0.1"]))
        with pytest.raises(NoAnswer, match=r"pictures\.test is 127\.0\.0\.1"):
            await get(f"http://pictures.test:{port}/", private=False)
        assert asked == []
        monkeypatch.setattr(fetch_module, "is_public_address", lambda address: address == "127.0.0.1")
        rebinding = Resolver(["127.0.0.1"], ["10.0.0.1"])
        trio.socket.set_custom_hostname_resolver(rebinding)
        assert await get(f"http://pictures.test:{port}/", private=False) == b"x"
        assert rebinding.left == [["10.0.0.1"]]


async def test_the_next_address_of_a_host_is_tried() -> None:
    async with answering(reply(b"x")) as (url, _):
        trio.socket.set_custom_hostname_resolver(Resolver(["127.0.0.9", "127.0.0.1"]))
        assert await get(f"http://pictures.test:{url.rpartition(':')[2]}/") == b"x"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply(b"x" * 1001), "larger than 1000 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"100\r\n" + bytes(256) + b"\r\n" * 1,
            "closed|broken|peer",
        ),
        (reply(b"", status="404 Not Found"), "answered 404"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "HTTP"),
        (b"", "without an answer"),
    ],
)
async def test_what_is_no_answer(answer: bytes, why: str) -> None:
    async with answering(answer) as (url, _):
        with pytest.raises(NoAnswer, match=why):
            await get(url)


async def test_what_never_ends() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(NoAnswer, match=r"within 0\.2 s"):
            await get(f"http://127.0.0.1:{port}/", seconds=0.2)
        nursery.cancel_scope.cancel()

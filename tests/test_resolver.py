"""Names are looked up by few threads, which a silent name server can hold, and nobody else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

from castd.http.post import NoAnswer, post_form
from castd.resolver import AT_ONCE, Resolver
from tests.support import head, serving

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]


class Silent:
    """A name server that says nothing until it is let."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.speaks = threading.Event()

    def __call__(self, host: bytes, *_: Any) -> list[Any]:
        self.asked.append(host)
        assert self.speaks.wait(30)
        return FOUND


@pytest.fixture
def silent() -> Iterator[Silent]:
    made = Silent()
    yield made
    made.speaks.set()


async def test_one_name_takes_one_thread_however_often_it_is_asked_for_and_given_up(silent: Silent) -> None:
    resolver = Resolver(silent)
    trio.socket.set_custom_hostname_resolver(resolver)
    for _ in range(20):
        with trio.move_on_after(0.01) as patience:
            await trio.socket.getaddrinfo("radio.test", 80)
        assert patience.cancelled_caught
    assert silent.asked == [b"radio.test"]
    silent.speaks.set()
    assert await trio.socket.getaddrinfo("radio.test", 80) == FOUND
    assert not len(resolver)


async def test_too_many_silent_names_fail_at_once_and_threads_are_left_for_others(silent: Silent) -> None:
    resolver = Resolver(silent)
    trio.socket.set_custom_hostname_resolver(resolver)
    async with trio.open_nursery() as nursery:
        for number in range(AT_ONCE):
            nursery.start_soon(trio.socket.getaddrinfo, f"n{number}.test", 80)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(socket.gaierror, match="too many other names"):
            await trio.socket.getaddrinfo("one-more.test", 80)
        with pytest.raises(NoAnswer, match="too many other names"):
            await post_form("http://one-more.test/", "", 5)
        assert await trio.to_thread.run_sync(lambda: "as ever") == "as ever"
        assert await trio.socket.getaddrinfo("192.0.2.1", 80), "digits need no name server"
        silent.speaks.set()
    assert not len(resolver)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "Temporary failure"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
async def test_everybody_who_waits_is_told_why(failure: Exception, told: str) -> None:
    def fail(*_: Any) -> list[Any]:
        raise failure

    trio.socket.set_custom_hostname_resolver(Resolver(fail))
    heard: list[str] = []

    async def ask() -> None:
        with pytest.raises(NoAnswer) as caught:
            await post_form("http://radio.test/", "", 5)
        heard.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert len(heard) == 3
    assert all(told in each for each in heard)


async def test_no_thread_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    resolver = Resolver()
    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", none)
    trio.socket.set_custom_hostname_resolver(resolver)
    with pytest.raises(socket.gaierror, match="no thread is left"):
        await trio.socket.getaddrinfo("radio.test", 80)
    assert not len(resolver)


async def test_a_server_looks_names_up_this_way(silent: Silent, monkeypatch: pytest.MonkeyPatch) -> None:
    """More names hang than the thread pool has threads, and whoever needs a thread has one."""
    made: list[Resolver] = []

    def resolver() -> Resolver:
        made.append(Resolver(silent))
        return made[0]

    monkeypatch.setattr("castd.app.Resolver", resolver)
    async with serving() as castd, trio.open_nursery() as nursery:

        async def fetch(number: int) -> None:
            with pytest.raises(NoAnswer):
                await post_form(f"http://n{number}.test/", "", 0.2)

        for number in range(60):
            nursery.start_soon(fetch, number)
        await trio.sleep(0.3)
        assert len(made[0]) == AT_ONCE
        assert await trio.to_thread.run_sync(threading.get_ident)
        assert (await castd.ask(head("GET", "/healthz"))).status == 200

"""What strangers can make the server keep, or write down, has bounds however many of them there are."""

from __future__ import annotations

import gc
import logging
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from castd.access import tokens, url_auth
from castd.config import UrlAuth
from castd.errors import ClientError
from castd.http.connection import REFUSALS_OF_ADDRESS, REFUSALS_OF_ALL, Body, Exchange, Refusals
from castd.http.messages import Request
from castd.http.post import NoAnswer
from castd.ingest import relays
from castd.ingest.upstream import Unavailable
from castd.mount.audio_file import Unplayable, whole_frames
from castd.mount.pictures import KEPT, Pictures
from castd.wire.picture import Picture
from tests.support import FRAME_BYTES, Bench, bench, canary, frames, head, serving

if TYPE_CHECKING:
    from pathlib import Path


async def ask_for(castd: Bench, stream: trio.abc.HalfCloseableStream, name: str, refused: Counter[int]) -> None:
    """A request for a mount that is not there, of a client of its own."""
    number = hash(name)
    address = f"2001:db8:{number >> 48 & 0xFFFF:x}:{number >> 32 & 0xFFFF:x}::1"
    request = Request("GET", name, {}, {"user-agent": f"player {name}"}, "1.1", address, "127.0.0.1:8000")
    exchange = Exchange(request, stream, Body(stream, None, b""), castd.server.config.limits)
    try:
        await castd.server.front.dispatch(exchange)
    except ClientError as error:
        refused[error.status] += 1


async def test_ten_thousand_mounts_that_are_not_there_leave_nothing_behind() -> None:
    """RES-10."""
    async with bench() as castd:
        stream, _ = trio.testing.memory_stream_pair()
        refused: Counter[int] = Counter()
        for number in range(5000):  # what is kept of some addresses and paths is full then
            await ask_for(castd, stream, f"/before-{number}", refused)
        gc.collect()
        before = sys.getallocatedblocks()
        for number in range(10_000):
            await ask_for(castd, stream, f"/nothing-{number}", refused)
        gc.collect()
        assert sys.getallocatedblocks() - before < 1000
        assert refused == {404: 15_000}
        assert not castd.server.registry.mounts


async def test_a_flood_of_bad_requests_is_no_flood_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    """RES-11."""
    caplog.set_level(logging.INFO)
    async with serving(seconds=60) as castd, canary(castd):
        for number in range(100):
            assert (await castd.ask(head("GET", f"/nothing-{number}"))).status == 404
            async with await castd.connect() as client:
                await client.send(b"GET / HTTP/9.9\r\n\r\n")
                assert (await client.reply()).status == 505
    refused = [line for line in caplog.messages if "refused" in line]
    assert refused
    assert len(refused) <= 20 * REFUSALS_OF_ADDRESS, "a machine that takes minutes for this has several periods"
    assert len(refused) < 200


async def test_lines_about_refusals(caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock) -> None:
    caplog.set_level(logging.INFO)
    refusals = Refusals()
    for _ in range(50):
        refusals.tell("192.0.2.1", "refused")
    refusals.tell("192.0.2.2", "refused, too")
    assert caplog.messages == ["refused"] * REFUSALS_OF_ADDRESS + ["refused, too"]
    await trio.sleep(10)
    refusals.tell("192.0.2.1", "refused")
    assert caplog.messages[-1] == f"refused ({50 - REFUSALS_OF_ADDRESS} more of this address were not told)"
    caplog.clear()
    await trio.sleep(10)
    for number in range(1000):
        refusals.tell(f"192.0.2.{number % 250}", "refused")
    assert len(caplog.messages) == REFUSALS_OF_ALL


async def test_a_service_that_does_not_answer_is_told_of_a_few_times(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def post_form(*_: object) -> None:
        raise NoAnswer("nobody is there")

    monkeypatch.setattr(url_auth, "post_form", post_form)
    service = UrlAuth(name="accounts", listener_add="http://accounts.test/")
    request = Request("GET", "/live", {}, {}, "1.1", "192.0.2.1", "127.0.0.1:8000")
    async with bench() as castd:
        for _ in range(100):
            with pytest.raises(ClientError, match="does not answer") as caught:
                await castd.server.url_auths.admit(service, request, "/live", ("", ""))
            assert caught.value.status == 503
    assert caplog.text.count("nobody is there") == url_auth.REPEAT_LINES


def test_pictures_of_a_mount() -> None:
    pictures = Pictures()
    keys = [pictures.add(Picture(bytes([number]) * 1000, "image/png")) for number in range(20)]
    assert [key for key in keys if pictures.find(key)] == keys[-KEPT:]


def test_tokens_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST", 2)
    for _ in range(2):
        tokens.create(tmp_path, "one", ("read",), (), 1e9, None)
    with pytest.raises(ValueError, match="there are 2 tokens already"):
        tokens.create(tmp_path, "one more", ("read",), (), 1e9, None)
    assert len(tokens.read_tokens(str(tmp_path / tokens.FILE_NAME))) == 2


def test_bytes_of_an_intro(tmp_path: Path) -> None:
    path = tmp_path / "intro.mp3"
    path.write_bytes(frames(0, 100))
    assert len(whole_frames(path, 100 * FRAME_BYTES)[0]) == 100 * FRAME_BYTES
    with pytest.raises(Unplayable, match="longer than 40000 bytes"):
        whole_frames(path, 40_000)


async def test_mounts_of_a_masters_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "MASTER_MOUNTS", 2)
    monkeypatch.setattr(relays, "LIST_BYTES", 100)
    body = [b"/one\n/two\n/three\n"]

    class Master:
        async def receive(self) -> bytes:
            return body.pop() if body else b""

        async def close(self) -> None:
            pass

    async def pull(*_: object) -> Master:
        return Master()

    monkeypatch.setattr(relays, "pull", pull)
    async with bench() as castd:
        assert await castd.server.relays._list("http://master.test", ("", "")) == ["/one", "/two"]
        body.append(b"/long" * 50)
        with pytest.raises(Unavailable, match="lists more than 100 bytes"):
            await castd.server.relays._list("http://master.test", ("", ""))

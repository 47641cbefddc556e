"""What a web service is told, how often, and what happens when it does not listen."""

from __future__ import annotations

import json
import logging
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest
import trio

from castd.config import Hook, Server
from castd.stats.hooks.outbox import Outbox
from castd.stats.hooks.parcels import Parcel
from castd.stats.hooks.webhooks import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    MOST_TRIES,
    MOST_TRIES_REFUSED,
    Webhook,
    pause_seconds,
    signature,
)
from tests.stats.hooks.fakes import Service, event, free_port, listening, status
from tests.support import ADMIN, configured, head, serving, until

SECRET = "what only the two of us know"
GUIDE = Path(__file__).parents[3] / "docs/hooks.md"


@asynccontextmanager
async def telling(
    url: str, outbox: Outbox | None = None, *, secret: str = "", timeout_seconds: float = 5.0
) -> AsyncIterator[Webhook]:
    """A web hook that runs, without pauses."""
    hook = Hook(events=("*",), url=url, secret=secret, timeout_seconds=timeout_seconds)
    webhook = Webhook(
        hook, outbox or Outbox(None), trio.CapacityLimiter(1), ssl.create_default_context(), pause=lambda tries: 0.001
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(webhook.run)
            yield webhook
            nursery.cancel_scope.cancel()


def parcel(number: int) -> Parcel:
    return Parcel((event(text=str(number)),))


def texts(service: Service) -> list[str]:
    return [json.loads(each.body)["fields"]["text"] for each in service.received]


async def test_in_order_signed_and_known_again() -> None:
    async with listening(status("500 No"), status("503 No")) as service, telling(service.url, secret=SECRET) as webhook:
        for number in range(3):
            await webhook.tell(parcel(number))
        await until(lambda: webhook.health.told == 3)
        assert texts(service) == ["0", "0", "0", "1", "2"]
        ids = [each.headers["x-castd-delivery"] for each in service.received]
        assert ids[0] == ids[1] == ids[2]
        assert len(set(ids)) == 3
        for each in service.received:
            made = signature(SECRET, each.headers["x-castd-timestamp"], each.body)
            assert each.headers["x-castd-signature"] == made
        assert (webhook.health.failed, webhook.health.last_failure[:3]) == (2, "503")


def test_the_signature_is_an_hmac_of_time_and_body() -> None:
    """Computed by another program: openssl dgst -sha256 -hmac."""
    made = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", SECRET], input=b'17.{"a": 1}', capture_output=True, check=True
    )
    assert signature(SECRET, "17", b'{"a": 1}') == f"sha256={made.stdout.decode().split()[-1]}"
    assert signature(SECRET, "18", b'{"a": 1}') != signature(SECRET, "17", b'{"a": 1}')


def test_pauses_double_up_to_a_bound() -> None:
    for tries in range(1, MOST_TRIES + 1):
        right = min(FIRST_PAUSE_SECONDS * 2 ** (tries - 1), LONGEST_PAUSE_SECONDS)
        assert all(0.75 * right <= pause_seconds(tries) <= 1.25 * right for _ in range(20))


@pytest.mark.parametrize(
    ("line", "tries"),
    [("404 No", MOST_TRIES_REFUSED), ("302 There", MOST_TRIES_REFUSED), ("500 No", MOST_TRIES), ("429 No", MOST_TRIES)],
)
async def test_one_that_is_never_taken_is_given_up(line: str, tries: int, caplog: pytest.LogCaptureFixture) -> None:
    answers = [status(line, "Location: http://127.0.0.1:1/\r\n")] * tries
    async with listening(*answers) as service, telling(service.url) as webhook:
        await webhook.tell(parcel(0))
        await webhook.tell(parcel(1))
        await until(lambda: webhook.health.told == 1)
        assert texts(service) == ["0"] * tries + ["1"]
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1


async def test_gone_means_gone(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(None)
    async with listening(status("410 Gone")) as service, telling(service.url, outbox) as webhook:
        await webhook.tell(parcel(0))
        await until(lambda: "wants no more" in caplog.text)
        await webhook.tell(parcel(1))
        assert outbox.count(service.url) == 0


async def test_a_service_that_hangs_is_left_in_its_time() -> None:
    async def keep_still(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with listening(keep_still) as service, telling(service.url, timeout_seconds=0.1) as webhook:
        await webhook.tell(parcel(0))
        await until(lambda: webhook.health.told == 1)
        assert webhook.health.last_failure == "no answer in 0.1 s"


async def test_what_was_not_told_is_told_after_a_restart(tmp_path: Path) -> None:
    """The service is down; castd stops and starts; the service comes up and hears everything, in order."""
    port = free_port()
    hook = Hook(events=("source.*",), url=f"http://127.0.0.1:{port}/", secret=SECRET)
    config = replace(configured(), hooks=(hook,), server=Server(state_dir=str(tmp_path)))
    for _ in range(2):
        async with serving(config) as castd:
            await (await castd.encoder("/live")).close()
            await until(lambda: castd.server.registry.sources == 0)
            reply = await castd.ask(head("GET", "/api/v1/admin/hooks", user=ADMIN))
            (state,) = json.loads(reply.text)["hooks"]
            assert state["url"] == f"http://127.0.0.1:{port}"
            await castd.server.hooks.finish()
    async with listening(port=port) as service, serving(config) as castd:
        await until(lambda: len(service.received) >= 6)
        names = [json.loads(each.body)["event"] for each in service.received]
        assert names == ["source.connected", "source.ended", "source.lost"] * 2
        await until(lambda: castd.server.hooks._health[0].told == 6)
        reply = await castd.ask(head("GET", "/api/v1/admin/hooks", user=ADMIN))
        (state,) = json.loads(reply.text)["hooks"]
        assert (state["told"], state["waiting"], state["dropped"]) == (6, 0, 0)
    assert SECRET not in reply.text


async def test_a_full_house_comes_in_batches_and_the_audio_goes_on(tmp_path: Path) -> None:
    async with listening() as service:
        hook = Hook(events=("listener.*",), url=service.url, batch_seconds=0.1)
        async with serving(replace(configured(), hooks=(hook,))) as castd:
            encoder = await castd.encoder("/live")
            await encoder.push(20)
            await until(lambda: castd.mount("/live").ring.head > 0)
            ears = [await castd.ear("/live") for _ in range(200)]
            await until(lambda: sum(len(json.loads(each.body)) for each in service.received) == 200)
            assert len(service.received) < 100
            for ear in ears[:3]:
                assert len(await ear.exactly(19 * 417)) == 19 * 417
            for ear in ears:
                await ear.close()
            await until(lambda: sum(len(json.loads(each.body)) for each in service.received) == 400)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[int, IO[str]]]:
    """The example in docs/hooks.md, running: its port and what it prints."""
    program = tmp_path / "receiver.py"
    program.write_text(GUIDE.read_text().partition("```python\n")[2].partition("```")[0])
    process = subprocess.Popen(
        [sys.executable, program, "0"], stdout=subprocess.PIPE, text=True, env={"HOOK_SECRET": SECRET}
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().split()[-1]), process.stdout
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_the_receiver_of_the_guide(receiver: tuple[int, IO[str]]) -> None:
    """It takes what castd sends, and nothing else."""
    port, printed = receiver
    async with telling(f"http://127.0.0.1:{port}/", secret=SECRET) as webhook:
        await webhook.tell(parcel(5))
        await until(lambda: webhook.health.told == 1)
    assert await trio.to_thread.run_sync(printed.readline) == 'title /live {"text": "5"}\n'
    async with telling(f"http://127.0.0.1:{port}/", secret="another") as webhook:
        await webhook.tell(parcel(6))
        await until(lambda: webhook.health.failed == MOST_TRIES_REFUSED)
        assert webhook.health.last_failure.startswith("403")

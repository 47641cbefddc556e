"""However many passwords an address sends at the same moment, no more wrong ones are looked at than it may send."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from castd.access.guesses import Guesses
from castd.access.users import Users
from castd.errors import ClientError
from tests.support import Bench, bench, configured, frames, head

if TYPE_CHECKING:
    from pathlib import Path

MOST = 30

HERE, THERE = "192.0.2.1", "192.0.2.2"

SECONDS = 0.1
"""For which a password is looked at."""


class Looks:
    """What is seen of passwords that are looked at."""

    def __init__(self) -> None:
        self.guesses = Guesses()
        self.looked_at = self.refused = self.at_once = self.most_at_once = 0

    async def look(self, right: bool, address: str = HERE, most: int = MOST) -> None:
        try:
            await self.guesses.begin(address, most)
        except ClientError as error:
            self.refused += error.status == 429
            return
        self.looked_at += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.sleep(SECONDS)
        finally:
            self.at_once -= 1
            self.guesses.end(address, most, wrong=not right)


async def test_wrong_ones_at_once_are_looked_at_no_oftener_than_one_by_one(autojump_clock: MockClock) -> None:
    looks = Looks()
    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(looks.look, False)
    assert (looks.looked_at, looks.refused) == (MOST, 200 - MOST)
    await looks.look(True)
    assert looks.refused == 200 - MOST + 1, "right or wrong, it has to wait"
    await looks.look(True, THERE)
    assert looks.looked_at == MOST + 1, "others are others"
    await trio.sleep(60 / MOST)
    await looks.look(True)
    assert looks.looked_at == MOST + 2
    assert not looks.guesses._desks


async def test_right_ones_at_once_are_all_let_in(autojump_clock: MockClock) -> None:
    looks = Looks()
    async with trio.open_nursery() as nursery:
        for _ in range(300):
            nursery.start_soon(looks.look, True)
    assert (looks.looked_at, looks.refused, looks.most_at_once) == (300, 0, MOST)
    assert trio.current_time() == pytest.approx(300 / MOST * SECONDS), "nobody waits for longer than that takes"
    assert not looks.guesses._desks


async def test_one_that_is_right_between_wrong_ones(autojump_clock: MockClock) -> None:
    looks = Looks()
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(looks.look, number % 4 > 0)
    assert (looks.looked_at, looks.refused) == (100, 0)
    assert looks.most_at_once == MOST


async def test_the_last_one_left_is_looked_at_alone(autojump_clock: MockClock) -> None:
    looks = Looks()
    for _ in range(MOST - 1):
        await looks.look(False)
    looks.most_at_once = 0
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(looks.look, True)
    assert looks.most_at_once <= 2, "one, and one that became free meanwhile"
    assert not looks.refused


async def test_whoever_gives_up_leaves_its_place(autojump_clock: MockClock) -> None:
    looks = Looks()
    async with trio.open_nursery() as others, trio.open_nursery() as gone:
        for _ in range(2):
            gone.start_soon(looks.look, True, HERE, 2)
        await wait_all_tasks_blocked()
        for _ in range(4):
            gone.start_soon(looks.look, True, HERE, 2)
        await wait_all_tasks_blocked()
        for _ in range(5):
            others.start_soon(looks.look, True, HERE, 2)
        await wait_all_tasks_blocked()
        assert looks.at_once == 2
        gone.cancel_scope.cancel()
    assert (looks.looked_at, looks.most_at_once) == (2 + 5, 2)
    assert not looks.guesses._desks


async def test_without_a_limit_nobody_waits(autojump_clock: MockClock) -> None:
    looks = Looks()
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(looks.look, False, HERE, 0)
    assert looks.most_at_once == 100


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were, each for a while."""
    found: list[str] = []

    async def verify(self: Users, path: str, user: str, password: str) -> bool:
        found.append(password)
        await trio.sleep(SECONDS)
        return password == "right"

    monkeypatch.setattr(Users, "verify", verify)
    return found


async def statuses(castd: Bench, *passwords: str, target: str = "/live/hls/index.m3u8") -> list[int]:
    """Of the answers to these, all sent at once."""
    found: list[int] = []

    async def ask(password: str) -> None:
        found.append((await castd.ask(head("GET", target, user=("anna", password)))).status)

    async with trio.open_nursery() as nursery:
        for password in passwords:
            nursery.start_soon(ask, password)
    return sorted(found)


async def test_at_the_door(tmp_path: Path, looked_at: list[str], autojump_clock: MockClock) -> None:
    users = tmp_path / "users"
    users.touch()
    async with bench(configured(mounts={"/live": {"users_file": str(users)}})) as castd:
        assert await statuses(castd, *["right"] * 200) == [404] * 200, "there is no source, but they were let in"
        del looked_at[:]
        wrong = [f"guess {number}" for number in range(200)]
        assert await statuses(castd, *wrong) == [401] * MOST + [429] * (200 - MOST)
        assert len(looked_at) == MOST
        assert await statuses(castd, "right") == [429]


async def test_a_session_that_is_let_in_does_not_wait_for_its_neighbours(
    tmp_path: Path, looked_at: list[str], autojump_clock: MockClock
) -> None:
    users = tmp_path / "users"
    users.touch()
    async with bench(configured(mounts={"/live": {"users_file": str(users)}})) as castd:
        castd.nursery.start_soon(castd.server.segmenters.run)
        encoder = await castd.encoder("/live")
        await encoder.send(frames(0, 1200))
        await wait_all_tasks_blocked()
        first = await castd.ask(head("GET", "/live/hls/index.m3u8", user=("anna", "right")))
        playlist = "/live/hls/" + first.text.splitlines()[-1]
        assert 429 in await statuses(castd, *["wrong"] * 2 * MOST)
        assert await statuses(castd, "right", target=playlist) == [200], "players send the password with every request"

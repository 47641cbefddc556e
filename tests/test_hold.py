"""castd.hold: readers stop between two bytes, and nothing is lost."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from castd.hold import Hold


async def test_readers_are_held_where_they_wait_and_lose_nothing(autojump_clock: trio.testing.MockClock) -> None:
    hold, got = Hold(), bytearray()
    ours, theirs = trio.testing.memory_stream_pair()

    async def read() -> None:
        with hold.reader("one"):
            while True:
                got.extend(await hold.read("one", lambda: theirs.receive_some(1)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await ours.send_all(b"abc")
        await trio.sleep(1)
        assert got == b"abc"
        hold.engage()
        await hold.gathered()
        assert hold.holds("one")
        await ours.send_all(b"def")
        await trio.sleep(1)
        assert got == b"abc"
        hold.release()
        await trio.sleep(1)
        assert got == b"abcdef"
        assert not hold.holds("one")
        nursery.cancel_scope.cancel()


async def test_one_who_is_busy_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    hold = Hold()

    async def work() -> None:
        with hold.reader("worker"):
            await trio.sleep(5)
            await hold.read("worker", trio.sleep_forever)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await trio.sleep(1)
        hold.engage()
        with pytest.raises(trio.TooSlowError), trio.fail_after(2):
            await hold.gathered()
        await hold.gathered(but={"worker"})
        await hold.gathered()
        assert trio.current_time() == pytest.approx(5, abs=0.1) or hold.holds("worker")
        nursery.cancel_scope.cancel()


async def test_one_who_leaves_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    hold = Hold()

    async def leave() -> None:
        with hold.reader("short"):
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await trio.testing.wait_all_tasks_blocked()
        hold.engage()
        with trio.fail_after(2):
            await hold.gathered()


async def test_a_newcomer_is_held_at_once(autojump_clock: trio.testing.MockClock) -> None:
    hold = Hold()
    hold.engage()
    with trio.move_on_after(1), hold.reader("new"):
        await hold.read("new", trio.lowlevel.checkpoint)
        raise AssertionError("it was not held")
    assert not hold.holds("new")
    hold.release()
    with hold.reader("new"):
        await hold.read("new", trio.lowlevel.checkpoint)

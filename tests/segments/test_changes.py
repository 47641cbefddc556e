"""Thousands who wait for one part, and what else there is to do."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from castd.segments.changes import ANY, SLICE, Changes, Place
from castd.segments.segmenter import Segmenter
from tests.segments.studio import Studio, catch_up


async def test_only_those_are_woken_who_have_what_they_wait_for() -> None:
    changes, woken = Changes(), list[Place]()

    async def wait(place: Place) -> None:
        await changes.wait(place)
        woken.append(place)

    places = [(7, 1), (7, 2), (8, 0), ANY]
    async with trio.open_nursery() as nursery:
        for place in places:
            nursery.start_soon(wait, place)
        await wait_all_tasks_blocked()
        for reached, expected in [((6, 8), [ANY]), ((7, 1), [(7, 1)]), ((7, 1), []), ((8, 0), [(7, 2), (8, 0)])]:
            del woken[:]
            changes.tell(reached)
            await wait_all_tasks_blocked()
            assert sorted(woken) == expected
        nursery.start_soon(wait, (99, 0))
        await wait_all_tasks_blocked()
        changes.tell()


async def test_others_have_their_turn_between() -> None:
    changes, at_once, most = Changes(), 0, 0
    waiting = 20 * SLICE

    async def wait() -> None:
        nonlocal at_once
        await changes.wait((1, 0))
        at_once += 1

    async def look() -> None:
        nonlocal at_once, most
        while changes._woken or changes._due:
            most, at_once = max(most, at_once), 0
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(waiting):
            nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        changes.tell((1, 0))
        nursery.start_soon(look)
    assert SLICE <= most <= 2 * SLICE


async def test_who_gives_up_keeps_nobody_from_being_woken() -> None:
    changes, woken = Changes(), 0

    async def wait(scope: trio.CancelScope) -> None:
        nonlocal woken
        with scope:
            await changes.wait((1, 0))
            woken += 1

    scopes = [trio.CancelScope() for _ in range(4 * SLICE)]
    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(wait, scope)
        await wait_all_tasks_blocked()
        for scope in scopes[: SLICE + 5]:
            scope.cancel()
        await wait_all_tasks_blocked()
        changes.tell((1, 0))
        for scope in scopes[2 * SLICE :: 2]:  # some of those whose turn has not come
            scope.cancel()
    assert 2 * SLICE <= woken <= 3 * SLICE
    assert not changes._woken


async def test_a_segmenter_wakes_for_each_part(autojump_clock: MockClock) -> None:
    studio = Studio()
    segmenter = Segmenter(studio.mount)
    studio.play(14.2)
    catch_up(segmenter)
    looked = 0

    async def wait(place: Place) -> None:
        nonlocal looked
        while segmenter.next_part < place:
            await segmenter.changed.wait(place)
            looked += 1

    number, done = segmenter.next_part
    places = [(number, done + 1), (number, done + 1), (number + 1, 0)]
    async with trio.open_nursery() as nursery:
        for place in places:
            nursery.start_soon(wait, place)
        while nursery.child_tasks:
            await wait_all_tasks_blocked()
            studio.play(0.1)
            catch_up(segmenter)
    assert looked == len(places), "each once"

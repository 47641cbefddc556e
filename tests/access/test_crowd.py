"""Everybody counts once, and nobody keeps others out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from castd.access.crowd import MINUTE_SECONDS, REMEMBERED, Arrivals, Crowd, Waiting

PEOPLE = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"])))


@given(PEOPLE, PEOPLE)
def test_a_crowd_is_who_came_and_did_not_leave(come: list[tuple[int, str]], gone: list[tuple[int, str]]) -> None:
    crowd, here = Crowd(), dict[int, str]()
    for who, address in come:
        crowd.enter(who, address)
        here[who] = address
    for who, _ in gone:
        crowd.leave(who)
        here.pop(who, None)
    assert crowd.addresses == sorted(here.values())
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
        assert crowd.count(address) == list(here.values()).count(address)


def test_an_ipv6_customer_is_one_address() -> None:
    crowd = Crowd()
    for number in range(10):
        crowd.enter(number, f"2001:db8::{number + 1:x}")
    assert crowd.count("2001:db8::ffff") == 10
    assert crowd.fullest() == ("2001:db8::/64", 10)


def test_arrivals_are_so_many_at_once_and_then_one_each_share_of_a_minute() -> None:
    arrivals = Arrivals()
    assert [arrivals.admit("192.0.2.1", 6, 0.0) for _ in range(6)] == [0.0] * 6
    assert 9.99 < arrivals.admit("192.0.2.1", 6, 0.0) <= 10.0
    assert arrivals.admit("192.0.2.2", 6, 0.0) == 0.0, "others are others"
    assert arrivals.admit("192.0.2.1", 6, 9.0) > 0
    assert arrivals.admit("192.0.2.1", 6, 10.01) == 0.0
    assert arrivals.admit("192.0.2.1", 6, 10.02) > 0
    assert [arrivals.admit("192.0.2.1", 6, 10.02 + MINUTE_SECONDS * 2) for _ in range(6)] == [0.0] * 6
    assert all(arrivals.admit("192.0.2.1", 0, 0.0) == 0.0 for _ in range(1000)), "no limit"


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200), st.integers(1, 30))
def test_no_minute_has_more_than_twice_the_limit(gaps: list[float], most: int) -> None:
    arrivals, now, admitted = Arrivals(), 0.0, list[float]()
    for gap in gaps:
        now += gap
        if arrivals.admit("192.0.2.1", most, now) == 0.0:
            admitted.append(now)
    for begin in admitted:
        assert sum(begin <= each < begin + MINUTE_SECONDS for each in admitted) <= 2 * most


def test_what_is_remembered_is_bounded() -> None:
    arrivals = Arrivals()
    for number in range(REMEMBERED + 100):
        arrivals.admit(f"address {number}", 1, 0.0)
    assert len(arrivals._good_at) == REMEMBERED


def test_one_address_that_takes_all_places_keeps_nobody_out() -> None:
    waiting: Waiting[str] = Waiting()
    for number in range(10):
        assert waiting.enter(f"flood {number}", "192.0.2.66", 10) == []
    assert waiting.enter("flood 10", "192.0.2.66", 10) == ["flood 10"], "its own newcomer finds no place"
    for number in range(5):
        assert waiting.enter(f"guest {number}", f"192.0.2.{number}", 10) == [f"flood {number}"]
    assert len(waiting) == 10
    waiting.leave("guest 0")
    waiting.leave("guest 0")
    assert len(waiting) == 9
    assert waiting.fullest() == ("192.0.2.66", 5)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["a", "b", None])), max_size=60), st.integers(1, 8))
def test_there_are_never_more_than_places(come: list[tuple[int, str | None]], most: int) -> None:
    waiting: Waiting[int] = Waiting()
    for who, address in come:
        waiting.leave(who)
        sent_away = waiting.enter(who, address, most)
        assert len(waiting) <= most
        assert not any(each in waiting for each in sent_away)

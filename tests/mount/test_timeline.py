"""The marks answer every question outputs ask of them."""

from __future__ import annotations

from castd.mount.timeline import PAST_TITLES, TITLES, EntryMark, Splice, Timeline, Title
from castd.wire.framer import Head


def timeline(*, entries: int, start: int = 0) -> Timeline:
    """Entries every 0.1 s and 100 bytes from a splice at `start`."""
    marks = Timeline()
    marks.add_splice(Splice(start, 0.0, 1.0))
    for number in range(1, entries):
        marks.add_entry(EntryMark(start + number * 100, number / 10, 1.0))
    marks.end = entries / 10
    return marks


def title(position: int, text: str) -> Title:
    return Title(position, 0.0, 0.0, text)


def test_join_is_at_least_the_burst_old() -> None:
    marks = timeline(entries=100)
    joined = marks.join(4.0)
    assert joined is not None
    assert joined.position == 6000
    assert marks.end - joined.time >= 4.0
    assert (joined := marks.join(0.0)) is not None
    assert joined.position == 9900


def test_a_young_stream_is_joined_at_its_beginning() -> None:
    joined = timeline(entries=10, start=777).join(4.0)
    assert joined is not None
    assert joined.position == 777


def test_the_burst_never_reaches_back_over_a_splice() -> None:
    marks = timeline(entries=100)
    marks.add_splice(Splice(10_000, 10.0, 2.0))
    joined = marks.join(4.0)
    assert joined is not None
    assert joined.position == 10_000
    marks.add_entry(EntryMark(10_100, 10.1, 2.0))
    marks.end = 20.0
    assert (joined := marks.join(1.0)) is not None
    assert joined.position == 10_100


def test_nobody_can_join_what_never_began() -> None:
    assert Timeline().join(1.0) is None


def test_heads_are_in_force_from_their_end_to_the_next_splice() -> None:
    head = Head(b"pages", "opus", 48000, 2, b"")
    marks = timeline(entries=3)
    marks.add_head(150, head)
    marks.add_splice(Splice(500, 1.0, 1.0))
    assert [marks.head_at(position) for position in (0, 149, 150, 499, 500)] == [None, None, head, head, None]


def test_a_late_title_stands_where_it_belongs() -> None:
    marks = timeline(entries=50)
    marks.add_title(title(4000, "second"))
    marks.add_title(title(1000, "first"))
    assert marks.title is not None
    assert marks.title.text == "second"
    found = [marks.title_at(position) for position in (0, 1000, 3999, 4000)]
    assert [each.text if each else None for each in found] == [None, "first", "first", "second"]
    marks.add_title(title(4000, "corrected"))
    assert marks.title.text == "corrected"


def test_forgetting_keeps_what_is_in_force() -> None:
    marks = timeline(entries=100)
    head = Head(b"pages", "vorbis", 44100, 2, b"")
    marks.add_head(50, head)
    marks.add_title(title(100, "old"))
    marks.add_title(title(200, "in force"))
    marks.forget(5050)
    assert marks.oldest is not None
    assert marks.oldest.position == 5100
    assert marks.head_at(5050) is head
    assert (kept := marks.title_at(5050)) is not None
    assert kept.text == "in force"
    assert marks.title_at(150) is None
    assert (joined := marks.join(100.0)) is not None
    assert joined.position == 5100


def test_times_and_positions() -> None:
    marks = timeline(entries=100)
    assert marks.position_at(5.05) == 5000
    assert marks.time_at(5050) == 5.0
    assert marks.position_at(-1.0) == 0
    assert (following := marks.next_entry(5001)) is not None
    assert following.position == 5100
    assert marks.next_entry(9901) is None


def test_of_too_many_titles_the_newest_stay() -> None:
    marks = timeline(entries=10)
    for number in range(TITLES + PAST_TITLES + 500):
        marks.add_title(title(number, f"Song {number}"))
    newest = TITLES + PAST_TITLES + 499
    assert marks.title is not None
    assert marks.title.text == f"Song {newest}"
    assert marks.titles_up_to(newest) == newest + 1, "those forgotten are counted"
    heard = marks.titles_heard(0, newest + 1)
    assert [heard[0].text, heard[-1].text] == ["Song 500", f"Song {newest}"]
    assert len(heard) == TITLES + PAST_TITLES
    marks.forget(newest)
    assert marks.titles_heard(newest, newest + 1)[-1].text == f"Song {newest}"

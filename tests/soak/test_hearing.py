"""The soak's own ears: what they must take for right, and what for wrong."""

from __future__ import annotations

import pytest

from tests.soak.hearing import Blocks, Hearing, Splices, Wrong
from tests.soak.streams import KEPT_SESSIONS, Aac, Form, Mp3, Opus, Tape, Tapes

FORMS = [Mp3(), Aac(), Opus()]


class Played:
    """A mount on which sessions of twenty frames were sent."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.tapes = Tapes()
        self.splices = Splices()
        self.one, self.two = self._session(), self._session()

    def _session(self) -> Tape:
        tape = self.tapes.new("/m", self.form)
        tape.add(self.form.start(tape.session) + self.frames(tape, 0, 20))
        return tape

    def frames(self, tape: Tape, first: int, after: int) -> bytes:
        return b"".join(self.form.frame(tape.session, number) for number in range(first, after))

    def start(self, tape: Tape) -> bytes:
        return self.form.start(tape.session)

    def hearing(self, *, healthy: bool = True) -> Hearing:
        return Hearing(self.form, self.tapes, frozenset({"/m"}), self.splices, healthy=healthy)


@pytest.fixture(params=FORMS, ids=lambda form: form.name)
def played(request: pytest.FixtureRequest) -> Played:
    return Played(request.param)


@pytest.mark.parametrize("size", [1, 7, 139, 100_000])
def test_what_is_right(played: Played, size: int) -> None:
    """Who comes within a session, hears its end, another one from its second frame on, and the rest of the first."""
    one, two = played.one, played.two
    data = played.start(one) + played.frames(one, 5, 15)
    data += played.start(two) + played.frames(two, 1, 20) + played.start(one) + played.frames(one, 17, 20)
    hearing = played.hearing()
    for at in range(0, len(data), size):
        hearing.feed(data[at : at + size])
    assert hearing.heard == 32 * played.form.size
    assert len(played.splices) == 2


@pytest.mark.parametrize(
    ("first", "again"), [((5, 9), (10, 15)), ((5, 9), (8, 15)), ((5, 9), (5, 9))], ids=["missing", "twice", "repeated"]
)
def test_within_a_session(played: Played, first: tuple[int, int], again: tuple[int, int]) -> None:
    hearing = played.hearing()
    hearing.feed(played.start(played.one) + played.frames(played.one, *first))
    with pytest.raises(Wrong, match=r"missing|repeated"):
        hearing.feed(played.frames(played.one, *again))


def test_a_broken_byte(played: Played) -> None:
    data = bytearray(played.frames(played.one, 0, 10))
    data[5 * played.form.size + played.form.size // 2 + 20] ^= 1
    hearing = played.hearing()
    with pytest.raises(Wrong, match="repeated or broken, session 1: frame 5 after frame 4"):
        hearing.feed(played.start(played.one) + bytes(data))


def test_half_a_frame_before_another_session(played: Played) -> None:
    hearing = played.hearing()
    data = played.start(played.one) + played.frames(played.one, 0, 3)
    with pytest.raises(Wrong, match="broken"):
        hearing.feed(data[:-20] + played.start(played.two) + played.frames(played.two, 0, 3))


def test_a_session_that_nobody_sent(played: Played) -> None:
    stranger = Tape(99, "/m", played.form)
    with pytest.raises(Wrong, match="foreign"):
        played.hearing().feed(played.start(stranger) + played.frames(stranger, 0, 3))


def test_a_session_of_another_mount(played: Played) -> None:
    other = played.tapes.new("/other", played.form)
    with pytest.raises(Wrong, match="foreign"):
        played.hearing().feed(played.start(other) + played.frames(other, 0, 3))


def test_a_session_that_goes_back(played: Played) -> None:
    one, two = played.one, played.two
    hearing = played.hearing()
    hearing.feed(played.start(one) + played.frames(one, 0, 10) + played.start(two) + played.frames(two, 0, 3))
    with pytest.raises(Wrong, match="repeated"):
        hearing.feed(played.start(one) + played.frames(one, 9, 12))


@pytest.mark.parametrize(("last", "first"), [(9, 0), (10, 1)], ids=["its last frame", "the first one after it"])
def test_one_loses_a_frame_where_sessions_meet(played: Played, last: int, first: int) -> None:
    one, two = played.one, played.two
    for left, begun in ((10, 0), (last, first)):
        hearing = played.hearing()
        data = played.start(one) + played.frames(one, 0, left) + played.start(two) + played.frames(two, begun, 5)
        if (left, begun) == (10, 0):
            hearing.feed(data)
        else:
            with pytest.raises(Wrong, match="others heard"):
                hearing.feed(data)


def test_the_last_frames(played: Played) -> None:
    one, two = played.one, played.two
    hearing = played.hearing()
    hearing.feed(played.start(one) + played.frames(one, 0, 5) + played.start(two) + played.frames(two, 0, 3))
    assert played.splices.last_frames() == {one.session: 4}
    hearing.feed(played.start(one) + played.frames(one, 8, 12))
    assert played.splices.last_frames() == {two.session: 2}
    hearing.feed(played.start(two) + played.frames(two, 9, 12))
    assert played.splices.last_frames() == {one.session: 11}


def test_a_slow_one_is_moved_forward(played: Played) -> None:
    hearing = played.hearing(healthy=False)
    data = played.start(played.one) + played.frames(played.one, 0, 3) + played.frames(played.one, 9, 12)
    hearing.feed(data)
    assert hearing.jumps == 1
    with pytest.raises(Wrong, match="repeated"):
        hearing.feed(played.frames(played.one, 10, 12))


def test_the_end_of_a_session(played: Played) -> None:
    hearing = played.hearing()
    hearing.feed(played.start(played.one) + played.frames(played.one, 0, 19))
    hearing.finish()
    played.one.whole = True
    with pytest.raises(Wrong, match="before the end"):
        hearing.finish()


def test_a_link_that_is_ended() -> None:
    played = Played(Opus())
    hearing = played.hearing()
    data = played.start(played.one) + played.frames(played.one, 0, 5)
    other = played.start(played.two) + played.frames(played.two, 0, 3)
    hearing.feed(data + played.form.ending(played.one.session, 5))
    hearing.feed(other)
    assert played.splices.last_frames() == {played.one.session: 4}
    with pytest.raises(Wrong, match="broken"):
        played.hearing().feed(data + played.form.ending(played.one.session, 4) + other)


def test_only_what_is_over_is_forgotten() -> None:
    played = Played(Mp3())
    for _ in range(KEPT_SESSIONS + 1):
        played.tapes.over(played.tapes.new("/m", played.form))
    hearing = played.hearing()
    hearing.feed(played.frames(played.one, 0, 5))
    played.tapes.over(played.one)
    for _ in range(KEPT_SESSIONS):
        played.tapes.over(played.tapes.new("/m", played.form))
    with pytest.raises(LookupError):
        hearing.feed(played.frames(played.one, 5, 8))


def test_a_decoder_is_told_what_comes() -> None:
    played = Played(Opus())
    hearing = played.hearing()
    with pytest.raises(Wrong, match="no headers"):
        hearing.feed(played.frames(played.one, 0, 3))


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_blocks(size: int) -> None:
    block = b"StreamTitle='soak 1 of /m';".ljust(32, b"\0")
    data = b"a" * 10 + b"\x02" + block + b"b" * 10 + b"\0" + b"c" * 4
    blocks = Blocks(10)
    assert (
        b"".join(blocks.strip(data[at : at + size]) for at in range(0, len(data), size))
        == b"a" * 10 + b"b" * 10 + b"cccc"
    )
    assert blocks.titles == 1
    with pytest.raises(Wrong, match="no title"):
        Blocks(1).strip(b"a\x01" + b"x" * 16)

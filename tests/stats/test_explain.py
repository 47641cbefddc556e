"""Each goodbye as a sentence that can be read aloud."""

from __future__ import annotations

import pytest

from castd.mount.party import Goodbye
from castd.stats.explain import explain
from tests.stats.visits import TCP, visit

START = "Listener 17 (VLC/3.0.18) from 192.0.2.7 listened to /live for 3 min 20 s from 2026-11-23 07:00:00 UTC"


def test_a_listener_that_left() -> None:
    assert explain(visit()) == f"{START}, received 3.2 MiB, and hung up."


def test_the_network_speaks_where_it_had_a_part() -> None:
    assert explain(visit(reason="vanished")) == (
        f"{START}, received 3.2 MiB, and answered no more, as one does whose network is gone. Its connection: nothing "
        "was acknowledged for 31 s, 17 segments were under way, 3 had to be sent again, round trips took 42 ms."
    )
    assert explain(visit(reason="vanished", tcp=None)).endswith("is gone.")


def test_one_that_fell_behind() -> None:
    words = explain(visit(reason="fell_behind", jumps=2, worst_lag_seconds=21.4, tcp=None))
    assert words == (
        f"{START}, received 3.2 MiB, was moved forward 2 times, being up to 21 s behind, "
        "and was let go because it took the audio too slowly."
    )
    assert "was moved forward once, being" in explain(visit(jumps=1, worst_lag_seconds=20.0))
    assert ", was up to 5 s behind, and hung up." in explain(visit(worst_lag_seconds=5.0))


def test_one_that_was_kicked() -> None:
    assert explain(visit(reason="kicked", ended_by="admin")).endswith(", and was kicked by admin.")


def test_a_source() -> None:
    words = explain(visit(3, kind="source", agent="", address="", bytes=900, seconds=2.25, reason="silent", tcp=None))
    assert words == (
        "Source 3 fed /live for 2.2 s from 2026-11-23 07:00:00 UTC, sent 900 bytes, "
        "and was let go because it sent nothing any more."
    )


@pytest.mark.parametrize("goodbye", Goodbye)
def test_every_reason_has_a_stable_code_and_words(goodbye: Goodbye) -> None:
    assert goodbye.value.replace("_", "").isalpha()
    assert goodbye.value.islower()
    assert Goodbye(goodbye.value) is goodbye
    sentence = explain(visit(reason=goodbye.value, tcp=TCP))
    assert f", and {goodbye.words}." in sentence


def test_a_reason_of_another_version() -> None:
    assert explain(visit(reason="teleported")).endswith(", and left (teleported).")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (59.6, "1 min"), (3600, "1 h"), (3661, "1 h 1 min"), (200_000, "2 d 7 h")]
)
def test_durations(seconds: float, words: str) -> None:
    assert f"listened to /live for {words} from" in explain(visit(seconds=seconds))

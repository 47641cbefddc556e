"""Variants of one programme: cut at the same times, discontinuities counted alike, one manifest of them all."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from castd.adaptive import group_manifest, playlists
from castd.config import Group
from castd.errors import ClientError
from castd.segments.segmenter_state import SegmenterState
from castd.segments.segmenters import AWAY_SECONDS, Segmenters, united
from tests import hls, mpd
from tests.mount.fakes import HandClock
from tests.segments.studio import Studio, catch_up, units
from tests.support import configured

if TYPE_CHECKING:
    from castd.segments.segmenter import Segmenter

NAMES = ("/high", "/low")


class Ensemble:
    """Mounts of a group, in one time moved by hand."""

    def __init__(self, *, low_latency: bool = True) -> None:
        self.time = HandClock()
        self.studios = [Studio(name=name, time=self.time, low_latency=low_latency) for name in NAMES]
        self.segmenters = Segmenters(configured(groups={"/radio": Group(mounts=NAMES)}))
        self.on_air = set(NAMES)

    def __getitem__(self, at: int) -> Segmenter:
        found = self.segmenters.peek(self.studios[at].mount)
        assert found is not None
        return found

    def begin(self) -> None:
        for each in self.studios:
            self.segmenters.of(each.mount)

    def play(self, seconds: float) -> None:
        """All that are on the air send; the segmenters read."""
        while seconds > 0:
            step = min(seconds, 0.25)
            seconds -= step
            for each in self.studios:
                if each.mount.name in self.on_air:
                    each.play(step, pace=inf)
            self.time.now += step
            self.catch_up()

    def catch_up(self) -> None:
        for each in self.studios:
            found = self.segmenters.find(each.mount)
            if found is not None:
                catch_up(found)
        self.segmenters.tidy()

    def leave(self, at: int) -> None:
        self.on_air.discard(NAMES[at])
        self.studios[at].disconnect()

    def come_back(self, at: int, rate: int = 48_000) -> None:
        self.on_air.add(NAMES[at])
        self.studios[at].connect(rate)

    def check(self) -> dict[str, list[dict[float, float]]]:
        """All rules hold now; the periods of the manifest."""
        found = [self.segmenters.peek(each.mount) for each in self.studios]
        ready = [each for each in found if each is not None and each.ready]
        texts = [hls.parse(playlists.media(each, skip=False)) for each in ready]
        for each in texts:
            hls.check(each)
        hls.check_variants(texts)
        return mpd.check_group(group_manifest.manifest("/radio", ready)) if ready else {}


def starts(segmenter: Segmenter) -> list[tuple[int, float]]:
    return [(each.number, each.wall) for each in segmenter.listed]


@pytest.mark.parametrize("lead", [0.0, 0.3, 0.011])
def test_variants_are_cut_at_the_same_times(lead: float) -> None:
    ensemble = Ensemble()
    ensemble.studios[1].play(lead, pace=inf)
    ensemble.begin()
    ensemble.play(60)
    high, low = (starts(ensemble[at]) for at in (0, 1))
    assert len(high) > 4
    assert high[1:] == low[1:], "to the sample, and by the same numbers"
    for one, other in pairwise(ensemble[0].listed):
        assert one.start + one.samples == other.start
    [both] = ensemble.check().values()
    assert both[0].keys() == both[1].keys()


def test_a_source_that_returns_begins_a_period_everywhere() -> None:
    ensemble = Ensemble()
    ensemble.begin()
    ensemble.play(30)
    assert list(ensemble.check()) == ["0"]
    ensemble.leave(0)
    ensemble.play(3)
    ensemble.come_back(0, 44_100)
    ensemble.play(9)
    periods = ensemble.check()
    assert list(periods) == ["0", "1"]
    assert [len(each) for each in periods.values()] == [2, 2]
    for each in (ensemble[0], ensemble[1]):
        assert {segment.period.number for segment in each.listed} == {0, 1}
    sent = ensemble.studios[1].frames
    found = units(ensemble[1].listed)
    at = sent.index(found[0])
    assert found == sent[at : at + len(found)], "the other one lost nothing"
    ensemble.play(60)
    assert [len(each) for each in ensemble.check().values()] == [2]


def test_a_group_that_is_none_any_more() -> None:
    ensemble = Ensemble()
    ensemble.begin()
    ensemble.play(30)
    ensemble[0].unison = None
    with pytest.raises(ClientError, match="there is no such group any more"):
        group_manifest.manifest("/radio", [ensemble[0], ensemble[1]])


def test_one_that_is_away_is_left_out_and_comes_back() -> None:
    ensemble = Ensemble()
    ensemble.begin()
    ensemble.play(30)
    ensemble.check()
    ensemble.leave(0)
    ensemble.play(AWAY_SECONDS + 6)
    alone = mpd.check_group(group_manifest.manifest("/radio", [ensemble[1]]))
    assert list(alone) == ["0", "1"], "another period, without it"
    ensemble.come_back(0)
    ensemble.play(30)
    periods = ensemble.check()
    assert max(periods) == "2"
    assert len(periods["2"]) == 2


def test_one_that_comes_later_joins_in_a_period_of_its_own() -> None:
    ensemble = Ensemble()
    ensemble.segmenters.of(ensemble.studios[1].mount)
    ensemble.play(30)
    assert [len(each) for each in ensemble.check().values()] == [1]
    ensemble.begin()
    ensemble.play(30)
    periods = ensemble.check()
    assert [len(each) for each in periods.values()] == [2] or [len(each) for each in periods.values()] == [1, 2]


def test_whoever_begins_late_counts_as_the_others_did() -> None:
    ensemble = Ensemble()
    ensemble.segmenters.of(ensemble.studios[0].mount)
    ensemble.play(20)
    ensemble.leave(0)
    ensemble.play(2)
    ensemble.come_back(0)
    ensemble.play(9)
    ensemble.begin()
    ensemble.play(1)
    numbers = [[each.period.number for each in ensemble[at].listed] for at in (0, 1)]
    assert set(numbers[0]) == set(numbers[1]) == {0, 1}
    ensemble.check()


def test_breaks_of_long_ago_are_no_common_ones() -> None:
    """What lies in rings is read by one mount after the other: no number stands for two moments far from each other."""
    ensemble = Ensemble()
    ensemble.segmenters.of(ensemble.studios[0].mount)
    ensemble.play(4)
    for at in (0, 1):
        ensemble.leave(at)
        ensemble.play(1)
        ensemble.come_back(at)
        ensemble.play(8)
    ensemble.segmenters.of(ensemble.studios[1].mount)
    ensemble.play(9)
    begun: dict[int, list[float]] = {}
    for at in (0, 1):
        for one, other in pairwise(ensemble[at].held):
            if one.period is not other.period:
                begun.setdefault(other.period.number, []).append(other.wall)
    assert all(max(walls) - min(walls) < 2 for walls in begun.values()), begun
    assert ensemble[0].held[-1].period.number == ensemble[1].held[-1].period.number
    ensemble.check()


def test_another_process_counts_on() -> None:
    ensemble = Ensemble()
    ensemble.begin()
    ensemble.play(20)
    ensemble.check()
    ensemble.leave(0)
    ensemble.play(2)
    ensemble.come_back(0)
    ensemble.play(9)
    before = ensemble.check()
    states = [ensemble.segmenters.state(each.mount) for each in ensemble.studios]
    ensemble.segmenters = Segmenters(configured(groups={"/radio": Group(mounts=NAMES)}))
    for state, each in zip(states, ensemble.studios, strict=True):
        told = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=SegmenterState)
        ensemble.segmenters.go_on_with(told, each.mount, None)
    ensemble.catch_up()
    assert ensemble.check() == before
    ensemble.leave(1)
    ensemble.play(2)
    ensemble.come_back(1)
    ensemble.play(9)
    assert max(ensemble.check()) == "2"


def test_what_another_castd_counted_otherwise_is_begun_anew() -> None:
    ensemble = Ensemble()
    ensemble.begin()
    ensemble.play(20)
    state = ensemble.segmenters.state(ensemble.studios[0].mount)
    assert state is not None
    state.origin = None
    there = Segmenters()
    there.go_on_with(state, ensemble.studios[0].mount, None)
    assert len(there) == 0


def test_groups_with_a_mount_in_common_count_alike() -> None:
    sets = [("/a", "/b"), ("/c",), ("/d", "/e"), ("/b", "/d")]
    assert sorted(map(sorted, united(sets))) == [["/a", "/b", "/d", "/e"], ["/c"]]


_ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("play"), st.floats(0.1, 9)),
        st.tuples(st.just("leave"), st.sampled_from([0.0, 1.0])),
        st.tuples(st.just("return"), st.sampled_from([48_000.0, 44_100.0])),
        st.tuples(st.just("wait"), st.floats(0.1, 9)),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=_ACTIONS, low_latency=st.booleans(), manifests=st.booleans())
def test_variants_keep_the_rules_whatever_happens(
    actions: list[tuple[str, float]], low_latency: bool, manifests: bool
) -> None:
    ensemble = Ensemble(low_latency=low_latency)
    ensemble.begin()
    ensemble.play(12)
    known: dict[str, hls.Playlist] = {}
    for what, value in [("play", 1.0), *actions]:
        match what:
            case "play":
                ensemble.play(value)
            case "wait":
                ensemble.time.now += value
                ensemble.catch_up()
            case "leave":
                if NAMES[int(value)] in ensemble.on_air:
                    ensemble.leave(int(value))
                ensemble.play(1.0)
            case "return":
                for at, name in enumerate(NAMES):
                    if name not in ensemble.on_air:
                        ensemble.come_back(at, int(value))
                ensemble.play(1.0)
        if manifests:
            ensemble.check()
        for each in (ensemble[0], ensemble[1]):
            if not each.ready:
                continue
            playlist = hls.parse(playlists.media(each, skip=False))
            hls.check(playlist)
            if each.session in known:
                hls.check_update(known[each.session], playlist)
            known[each.session] = playlist

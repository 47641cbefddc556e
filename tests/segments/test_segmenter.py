"""Segments: cut at packets, all of them once, the same for everybody."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from castd.adaptive import dash, playlists
from castd.mount.party import Goodbye
from castd.mount.shape import Shape
from castd.segments.held import FEWEST_LISTED
from castd.segments.segment import init_name
from castd.segments.segmenter import Segmenter
from castd.segments.segmenter_state import SegmenterState
from castd.segments.segmenters import Segmenters
from tests import hls, mpd
from tests.segments.studio import SAMPLES, Pages, Studio, catch_up, units
from tests.support import until

FIXTURES = Path(__file__).parents[1] / "fixtures"

HOUR_SECONDS = 3600


def test_segments_hold_every_packet_once() -> None:
    studio = Studio()
    segmenter = Segmenter(studio.mount)
    for _ in range(20):
        studio.play(1)
        catch_up(segmenter)
    complete = [each for each in segmenter.held if each.complete]
    found = units(complete)
    assert found == studio.frames[: len(found)]
    assert len(complete) >= 4
    for one, other in pairwise(complete):
        assert one.start + one.samples == other.start
    for each in complete[1:]:
        assert abs(each.seconds - 4) <= SAMPLES / 48_000
        assert 0 <= each.wall % 4 < SAMPLES / 48_000, "cut where the wall time passes a multiple of the length"


def test_one_begun_late_cuts_the_same() -> None:
    studio = Studio()
    early = Segmenter(studio.mount)
    for _ in range(50):
        studio.play(1)
        catch_up(early)
    late = Segmenter(studio.mount)
    catch_up(late)
    assert late.ready
    assert sum(each.seconds for each in late.listed) > 20, "it has what the ring holds"
    both = {each.number: each for each in early.held if each.complete}
    for each in late.listed:
        assert units([each]) == units([both[each.number]])
        assert abs(each.wall - both[each.number].wall) < 0.06, "the clock is a burst off at most"


def test_titles_are_told_once_and_repeated_for_those_who_begin_later() -> None:
    studio = Studio()
    segmenter = Segmenter(studio.mount)
    studio.mount.set_title("One", artist="A", title="One")
    studio.play(6)
    studio.mount.set_title('Two "quoted"')
    studio.play(6)
    catch_up(segmenter)
    listed = segmenter.listed
    assert all(b"emsg" in bytes(each.parts[0].data) for each in listed), "each segment tells what is on"
    playlist = hls.parse(playlists.media(segmenter, skip=False))
    assert [each["X-TITLE"] for each in playlist.ranges] == [
        "One",
        "Two \N{RIGHT DOUBLE QUOTATION MARK}quoted\N{RIGHT DOUBLE QUOTATION MARK}",
    ]
    assert playlist.ranges[0]["X-ARTIST"] == "A"
    told = segmenter.titles.told[1]
    assert abs(told.time - segmenter.held[0].wall - 6) < 0.1
    assert abs(told.date - (studio.time.clock.wall() - 6)) < 0.2, "where its audio is"


def test_a_source_that_returns_begins_a_period() -> None:
    studio = Studio()
    segmenter = Segmenter(studio.mount)
    studio.play(10)
    catch_up(segmenter)
    studio.disconnect()
    studio.time.now += 7
    studio.connect(44_100)
    studio.play(10)
    catch_up(segmenter)
    periods = list(dict.fromkeys(each.period for each in segmenter.held))
    assert [each.number for each in periods] == [0, 1]
    assert periods[1].track.sample_rate == 44_100
    first = next(each for each in segmenter.held if each.period is periods[1])
    gap = first.wall - (periods[0].wall(periods[0].start) + 10)
    assert 6.5 < gap < 7.5, "the dates tell for how long nothing was sent"
    text = playlists.media(segmenter, skip=False).decode()
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert init_name(segmenter.session, 1) in text


def test_what_cannot_be_put_into_segments_says_so() -> None:
    studio = Studio()
    segmenter = Segmenter(studio.mount)
    studio.mount.shape = Shape("unknown")
    studio.play(1)
    catch_up(segmenter)
    assert "cannot be put into HLS or DASH segments" in segmenter.refused


def test_bytes_lost_before_they_were_read_are_a_gap() -> None:
    studio = Studio(ring_bytes=64 * 1024)
    segmenter = Segmenter(studio.mount)
    studio.play(10)
    catch_up(segmenter)
    studio.play(120)
    catch_up(segmenter)
    assert {each.period.number for each in segmenter.held} >= {1}
    hls.check(hls.parse(playlists.media(segmenter, skip=False)))


@pytest.mark.parametrize("pace", [0.97, 1.03])
def test_a_clock_that_runs_away(pace: float) -> None:
    studio = Studio()
    segmenter = Segmenter(studio.mount)
    before = None
    for _ in range(400):
        studio.play(1, pace=pace)
        catch_up(segmenter)
        if segmenter.ready:
            playlist = hls.parse(playlists.media(segmenter, skip=False))
            hls.check(playlist)
            if before is not None:
                hls.check_update(before, playlist)
            before = playlist
    late = studio.time.clock.wall() - (segmenter.held[-1].wall + segmenter.held[-1].seconds)
    assert late < 12, "set anew"
    assert segmenter.held[-1].period.number == (0 if pace > 1 else 1)


def test_an_hour_of_playlists_keeps_the_rules() -> None:
    studio = Studio(low_latency=True, window_seconds=60)
    segmenter = Segmenter(studio.mount)
    before = None
    fetched: dict[int, float] = {}
    for second in range(0, HOUR_SECONDS, 3):
        if second % 210 == 0:
            studio.mount.set_title(f"Song {second // 210}")
        studio.play(3)
        catch_up(segmenter)
        if not segmenter.ready:
            continue
        playlist = hls.parse(playlists.media(segmenter, skip=False))
        hls.check(playlist)
        if before is not None:
            hls.check_update(before, playlist)
        before = playlist
        fetched |= {each.number: studio.time.now for each in playlist.complete}
        for number, when in fetched.items():
            if studio.time.now - when < 60 + 4:  # bis §6.2.2: the duration of the segment and of the playlist
                assert segmenter.find(number) is not None, f"{number} is gone too early"
        fetched = {number: when for number, when in fetched.items() if studio.time.now - when < 100}
        if second % 12 == 0:
            delta = hls.parse(playlists.media(segmenter, skip=True))
            hls.check(delta)
            assert [each.uri for each in delta.segments] == [each.uri for each in playlist.segments][delta.skipped :]
    assert before is not None
    assert before.segments[-1].number > 890
    assert len(segmenter.held) < 40, "memory is bounded"


_ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("play"), st.floats(0.01, 9)),
        st.tuples(st.just("wait"), st.floats(0.1, 20)),
        st.tuples(st.just("return"), st.sampled_from([48_000.0, 44_100.0, 24_000.0])),
        st.tuples(st.just("title"), st.floats(0, 9)),
        st.tuples(st.just("hasten"), st.floats(1, 20)),
    ),
    max_size=30,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=_ACTIONS, low_latency=st.booleans(), window=st.sampled_from([4.0, 24.0, 90.0]))
def test_playlists_keep_the_rules_whatever_happens(
    actions: list[tuple[str, float]], low_latency: bool, window: float
) -> None:
    studio = Studio(low_latency=low_latency, window_seconds=window)
    segmenter = Segmenter(studio.mount)
    studio.play(9)
    before = None
    for what, value in [("play", 1.0), *actions]:
        match what:
            case "play":
                studio.play(value)
            case "hasten":
                studio.play(value, pace=10)
            case "wait":
                studio.time.now += value
            case "return":
                studio.disconnect()
                studio.time.now += 0.5
                studio.connect(int(value))
                studio.play(0.5)
            case "title":
                studio.mount.set_title(f"{value:.1f}")
        catch_up(segmenter)
        if not segmenter.ready:
            continue
        playlist = hls.parse(playlists.media(segmenter, skip=False))
        hls.check(playlist)
        hls.check(hls.parse(playlists.media(segmenter, skip=True)))
        shown = mpd.check(dash.manifest(segmenter))
        if before is not None:
            hls.check_update(before[0], playlist)
            mpd.check_update(before[1], shown)
        before = playlist, shown
        assert len(segmenter.listed) >= min(FEWEST_LISTED, sum(each.complete for each in segmenter.held))


@pytest.mark.parametrize("codec", ["aac", "opus", "flac"])
def test_another_process_goes_on_at_the_same_byte(codec: str) -> None:
    studio = Studio() if codec == "aac" else Pages(FIXTURES / f"{codec}.{'opus' if codec == 'opus' else 'oga'}")
    here = Segmenter(studio.mount)
    for _ in range(17):
        studio.play(0.7)
        catch_up(here)
    state = SegmenterState.of(here)
    assert state is not None
    told = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=SegmenterState)
    there = told.segmenter(studio.mount)
    for _ in range(17):
        studio.play(0.7)
        catch_up(here)
        catch_up(there)
    assert len(here.held) > 4
    assert [each.number for each in there.held] == [each.number for each in here.held]
    for one, other in zip(here.held, there.held, strict=True):
        assert (one.start, one.data, one.kept_until) == (other.start, other.data, other.kept_until)
    assert there.version > 0
    assert playlists.media(there, skip=False) == playlists.media(here, skip=False)


async def test_a_segmenter_that_goes_while_another_reads() -> None:
    """The task that drives all of them goes on: whose mount closes meanwhile is left out."""
    one, other = Studio(), Studio()
    segmenters = Segmenters()
    for studio in (one, other):
        studio.play(1)
        segmenters.of(studio.mount)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(segmenters.run)
        while not segmenters.of(one.mount).version:
            await trio.lowlevel.checkpoint()
        other.mount.close(Goodbye.SOURCE_ENDED)
        segmenters.tidy()
        one.play(20)
        with trio.fail_after(60):
            await until(lambda: segmenters.of(one.mount).ready)
        nursery.cancel_scope.cancel()
    assert len(segmenters) == 1

"""Windows of an hour: old segments on the disk, the same bytes under the same names, and little in memory."""

from __future__ import annotations

import errno
import gzip
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import trio

from castd.adaptive import dash, playlists
from castd.segments import spool
from castd.segments.old_segment import PIECE_BYTES, OldSegment
from castd.segments.rows import BLOCK, Rows
from castd.segments.segment import Period, Segment
from castd.segments.segmenter import Segmenter
from castd.segments.segmenter_state import SegmenterState
from castd.segments.spool import CHUNK_BYTES, Spool, SpoolFull
from castd.segments.title_marks import MOST
from castd.wire.gzip_pieces import gzipped
from castd.wire.packets import Track
from tests import hls, mpd
from tests.http.test_file_content import Sink
from tests.segments.studio import Studio, catch_up, units
from tests.segments.test_unison import Ensemble

HOUR_SECONDS = 3600.0

WANTED_BYTES = 64 * CHUNK_BYTES


async def windowed(
    studio: Studio, folder: Path, seconds: float = HOUR_SECONDS, wanted: int = WANTED_BYTES
) -> Segmenter:
    """A segmenter with a spool."""
    segmenter = Segmenter(studio.mount, seconds)
    await give_spool(segmenter, folder, seconds, wanted)
    return segmenter


async def give_spool(segmenter: Segmenter, folder: Path, seconds: float, wanted: int = WANTED_BYTES) -> None:
    segmenter.held.allow(seconds, wanted)
    segmenter.held.use(await Spool.open(str(folder), wanted))


async def put_all_by(segmenter: Segmenter) -> None:
    while await segmenter.held.put_by():
        pass


async def content(segmenter: Segmenter, segment: Segment) -> bytes:
    data = await segmenter.held.read(segment)
    assert data is not None, segment.number
    if isinstance(data, OldSegment):
        sink = Sink()
        await data.send(sink, 1.0)
        data.close()
        return sink.body
    return data


async def test_a_live_hour_in_a_window_of_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules hold, whatever was fetched stays to be had for as long as they say, and each name has its bytes."""
    studio = Studio(low_latency=False)
    studio.disconnect()
    studio.connect(24_000)
    segmenter = await windowed(studio, tmp_path)
    made: dict[int, bytes] = {}
    before = None
    most = 0
    for step in range(2600):
        if step % 70 == 0:
            studio.mount.set_title(f"Song {step // 70}")
        if step == 1500:
            studio.disconnect()
            studio.time.now += 20
            studio.connect(32_000)
        studio.play(3)
        catch_up(segmenter)
        for each in segmenter.held:
            if each.complete and each.number not in made:
                made[each.number] = sha256(each.data).digest()
        await put_all_by(segmenter)
        most = max(most, segmenter.held.in_memory)
        if step % 100 == 99:
            playlist = hls.parse(playlists.media(segmenter, skip=False))
            hls.check(playlist)
            shown = mpd.check(dash.manifest(segmenter))
            if before is not None:
                hls.check_update(before[0], playlist)
                mpd.check_update(before[1], shown)
            before = playlist, shown
            text = playlists.media_text(segmenter, skip=False)
            assert gzip.decompress(text.compressed) == text.data
            with monkeypatch.context() as patched:
                patched.setattr(segmenter, "rows", Rows())
                assert playlists.media(segmenter, skip=False) == text.data, "kept rows are those it would make"
            delta = hls.parse(playlists.media(segmenter, skip=True))
            hls.check(delta)
    assert before is not None
    assert abs(before[0].seconds - HOUR_SECONDS) < 10
    assert sum(len(each.segments) for each in before[1].periods.values()) == len(before[0].complete)
    assert len(before[0].ranges) in (18, 19), "the titles of an hour"
    assert most < 60_000, "half a minute of it is in memory"
    held = list(segmenter.held)
    assert held[-1].wall - held[0].wall > 2 * HOUR_SECONDS - 60, "for an hour after it was listed"
    assert segmenter.held.spool is not None
    assert segmenter.held.spool.allocated < 1.1 * sum(each.size for each in held) + 2 * CHUNK_BYTES
    for each in held:
        if each.complete:
            data = await content(segmenter, each)
            assert sha256(data).digest() == made[each.number]
            assert len(data) == each.size
    segmenter.close()


async def test_what_the_ring_holds_is_there_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("castd.segments.reading.STEP_BYTES", 20_000)
    studio = Studio()
    studio.mount.reconfigure(replace(studio.mount.settings, ring_seconds=400.0))
    studio.play(100)
    studio.disconnect()
    studio.time.now += 30
    studio.connect()
    studio.play(200)
    segmenter = await windowed(studio, tmp_path, 250)
    steps = 0
    while segmenter.advance() or not segmenter.caught_up:
        assert not segmenter.ready
        await put_all_by(segmenter)
        steps += 1
    assert steps > 3, "in steps"
    await put_all_by(segmenter)
    assert abs(sum(each.seconds for each in segmenter.listed) - 250) < 8
    assert segmenter.listed[-1].period.number == 1
    found = units(listed := [each for each in segmenter.listed if each.place is None])
    assert listed[-1].wall + 8 > studio.time.clock.wall()
    assert found == studio.frames[studio.frames.index(found[0]) :][: len(found)]
    hls.check(hls.parse(playlists.media(segmenter, skip=False)))
    segmenter.close()


async def test_one_who_does_not_want_to_wait(tmp_path: Path) -> None:
    studio = Studio()
    studio.mount.reconfigure(replace(studio.mount.settings, ring_seconds=400.0))
    studio.play(300)
    segmenter = await windowed(studio, tmp_path, 280)
    assert segmenter.advance()
    assert segmenter.advance()
    session = segmenter.session
    segmenter.hurry()
    catch_up(segmenter)
    assert segmenter.ready
    assert segmenter.session != session
    assert sum(each.seconds for each in segmenter.listed) < 30
    assert segmenter.listed[0].wall % segmenter.segment_seconds < 0.1, "a whole one"
    segmenter.hurry()
    assert segmenter.ready, "that is for those who have not begun"


async def test_another_process_goes_on_in_the_same_file(tmp_path: Path) -> None:
    studio = Studio()
    here = await windowed(studio, tmp_path)
    for _ in range(40):
        studio.play(4)
        catch_up(here)
        await put_all_by(here)
    for _ in range(3):
        studio.play(4)
        catch_up(here)  # some of it is to be put by yet
    state = SegmenterState.of(here)
    assert state is not None
    assert here.held.spool is not None
    assert sum(len(part.data) for each in state.segments for part in each.parts) < 90_000
    told = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=SegmenterState)
    assert told.spool is not None
    theirs = Spool(os.dup(here.held.spool.descriptor), told.spool_bytes, told.spool)
    there = told.segmenter(studio.mount, theirs)
    before = {each.number: await content(here, each) for each in here.held if each.complete}
    here.close()
    for _ in range(40):
        studio.play(4)
        catch_up(there)
        await put_all_by(there)
    listed = {each.number: each for each in there.listed}
    for number, data in before.items():
        assert await content(there, listed[number]) == data
    assert len(listed) > 80
    hls.check(hls.parse(playlists.media(there, skip=False)))
    there.close()


async def test_one_whose_spool_did_not_come_with_it(tmp_path: Path) -> None:
    studio = Studio()
    here = await windowed(studio, tmp_path)
    for _ in range(40):
        studio.play(4)
        catch_up(here)
        await put_all_by(here)
    state = SegmenterState.of(here)
    assert state is not None
    # one could not be put by between two that were
    state.segments[0] = msgspec.structs.replace(state.segments[0], place=None, parts=state.segments[-1].parts)
    there = state.segmenter(studio.mount)
    here.close()
    studio.play(4)
    catch_up(there)
    assert all(each.place is None for each in there.held)
    numbers = [each.number for each in there.held]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    hls.check(hls.parse(playlists.media(there, skip=False)))


@pytest.mark.parametrize("fault", [errno.EIO, errno.ENOSPC])
async def test_a_disk_that_fails_costs_the_past(
    fault: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    studio = Studio(low_latency=False)
    segmenter = await windowed(studio, tmp_path, 400)

    async def play(steps: int) -> None:
        for _ in range(steps):
            studio.play(4)
            catch_up(segmenter)
            segmenter.held.allow(400, WANTED_BYTES)
            await put_all_by(segmenter)

    await play(50)
    long = sum(each.seconds for each in segmenter.listed)

    def fail(*args: object) -> None:
        raise OSError(fault, os.strerror(fault))

    with monkeypatch.context() as patched:
        patched.setattr(spool, "_write", fail)
        await play(50)
        playlist = hls.parse(playlists.media(segmenter, skip=False))
        hls.check(playlist)
        assert playlist.seconds < 40 < long
        assert segmenter.held.in_memory < 100_000
        assert caplog.text.count("reach back by no more than 24 s for a while") == 1
    await play(100)
    playlist = hls.parse(playlists.media(segmenter, skip=False))
    hls.check(playlist)
    assert playlist.seconds > 300, "tried again"
    assert caplog.text.count("cannot") == 0
    segmenter.close()


async def test_a_full_disk_gives_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    studio = Studio(low_latency=False, window_seconds=8)
    room = 6

    def allocate(descriptor: int, offset: int) -> None:
        if offset >= room * CHUNK_BYTES:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool, "CHUNK_BYTES", 65_536)
    monkeypatch.setattr("castd.segments.held.CHUNK_BYTES", 65_536)
    monkeypatch.setattr(f"{__name__}.CHUNK_BYTES", 65_536)
    monkeypatch.setattr(spool, "_allocate", allocate)
    segmenter = await windowed(studio, tmp_path, 400, 65_536 * 40)
    before = None
    for step in range(300):
        if step == 200:
            room = 20
        studio.play(4)
        catch_up(segmenter)
        segmenter.held.allow(400, 65_536 * 40)
        await put_all_by(segmenter)
        if not segmenter.ready:
            continue
        playlist = hls.parse(playlists.media(segmenter, skip=False))
        hls.check(playlist)
        if before is not None:
            hls.check_update(before, playlist)
        before = playlist
        for each in segmenter.listed:
            await content(segmenter, each)
        if step == 199:
            assert caplog.text.count("less than they should") == 1
            few = len(playlist.complete)
    assert before is not None
    assert len(before.complete) > few > 4
    segmenter.close()


async def test_positions_in_a_file(tmp_path: Path) -> None:
    """What lies on several slots, slots that are used again, places that are gone."""
    small = await Spool.open(str(tmp_path), 4 * CHUNK_BYTES)
    blocks = [os.urandom(CHUNK_BYTES * 3 // 4) for _ in range(5)]
    places = await small.put(blocks[:2]) + await small.put(blocks[2:])
    for place, block in zip(places, blocks, strict=True):
        assert await small.get(place) == block
    with pytest.raises(SpoolFull):
        await small.put([blocks[0]])
    small.let_go(places[2].position)
    assert await small.get(places[1]) is None
    [again] = await small.put([blocks[0]])
    assert await small.get(again) == blocks[0]
    assert await small.get(places[2]) == blocks[2]
    assert small.allocated == 4 * CHUNK_BYTES == os.fstat(small.descriptor).st_size
    for offset in range(0, 4 * CHUNK_BYTES, 4096):
        os.pwrite(small.descriptor, b"noise", offset)
    with pytest.raises(OSError, match="not what was written"):
        await small.get(again)
    assert list((tmp_path / "rewind").iterdir()) == [], "it has no name"
    small.close()
    assert await small.get(again) is None


async def test_what_is_read_while_it_goes_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slot may have been written again."""
    small = await Spool.open(str(tmp_path), 4 * CHUNK_BYTES)
    [place] = await small.put([b"x" * 1000])
    read = spool._read

    def slowly(descriptor: int, extents: list[tuple[int, int]]) -> bytes:
        trio.from_thread.run_sync(small.let_go, 1000)
        return read(descriptor, extents)

    monkeypatch.setattr(spool, "_read", slowly)
    assert await small.get(place) is None


async def test_a_descriptor_is_closed_when_nobody_reads_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = await Spool.open(str(tmp_path), 4 * CHUNK_BYTES)
    [place] = await small.put([b"x" * 1000])
    read = spool._read

    def slowly(descriptor: int, extents: list[tuple[int, int]]) -> bytes:
        trio.from_thread.run_sync(small.close)
        return read(descriptor, extents)

    monkeypatch.setattr(spool, "_read", slowly)
    assert await small.get(place) == b"x" * 1000
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(small.descriptor)


async def test_a_spool_that_closes_while_an_old_segment_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on being read to its end, and then the descriptor is closed once: its number is another file's soon."""
    small = await Spool.open(str(tmp_path), 4 * CHUNK_BYTES)
    data = os.urandom(3 * PIECE_BYTES)
    [place] = await small.put([data])
    read = spool._read

    def slowly(descriptor: int, extents: list[tuple[int, int]]) -> bytes:
        trio.from_thread.run_sync(small.close)
        return read(descriptor, extents)

    monkeypatch.setattr(spool, "_read", slowly)
    found = await OldSegment.find(small, place)
    assert found is not None
    sink = Sink()
    await found.send(sink, 1.0)
    assert sink.body == data
    closed: list[int] = []
    monkeypatch.setattr(os, "close", closed.append)
    found.close()
    small.retain()
    small.release()
    monkeypatch.undo()
    assert closed == [small.descriptor], "once"
    os.close(small.descriptor)


async def test_nothing_is_put_by_where_another_process_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if it was under way, and somebody still reads here what is old."""
    small = await Spool.open(str(tmp_path), 4 * CHUNK_BYTES)
    allocate = spool._allocate

    def slowly(descriptor: int, offset: int) -> None:
        trio.from_thread.run_sync(small.close)
        allocate(descriptor, offset)

    monkeypatch.setattr(spool, "_allocate", slowly)
    small.retain()
    with pytest.raises(OSError, match="closed"):
        await small.put([b"x" * 1000])
    assert os.pread(small.descriptor, 1000, 0) == bytes(1000)
    small.release()


def test_rows_are_written_once() -> None:
    """And deflated once: what is new costs as much after an hour as at the beginning."""
    written: list[int] = []

    def write(segment: Segment, before: Segment) -> bytes:
        assert before.number == segment.number - 1
        written.append(segment.number)
        return b"row %d\n" % segment.number

    period = Period(0, Track("aac", 48_000, 2, "mp4a.40.2"), b"", 0, 0.0)
    rows = Rows()
    segments = [Segment(number, period, number, complete=True) for number in range(1000, 3000)]
    for end in range(1, 2000):
        shown = segments[max(0, end - 900) : end]
        pieces = rows.pieces(shown, len(shown), write)
        if end % 97 == 0:
            assert b"".join(each.data for each in pieces) == b"".join(b"row %d\n" % each.number for each in shown[1:])
            assert gzip.decompress(gzipped(pieces)).endswith(b"row %d\n" % shown[-1].number)
    assert written == list(range(1001, 2999))
    before = rows.pieces(segments[1000:1900], 900, write)
    after = rows.pieces(segments[1001:1901], 900, write)
    assert sum(each not in before for each in after) <= 2, "the first and the last"
    assert len(before) <= 900 // BLOCK + 2


def test_titles_are_bounded() -> None:
    studio = Studio()
    segmenter = Segmenter(studio.mount)
    for number in range(700):
        studio.mount.set_title(f"Song {number}")
        studio.play(0.05)
    studio.play(10)
    catch_up(segmenter)
    playlist = hls.parse(playlists.media(segmenter, skip=False))
    assert len(playlist.ranges) == MOST
    assert playlist.ranges[-1]["X-TITLE"] == "Song 699"


@pytest.mark.parametrize("away", [0.0, 0.4, 3.0, 20.0])
async def test_variants_of_a_group_begin_far_back(tmp_path: Path, away: float) -> None:
    """But not before their sources did: where one was away they count what the others did not."""
    ensemble = Ensemble(low_latency=False)
    for each in ensemble.studios:
        each.mount.reconfigure(replace(each.mount.settings, ring_seconds=400.0))
    ensemble.play(20)
    if away:
        ensemble.leave(1)
        ensemble.play(away)
        ensemble.come_back(1)
    ensemble.play(120)
    ensemble.segmenters.reach = lambda mount: 300.0
    ensemble.begin()
    for at in (0, 1):
        ensemble[at].held.allow(300.0, WANTED_BYTES)
        ensemble[at].held.use(await Spool.open(str(tmp_path), WANTED_BYTES))
    for _ in range(40):
        ensemble.play(1)
        for at in (0, 1):
            await put_all_by(ensemble[at])
        ensemble.check()
    assert min(sum(each.seconds for each in ensemble[at].listed) for at in (0, 1)) > 150
    ensemble.segmenters.close()


async def test_a_bound_of_bytes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As much is kept beside what is listed, and nothing goes before its time."""
    studio = Studio(low_latency=False)
    studio.disconnect()
    studio.connect(24_000)
    wanted = 6 * CHUNK_BYTES
    segmenter = await windowed(studio, tmp_path, HOUR_SECONDS, wanted)
    until: dict[int, float] = {}
    for _ in range(800):
        studio.play(8)
        catch_up(segmenter)
        await put_all_by(segmenter)
        held = {each.number for each in segmenter.held}
        assert all(number in held for number, time in until.items() if time > studio.time.now)
        until |= {each.number: each.kept_until for each in segmenter.held if each.kept_until is not None}
    assert caplog.text.count("for more, 6 MiB are too little") == 1
    assert segmenter.held.spool is not None
    assert segmenter.held.spool.allocated <= wanted
    hls.check(playlist := hls.parse(playlists.media(segmenter, skip=False)))
    assert 1000 < playlist.seconds < HOUR_SECONDS - 60
    segmenter.close()

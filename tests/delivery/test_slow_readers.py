"""Many who are slow to take what they asked for cost no memory for each: what they are sent is one copy, or read as it
is taken."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio

from castd.http.connection import TOGETHER_BYTES
from castd.segments.old_segment import PIECE_BYTES, OldSegment
from castd.segments.segmenter import Segmenter
from castd.segments.segmenter_state import SegmenterState
from castd.segments.spool import CHUNK_BYTES, Spool
from tests.adaptive.test_hls import get, media_url, station
from tests.http.test_file_content import Sink
from tests.segments.studio import Studio, catch_up

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from castd.segments.segment import Place

SIZE = 5 * PIECE_BYTES // 2


def test_a_segment_and_its_parts_are_one_copy() -> None:
    studio = Studio()
    segmenter = Segmenter(studio.mount)
    studio.play(14.2)
    catch_up(segmenter)
    for segment in segmenter.listed:
        assert segment.data is segment.data
        assert b"".join(part.data for part in segment.parts) == segment.data
        for part in segment.parts:
            assert isinstance(part.data, memoryview)
            assert part.data.obj is segment.data
    state = SegmenterState.of(segmenter)
    assert state is not None
    again = state.segmenter(studio.mount)
    assert [each.data for each in again.listed] == [each.data for each in segmenter.listed]


async def test_a_large_body_is_sent_as_it_lies(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    async with station() as castd:
        await media_url(castd)
        segment = castd.server.segmenters.of(castd.mount("/live")).listed[0]
        views: list[memoryview] = []
        send_all = trio.testing.MemorySendStream.send_all

        async def noted(stream: trio.testing.MemorySendStream, data: bytes | bytearray | memoryview) -> None:
            if isinstance(data, memoryview):
                views.append(data)
            await send_all(stream, data)

        monkeypatch.setattr(trio.testing.MemorySendStream, "send_all", noted)
        name = f"/live/hls/{castd.server.segmenters.of(castd.mount('/live')).session}-{segment.number}.ts"
        assert (await get(castd, name)).body == segment.data
        [view] = views
        assert view.obj is segment.data
        assert len(view) == segment.size - TOGETHER_BYTES


async def spooled(folder: Path) -> tuple[Spool, Place, bytes]:
    spool, data = await Spool.open(str(folder), 4 * CHUNK_BYTES), os.urandom(SIZE)
    [place] = await spool.put([data])
    return spool, place, data


async def test_an_old_segment_is_read_as_it_is_taken(tmp_path: Path) -> None:
    spool, place, data = await spooled(tmp_path)
    found, sink = await OldSegment.find(spool, place), Sink()
    assert found is not None
    assert found.size == SIZE
    await found.send(sink, 1.0)
    assert sink.body == data
    assert max(len(piece) for _, piece in sink.taken) == PIECE_BYTES
    found.close()
    spool.let_go(place.position + SIZE)
    assert await OldSegment.find(spool, place) is None
    spool.close()


async def test_an_old_segment_that_is_another_by_its_end_lacks_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool, place, data = await spooled(tmp_path)
    found, sink = await OldSegment.find(spool, place), Sink()
    assert found is not None
    os.pwrite(spool.descriptor, b"noise", SIZE - 10)
    with pytest.raises(trio.BrokenResourceError, match="not what was written"):
        await found.send(sink, 1.0)
    assert sink.body == data[: 2 * PIECE_BYTES]
    assert "lacks its end" in caplog.text
    found.close()
    spool.close()


async def test_an_old_segment_that_goes_meanwhile_lacks_its_end(tmp_path: Path) -> None:
    spool, place, data = await spooled(tmp_path)
    found, sink = await OldSegment.find(spool, place), Sink()
    assert found is not None
    spool.let_go(place.position + SIZE)
    with pytest.raises(trio.BrokenResourceError, match="not there any more"):
        await found.send(sink, 1.0)
    assert sink.body == data[:PIECE_BYTES]
    found.close()
    spool.close()


async def test_an_old_segment_for_one_who_takes_nothing(tmp_path: Path) -> None:
    spool, place, _ = await spooled(tmp_path)
    found = await OldSegment.find(spool, place)
    assert found is not None
    with pytest.raises(trio.BrokenResourceError, match="took nothing"):
        await found.send(Sink(delay_seconds=10.0), 0.05)
    found.close()
    spool.close()


async def test_an_old_segment_is_sent_to_its_end_when_another_process_has_the_file(tmp_path: Path) -> None:
    spool, place, data = await spooled(tmp_path)
    found, sink = await OldSegment.find(spool, place), Sink()
    assert found is not None
    spool.close()
    await found.send(sink, 1.0)
    assert sink.body == data
    os.fstat(spool.descriptor)
    found.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(spool.descriptor)
    assert await OldSegment.find(spool, place) is None

"""Chained streams made into one: what comes out is one logical stream with all the sound of the links."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from castd.wire.framer import Head, Run
from castd.wire.ogg import OggFramer
from castd.wire.ogg_pages import Page, PageCutter
from castd.wire.ogg_unchain import Unchainer, UnchainerState

FIXTURES = Path(__file__).parent.parent / "fixtures"
CHAINS = ["chain.ogg", "chain.opus"]
SINGLES = ["vorbis.ogg", "opus.opus", "flac.oga", "speex.spx"]


def runs_of(*names: str, step: int = 1000) -> list[Run]:
    """Recordings, one after the other, as an encoder's framer passes them on."""
    framer, data = OggFramer(), b"".join((FIXTURES / name).read_bytes() for name in names)
    runs = [run for at in range(0, len(data), step) for run in framer.feed(data[at : at + step])]
    return [*runs, *framer.finish()]


def pages_of(data: bytes) -> list[Page]:
    cutter = PageCutter()
    pages = [Page.read(page) for page in cutter.feed(data)]
    assert cutter.skipped_bytes == 0
    return pages


def packets_of(pages: list[Page]) -> list[bytes]:
    """Whole packets, those that go over several pages joined; of one serial number after another."""
    packets, going_on = [], b""
    for page in pages:
        pieces = page.packets()
        if page.continued and pieces:
            pieces[0] = going_on + pieces[0]
        going_on = pieces.pop() if page.unfinished else b""
        packets += pieces
    return packets


@pytest.mark.parametrize("names", [(name,) for name in CHAINS] + [(name, name, name) for name in SINGLES])
def test_one_stream_with_all_the_sound(names: tuple[str, ...]) -> None:
    runs, unchainer = runs_of(*names), Unchainer()
    before = pages_of(b"".join(run.data for run in runs))
    after = pages_of(b"".join(unchainer.rewrite(run).data for run in runs))
    assert [page.bos for page in after].count(True) == 1
    assert not any(page.eos for page in after)
    assert len({page.serial for page in after}) == 1
    assert [page.sequence for page in after] == list(range(len(after)))
    granules = [page.granule_position for page in after if page.granule_position != -1]
    assert granules == sorted(granules)
    heads = [packet for run in runs if run.head for packet in packets_of(pages_of(run.head.data))]
    links = unchainer.joined + 1
    assert links == [page.bos for page in before].count(True) >= 3
    sound = [packet for packet in packets_of(before) if packet not in heads]
    assert [packet for packet in packets_of(after) if packet not in heads] == sound


@pytest.mark.parametrize("name", ["flac.oga", "opus.opus"])
def test_granule_positions_count_every_sample(name: str) -> None:
    once, thrice = (b"".join(map(_data, map(Unchainer().rewrite, runs_of(*names)))) for names in ((name,), (name,) * 3))
    assert pages_of(thrice)[-1].granule_position == 3 * pages_of(once)[-1].granule_position > 0


def _data(run: Run) -> bytes:
    return run.data


def test_a_link_of_other_parameters_begins_a_stream() -> None:
    unchainer = Unchainer()
    pages = pages_of(b"".join(unchainer.rewrite(run).data for run in runs_of("opus.opus", "vorbis.ogg", "vorbis.ogg")))
    starts = [number for number, page in enumerate(pages) if page.bos]
    assert len(starts) == 2
    assert pages[starts[1] - 1].eos
    assert pages[starts[1] - 1].body == b""
    assert pages[starts[1] - 1].granule_position == pages[starts[1] - 2].granule_position
    assert unchainer.joined == 1


def test_an_encoder_that_begins_with_the_same_serial_number_each_time() -> None:
    runs = [*runs_of("flac.oga"), *runs_of("opus.opus"), *runs_of("flac.oga")]
    data = b"".join(map(_data, map(Unchainer().rewrite, [_with_serial(run, 7) for run in runs])))
    assert [page.serial for page in pages_of(data) if page.bos] == [7, 8, 7]


def _with_serial(run: Run, serial: int) -> Run:
    data = b"".join(replace(page, serial=serial).write() for page in pages_of(run.data))
    return Run(data, run.start, run.end, (), run.head)


def test_who_joins_late_gets_the_newest_comments_under_the_same_serial_number() -> None:
    unchainer = Unchainer()
    runs = [unchainer.rewrite(run) for run in runs_of("chain.opus")]
    heads = [run.head for run in runs if run.head]
    assert len(heads) == unchainer.joined + 1 >= 3
    serial = pages_of(runs[0].data)[0].serial
    assert {page.serial for head in heads for page in pages_of(head.data)} == {serial}
    assert len({head.comment for head in heads}) == len(heads)
    assert all(head.comment in head.data for head in heads)
    assert not any(after.needed_after(before) for before, after in itertools.pairwise(heads))
    assert heads[1].needed_after(None)
    assert Head(b"", "opus", 48_000, 2, b"").needed_after(heads[0])


def test_entries_stay_at_their_pages() -> None:
    unchainer = Unchainer()
    for run in runs_of("chain.ogg", step=5000):
        rewritten = unchainer.rewrite(run)
        assert [entry.time for entry in rewritten.entries] == [entry.time for entry in run.entries]
        for was, entry in zip(run.entries, rewritten.entries, strict=True):
            old, new = Page.read(_page(run.data[was.offset :])), Page.read(_page(rewritten.data[entry.offset :]))
            assert old.body == new.body


def _page(data: bytes) -> bytes:
    return PageCutter().feed(data)[0]


@pytest.mark.parametrize("name", ["chain.opus", "flac.oga"])
def test_another_process_goes_on_with_it_anywhere(name: str) -> None:
    runs = runs_of(name, name, step=500)
    whole = Unchainer()
    expected = [whole.rewrite(run).data for run in runs]
    going = Unchainer()
    got = []
    for run in runs:
        got.append(going.rewrite(run).data)
        state = msgspec.msgpack.encode(going.state())
        going = Unchainer.of(msgspec.msgpack.decode(state, type=UnchainerState))
    assert b"".join(got) == b"".join(expected)


def test_pages_of_no_link_and_of_several_streams_pass_as_they_are() -> None:
    for runs in (runs_of("theora.ogg"), runs_of("vorbis.ogg")[3:]):
        unchainer = Unchainer()
        assert b"".join(unchainer.rewrite(run).data for run in runs) == b"".join(run.data for run in runs)


def test_a_source_that_breaks_off_in_its_headers() -> None:
    unchainer = Unchainer()
    head, *rest = runs_of("opus.opus", step=100)
    first = unchainer.rewrite(Run(head.data[: len(_page(head.data))], 0.0, 0.0)).data
    unchainer.break_off()
    pages = pages_of(first + b"".join(unchainer.rewrite(run).data for run in [head, *rest]))
    assert [page.bos for page in pages].count(True) == 1

"""Targets: the framers, what is around them, and what is read in their headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd.errors import FramingError
from castd.wire import icy, sniff
from castd.wire.adts import AdtsFramer
from castd.wire.ebml import UNKNOWN, read_element
from castd.wire.framer import RUN_BYTES, Framer, Run
from castd.wire.icy import IcyDemuxer
from castd.wire.mpeg_audio import MpegAudioFramer
from castd.wire.ogg import OggFramer
from castd.wire.ogg_headers import HEAD_BYTES
from castd.wire.ogg_pages import PAGE_BYTES, Page, PageCutter, checksum
from castd.wire.ogg_unchain import Unchainer
from castd.wire.packets import Packet, depacketizer
from castd.wire.webm import (
    BLOCK_GROUP,
    CLUSTER,
    ELEMENT_BYTES,
    SEGMENT_START,
    SIMPLE_BLOCK,
    TIMESTAMP,
    WebmFramer,
)
from tests.fuzz.harness import MOST_BYTES, pieces, split_off, target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from castd.wire.frame_sync import FrameSync

MEND = 0x80
"""Of the byte before Ogg: give every page the checksum it needs, which nobody finds by chance."""


def run_through(framer: Framer, fed: Iterable[bytes]) -> tuple[list[Run], bool]:
    """All runs of a stream, and whether it was refused before its end."""
    runs: list[Run] = []
    try:
        for piece in fed:
            runs += framer.feed(piece)
        runs += framer.finish()
    except FramingError:
        return runs, True
    return runs, False


def check_runs(runs: list[Run], largest: int) -> None:
    """Runs are what castd.wire.framer says they are."""
    before = 0.0
    for run in runs:
        assert 0 < len(run.data) <= max(RUN_BYTES, largest)
        assert (run.start is None) == (run.end is None)
        if run.start is not None and run.end is not None:
            assert before <= run.start <= run.end < float("inf")
            before = run.end
        offsets = [entry.offset for entry in run.entries]
        assert offsets == sorted(set(offsets))
        assert all(0 <= offset < len(run.data) for offset in offsets)


def flattened(runs: list[Run]) -> tuple[bytes, list[tuple[int, float]], float | None]:
    """What must not depend on cuts: the bytes, the entries at absolute offsets, the end."""
    entries, size = [], 0
    for run in runs:
        entries += [(size + entry.offset, entry.time) for entry in run.entries]
        size += len(run.data)
    return b"".join(run.data for run in runs), entries, runs[-1].end if runs else None


def check_frames(kind: type[FrameSync], data: bytes) -> None:
    how, data = split_off(data)
    framer = kind()
    runs: list[Run] = []
    for piece in pieces(how, data):
        runs += framer.feed(piece)
        assert len(framer.unread) <= 5 * kind.MAX_FRAME_BYTES + kind.HEADER_BYTES + len(piece)
    runs += framer.finish()
    check_runs(runs, kind.MAX_FRAME_BYTES)
    given = b"".join(run.data for run in runs)
    assert len(given) + framer.skipped_bytes == len(data)
    assert framer.tag_bytes <= framer.skipped_bytes
    at = 0
    for run in runs:
        at = data.index(run.data, at) + len(run.data)
    whole = kind()
    assert flattened(run_through(whole, [data])[0]) == flattened(runs)
    assert (whole.skipped_bytes, whole.tag_bytes) == (framer.skipped_bytes, framer.tag_bytes)


@target
def mpeg_audio(data: bytes) -> None:
    """Nothing is raised; frames come out as they went in, in order, the same at any cuts, and the rest is counted."""
    check_frames(MpegAudioFramer, data)


@target
def adts(data: bytes) -> None:
    """Nothing is raised; frames come out as they went in, in order, the same at any cuts, and the rest is counted."""
    check_frames(AdtsFramer, data)


def ogg_stream(data: bytes) -> tuple[int, bytes]:
    """How an input is cut, and the stream in it."""
    how, data = split_off(data)
    return how & ~MEND, mended(data) if how & MEND else data


def mended(data: bytes) -> bytes:
    """A stream with the right checksum in everything that looks like a page."""
    stream, at = bytearray(data), 0
    while (at := stream.find(b"OggS", at)) >= 0:
        table = at + 27
        segments = stream[table - 1] if table <= len(stream) else 0
        end = table + segments + sum(stream[table : table + segments])
        if table <= len(stream) and end <= len(stream):
            stream[at + 22 : at + 26] = checksum(bytes(stream[at:end])).to_bytes(4, "little")
            at = end
        else:
            at += 4
    return bytes(stream)


@target
def ogg(data: bytes) -> None:
    """Only FramingError is raised; whole pages come out as they went in, the same at any cuts; a page is kept."""
    how, stream = ogg_stream(data)
    framer = OggFramer()
    runs: list[Run] = []
    refused = False
    try:
        for piece in pieces(how, stream):
            runs += framer.feed(piece)
            assert len(framer.unread) < PAGE_BYTES
        runs += framer.finish()
    except FramingError:
        refused = True
    check_runs(runs, PAGE_BYTES)
    at = 0
    for run in runs:
        pages = PageCutter().feed(run.data)
        assert b"".join(pages) == run.data
        for page in pages:
            assert Page.read(page).write() == page
            at = stream.index(page, at) + len(page)
        if run.head is not None:
            assert all(page in stream for page in PageCutter().feed(run.head.data))
            assert len(run.head.data) <= HEAD_BYTES
            assert 0 <= run.head.sample_rate <= 1_000_000
            assert 0 <= run.head.channels <= 255
    if not refused:
        assert sum(len(run.data) for run in runs) + framer.skipped_bytes == len(stream)
        assert flattened(run_through(OggFramer(), [stream])[0]) == flattened(runs)


@target
def ogg_unchain(data: bytes) -> None:
    """Nothing is raised for a framer's runs; whole pages come out, entries begin at them; one goes on for another."""
    how, stream = ogg_stream(data)
    runs, _ = run_through(OggFramer(), pieces(how, stream))
    unchainer = Unchainer()
    for number, run in enumerate(runs):
        if how & 1 and number == len(runs) // 2:
            unchainer = Unchainer.of(unchainer.state())
        if how & 2 and number == len(runs) // 3:
            unchainer.break_off()
        made = unchainer.rewrite(run)
        cutter = PageCutter()
        pages = cutter.feed(made.data)
        assert b"".join(pages) == made.data
        begins = {0}
        for page in pages:
            begins.add(max(begins) + len(page))
        assert all(entry.offset in begins for entry in made.entries)
        if made.head is not None:
            assert b"".join(PageCutter().feed(made.head.data)) == made.head.data
    assert unchainer.joined <= sum(run.head is not None for run in runs)


def check_elements(data: bytes, stream: bytes, after: int) -> int:
    """A run holds whole elements of the stream, its blocks in their order; where in it the last of them ends."""
    at = 0
    while at < len(data):
        element = read_element(data, at)
        assert element is not None
        if element.id == CLUSTER:
            assert element.size == UNKNOWN
            at = element.start
            continue
        assert element.id in (TIMESTAMP, SIMPLE_BLOCK, BLOCK_GROUP)
        whole = data[at : element.start + element.size]
        found = stream.find(whole, after if element.id != TIMESTAMP else 0)
        assert found >= 0
        after = found + len(whole) if element.id != TIMESTAMP else after
        at = element.start + element.size
    assert at == len(data)
    return after


@target
def webm(data: bytes) -> None:
    """Only FramingError is raised; no byte of a block comes out that did not go in; memory stays within an element."""
    how, stream = split_off(data)
    framer = WebmFramer()
    runs: list[Run] = []
    refused = False
    try:
        for piece in pieces(how, stream):
            runs += framer.feed(piece)
            assert len(framer.unread) <= ELEMENT_BYTES + MOST_BYTES
        runs += framer.finish()
    except FramingError:
        refused = True
    check_runs(runs, ELEMENT_BYTES)
    assert 0 <= framer.sample_rate <= 10_000_000
    assert 0 <= framer.channels <= 255
    at = 0
    for run in runs:
        if run.head is None:
            at = check_elements(run.data, stream, at)
        else:
            assert len(run.head.data) <= len(stream) + len(SEGMENT_START) * stream.count(SEGMENT_START[:4])
    again, refused_again = run_through(WebmFramer(), [stream])
    assert refused_again == refused
    if not refused:  # what came whole before a refusal depends on the cuts
        assert flattened(again) == flattened(runs)


DECLARED = ("", "audio/mpeg", "audio/ogg", "audio/aac", "video/webm", "audio/flac", "application/octet-stream")


@target
def sniffer(data: bytes) -> None:
    """Only FramingError is raised; there is a verdict by the end, with a content type of audio, or the one declared."""
    how, stream = split_off(data)
    declared = DECLARED[how % len(DECLARED)]
    subject = sniff.Sniffer(declared)
    verdict, fed = None, 0
    try:
        for piece in pieces(how, stream):
            fed += len(piece)
            if verdict := subject.feed(piece):
                break
            assert subject.unread == stream[:fed]
            assert fed < sniff.PATIENCE_BYTES
        verdict = verdict or subject.finish()
    except FramingError:
        return
    assert (verdict is None) == (not stream)
    if verdict is not None:
        known = [kind for each in sniff.FORMATS for kind in each.types]
        assert verdict.content_type in (*known, declared, "application/octet-stream")
        assert sum(len(run.data) for run in verdict.runs) <= fed + 4096
        assert type(sniff.framer_of(verdict.format)) is type(verdict.framer)


@target
def icy_demuxer(data: bytes) -> None:
    """Nothing is raised; audio comes out as it went in, less the blocks; the same at any cuts."""
    how, stream = split_off(data)
    metaint = how * how + 1
    cut, whole = IcyDemuxer(metaint), IcyDemuxer(metaint)
    found = [each for piece in pieces(how, stream) for each in cut.feed(piece)]
    at_once = whole.feed(stream)
    audio = b"".join(each for each in found if isinstance(each, bytes))
    assert audio == b"".join(each for each in at_once if isinstance(each, bytes))
    titles = [each for each in found if isinstance(each, icy.InlineTitle)]
    assert titles == [each for each in at_once if isinstance(each, icy.InlineTitle)]
    assert len(audio) == cut.audio_bytes <= len(stream)
    at, expected = 0, b""
    while at < len(stream):
        expected += stream[at : at + metaint]
        at += metaint
        at += 1 + 16 * stream[at] if at < len(stream) else 0
    assert audio == expected
    assert all(each.position % metaint == 0 and len(each.fields.title) <= icy.MAX_TEXT_BYTES for each in titles)


FORMS = ("mpeg", "aac", "ogg", "webm")


@target
def packets(data: bytes) -> None:
    """Nothing is raised for what a framer passed on; packets last, follow a track, and are no more than went in."""
    how, stream = split_off(data)
    form = FORMS[how % len(FORMS)]
    runs, _ = run_through(sniff.framer_of(form), pieces(how, stream))
    subject = depacketizer(form)
    size = 0
    for run in runs:
        for event in subject.feed(run.data):
            if isinstance(event, Packet):
                assert subject.track is not None
                assert event.samples > 0
                size += len(event.data)
            else:
                assert min(event.sample_rate, event.channels, event.bitrate) >= 0
    assert size <= sum(len(run.data) for run in runs)

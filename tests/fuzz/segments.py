"""Targets: containers and playlists, silence, and what requests for them and for the past say."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from io import BytesIO
from math import isfinite
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import trio
from mutagen.id3 import ID3
from trio.testing import MockClock

from castd.adaptive import playlists
from castd.adaptive.dash import manifest as manifest_of
from castd.adaptive.hls import _directives
from castd.adaptive.outputs import Outputs
from castd.config import Config, Current
from castd.delivery.pace import asked_entry, entry_at
from castd.errors import ClientError, FramingError
from castd.http.links import public_url
from castd.http.messages import Request, parse_query
from castd.segments.segmenter import Segmenter
from castd.segments.title_marks import TitleMark
from castd.wire import fmp4, m3u8, mpd, mpegts
from castd.wire.packets import depacketizer
from castd.wire.silence import silence_after
from castd.wire.sniff import framer_of
from castd.wire.text import one_line
from castd.wire.timed_id3 import Event, tag
from castd.wire.track import Packet, Track, Unsupported
from castd.wire.unmakeable import Unmakeable
from tests import hls
from tests.fuzz.framing import mended, run_through
from tests.fuzz.harness import pieces, split_off, target
from tests.fuzz.heads import check_status
from tests.fuzz.texts import check_line, text_of
from tests.segments.studio import Studio, catch_up
from tests.wire import boxes
from tests.wire.transport import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from castd.mount.mount import Mount

FORMS = ("mpeg", "aac", "ogg", "webm")

MOST_PACKETS = 400
"""Of a stream, muxed: what a segment has."""

OWN = (
    Track("aac", 44_100, 2, "mp4a.40.2", b"\x12\x10"),
    Track("opus", 48_000, 2, "opus", b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0", 312),
    Track("flac", 96_000, 2, "fLaC", b"\x10\0\x10\0" + bytes(6) + b"\x17\x70\x02\xf0" + bytes(20)),
    Track("mp3", 44_100, 2, "mp4a.40.34"),
    Track("mp2", 16_000, 1, "mp4a.40.33"),
)


@target
def timed_id3(data: bytes) -> None:
    """Any texts become one tag, which is read back as it was, and is far smaller than a PES packet."""
    words = [one_line(each) for each in text_of(data).split("\n", 3)]
    title, artist, album, url = [*words, "", "", "", ""][:4]
    made = tag(title, artist, album, url)
    assert len(made) < 65_000
    read: Any = ID3(BytesIO(made))  # type: ignore[no-untyped-call]
    for name, text in (("TIT2", title), ("TPE1", artist), ("TALB", album)):
        assert [str(frame) for frame in read.getall(name)] == ([text] if text else [])
    links = [frame.url for frame in read.getall("WXXX")]
    assert len(links) == bool(url)
    assert all(link.isascii() and " " not in link for link in links)


@target
def silence(data: bytes) -> None:
    """Only Unmakeable is raised; what is made is frames of the format, whole ones, of a length that makes sense."""
    how, data = split_off(data)
    form = FORMS[how % len(FORMS)]
    bitrate = (how >> 2) ** 5
    runs, _ = run_through(framer_of(form), [mended(data)]) if form == "ogg" else ([], False)
    head = next((run.head for run in reversed(runs) if run.head is not None), None)
    try:
        made = silence_after(form, head, data[:16], bitrate, serial=7)
    except Unmakeable:
        return
    assert 0 < made.seconds < 30
    fed = made.start + made.next() + made.next()
    runs, refused = run_through(framer_of(form), [fed])
    assert not refused
    assert b"".join(run.data for run in runs) == fed
    assert len(made.next()) <= 4096 + 2 * max(bitrate, 1_000_000) / 8 * made.seconds + 255 * 255


def check_segments(track: Track, packets: Sequence[Packet], events: Sequence[Event]) -> None:
    """Both containers take packets of a track or say that they do not; what they hold is what went in."""
    time = sum(packet.samples for packet in packets) * 977
    try:
        init = fmp4.init_segment(track)
        made = fmp4.fragment(track, 7, time, packets, events)
    except Unsupported as error:
        check_line(str(error))
    else:
        assert [box.kind for box in boxes.read(init)] == ["ftyp", "moov"]
        (found,) = boxes.fragments(made)
        assert found.decode_time == time
        assert found.samples == [(packet.data, packet.samples) for packet in packets]
        assert [box.kind for box in boxes.read(made)].count("emsg") == len(events)
    try:
        made, _ = mpegts.segment(track, mpegts.Continuity(), time, packets, events)
    except Unsupported as error:
        check_line(str(error))
    else:
        streams = Reader().read(made)
        sound = b"".join(pes.data for pes in streams[0x100])
        if track.codec == "aac":
            assert len(sound) == sum(7 + len(packet.data) for packet in packets)
        else:
            assert sound == b"".join(packet.data for packet in packets)
        assert [pes.data for pes in streams.get(0x101, [])] == [event.data for event in events]


@target
def segments(data: bytes) -> None:
    """Whatever framers pass on is put into containers whole, or refused with a sentence."""
    how, stream = split_off(data)
    form = FORMS[how % len(FORMS)]
    runs, _ = run_through(framer_of(form), pieces(how, mended(stream) if form == "ogg" else stream))
    subject, found, track = depacketizer(form), list[Packet](), None
    events = [Event(0, how, tag(one_line(text_of(stream[:how]))))] if how & 4 else []
    try:
        for run in runs:
            for each in subject.feed(run.data):
                if isinstance(each, Packet):
                    found.append(each)
                    continue
                if found and track is not None:
                    check_segments(track, found[:MOST_PACKETS], events)
                found, track = [], each
    except FramingError:
        pass
    if found and track is not None:
        check_segments(track, found[:MOST_PACKETS], events)


@target
def muxers(data: bytes) -> None:
    """Packets of any bytes and lengths are put into containers as they are."""
    how, data = split_off(data)
    sizes, content = data[: how + 1], data[how + 1 :]
    packets, at = [], 0
    for size in sizes:
        packets.append(Packet(content[at : at + size * 8 + 1] or b"\0", 1 + size * 256))
        at += size * 8 + 1
    if packets:
        for track in OWN:
            check_segments(track, packets, [Event(0, 1, content[:how])] if content[:how] else [])


@target
def playlist_texts(data: bytes) -> None:
    """Whatever titles and URLs say, playlists hold the tags they would without, and manifests are XML."""
    how, data = split_off(data)
    words = [*text_of(data).split("\n", 4), "", "", "", ""]
    clean = [one_line(each) for each in words[:4]]
    mark = TitleMark(how, 0, 1.0, 1e9 + how, clean[0], *clean)
    rows = [m3u8.Segment(f"0123456789abcdef-{number}.ts", 4.0, 1e9 + 4 * number) for number in range(3)]
    text = m3u8.write_media(
        m3u8.Media(4, 1, 0, rows, ranges=[m3u8.DateRange("1", "castd.title", mark.date, mark.attributes)])
    )
    assert text.count(b"\n") == 5 + 3 * 3 + 1
    read = hls.parse(text)
    hls.check(read)
    (shown,) = read.ranges
    assert shown.keys() == {"ID", "CLASS", "START-DATE", "END-ON-NEXT", *(f"X-{name}" for name in mark.attributes)}
    for name, value in mark.attributes.items():
        assert shown[f"X-{name}"] == m3u8.quoted(value)
    request = Request("GET", "/live", {}, {"host": words[4]}, "1.1", "192.0.2.1", "127.0.0.1:8000")
    base = public_url(Config(), request)
    segmenter = studio()[1]
    location = f"{base}/live/dash/manifest.mpd?session=x&y=<>"
    written = mpd.with_location(manifest_of(segmenter), location)
    root = ElementTree.fromstring(written)
    assert (root.findtext(f"{{{mpd.NAMESPACE}}}Location") or "").endswith("/live/dash/manifest.mpd?session=x&y=<>")


@cache
def studio() -> tuple[Mount, Segmenter]:
    """A mount that can be rewound, its segments, the last of them open."""
    made = Studio(window_seconds=16.0)
    made.mount.reconfigure(replace(made.mount.settings, rewind_seconds=60.0))
    segmenter = Segmenter(made.mount)
    made.mount.set_title("Artist - <Title>")
    made.play(30.3)
    catch_up(segmenter)
    made.disconnect()
    made.connect()
    made.play(30.3)
    catch_up(segmenter)
    return made.mount, segmenter


def asked(data: bytes) -> Request:
    """A request with a query."""
    query = parse_query(data.decode("latin-1"))
    return Request("GET", "/live", query, {}, "1.1", "192.0.2.1", "127.0.0.1:8000")


@target
def rewinds(data: bytes) -> None:
    """Only ClientError is raised; where somebody begins is an entry that is held."""
    mount, _ = studio()
    request = asked(data)
    try:
        entry = asked_entry(mount, request)
    except ClientError as error:
        check_status(error, 400, 404)
        check_line(error.reason, 4096)
        entry = None
    if entry is not None:
        assert mount.ring.tail <= entry.position <= mount.ring.head
        assert isfinite(entry.time)
    for name in ("start", "end"):
        try:
            found = entry_at(mount, request.argument(name) or "")
        except ClientError as error:
            check_status(error, 400, 404)
        else:
            assert mount.ring.tail <= found.position <= mount.ring.head


@target
def directives(data: bytes) -> None:
    """Only a 400 is raised; what is waited for is there, or comes next or soon."""
    _, segmenter = studio()
    try:
        number, part = _directives(asked(data))
        if number is None:
            return
        playlists.require_near(segmenter, number, part)
    except ClientError as error:
        check_status(error, 400)
        return
    assert 0 <= number <= segmenter.next_number + 1
    there = playlists.has(segmenter, number, part)
    assert there == (number < segmenter.next_number) or number >= segmenter.next_number - 1
    if part == 0 and there and number > segmenter.next_number - 1:
        assert segmenter.open is not None


@target
def segment_names(data: bytes) -> None:
    """Only 404 and 503 are raised, none but for what comes next is waited for, and what is given is what was made."""
    mount, segmenter = studio()
    name = data.decode("latin-1").replace("SESSION", segmenter.session)
    served: Any = SimpleNamespace(find=lambda path: mount)
    made: Any = SimpleNamespace(find=lambda mount: segmenter)
    counted: Any = SimpleNamespace(credit=lambda *told: None)
    outputs = Outputs(Current(Config()), served, made, counted, lambda name: None)  # type: ignore[arg-type, return-value]
    exchange: Any = SimpleNamespace(request=asked(b""))
    call: Any = SimpleNamespace(mount="/live", parameters={"file": name})

    async def fetch() -> bytes | None:
        try:
            return bytes((await outputs.file(exchange, call, "hls")).body)
        except ClientError as error:
            check_status(error, 404)
            return None

    found = trio.run(fetch, clock=MockClock(autojump_threshold=0))
    held = [each for each in segmenter.held if each.complete]
    known = {each.data for each in held} | {part.data for each in segmenter.held for part in each.parts}
    assert found is None or found in known | {each.period.init for each in held}

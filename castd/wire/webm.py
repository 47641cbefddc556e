"""WebM and Matroska (RFC 9559): headers kept, blocks never cut, decoders started at clusters.

A live stream is one Segment of any number of Clusters, each with a time that those of its blocks count from. What
precedes the first Cluster is what a decoder must have. It can begin with a Cluster whose first picture needs no other,
so a Cluster is ended, and one of the same time begun, before each such picture, or each half second without any.
Sizes of segments and clusters are made unknown: nobody hears all of a segment, and a source may break off in a cluster.
"""

from __future__ import annotations

import re
from itertools import islice

from castd.errors import FramingError
from castd.wire.ebml import UNKNOWN, Element, children, number, read_element, real
from castd.wire.framer import RUN_BYTES, Entry, Head, Headed, Run

EBML, SEGMENT, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
INFO, TRACKS, TIMESTAMP_SCALE = 0x1549A966, 0x1654AE6B, 0x2AD7B1
TRACK, TRACK_NUMBER, TRACK_TYPE, CODEC_ID, CODEC_PRIVATE, AUDIO = 0xAE, 0xD7, 0x83, 0x86, 0x63A2, 0xE1
SAMPLING_FREQUENCY, CHANNELS = 0xB5, 0x9F
TIMESTAMP, SIMPLE_BLOCK, BLOCK_GROUP, BLOCK, REFERENCE = 0xE7, 0xA3, 0xA0, 0xA1, 0xFB

SEGMENT_START, CLUSTER_START = (mark.to_bytes(4) + b"\x01" + b"\xff" * 7 for mark in (SEGMENT, CLUSTER))
"""Of unknown size (RFC 8794 §6.2)."""

VIDEO, SOUND = 1, 2
"""Track types."""

HEAD_BYTES = 1024 * 1024
"""Of what precedes the first cluster: cover art and fonts of subtitles may be in there."""

ELEMENT_BYTES = 4 * 1024 * 1024
"""Of one block: a picture of a stream of 30 Mbit/s."""

MARK = EBML.to_bytes(4)

TRACKS_CHILDREN, GROUP_CHILDREN = 512, 64
"""Elements looked at in one other: a few are of use, and a million fit into the bytes there may be."""

_MARKS = re.compile(b"|".join(re.escape(mark) for mark in (MARK, CLUSTER_START[:4])))

HOLE_SECONDS = 60.0
"""Time that may pass from one block to the next; anything else is a jump, and no time."""

ENTRY_EVERY_SECONDS = 0.5
"""Where there are no pictures."""

KEYFRAME = 0x80
"""Flag of a SimpleBlock (§10.2)."""

CODECS = {"A_VORBIS": "vorbis", "A_OPUS": "opus", "A_AAC": "aac", "A_FLAC": "flac", "A_MPEG/L3": "mp3"}


class WebmFramer(Headed):
    """Cuts a WebM or Matroska stream into runs of whole elements; a Framer."""

    tag_bytes = 0

    def __init__(self) -> None:
        self.skipped_bytes = 0
        self._data = bytearray()
        self._headers = bytearray()
        self._in_headers = False
        self._in_cluster = False
        self._lost = False  # what stands here is none of it, up to the next mark
        self._scale = 1e-3  # seconds of a tick
        self._video: int | None = None  # number of the track
        self._sound = ("unknown", 0, 0)  # codec, sample rate and channels
        self._opening = b""  # of the cluster: what decoders must have of it before a block
        self._opened = True  # that was passed on
        self._last_entry = -ENTRY_EVERY_SECONDS
        self._cluster_time = 0.0
        self._zero: float | None = None  # the first time ever
        self._end = 0.0
        self._done: list[Run] = []
        self._run = bytearray()
        self._run_start = 0.0
        self._entries: list[Entry] = []

    @property
    def unread(self) -> bytes:
        return bytes(self._data)

    def feed(self, data: bytes) -> list[Run]:
        self._data += data
        at = 0
        while (taken := self._step(at)) > 0:
            at += taken
        del self._data[:at]
        return self._take()

    def finish(self) -> list[Run]:
        return self._take()

    def _step(self, at: int) -> int:
        """Deal with what stands at a place of the data; how much of it that was, 0 if it is not whole yet."""
        data = self._data
        if self._lost and ((skipped := self._seek(at)) or self._lost):
            return skipped
        try:
            element = read_element(data, at)
        except ValueError:
            return self._resynchronise()
        if element is None:
            return 0
        size = element.start - at
        if element.id == EBML:
            self._begin_headers()
        elif self.head is None and not self._in_headers:
            return self._resynchronise()  # nobody could decode it
        if element.id == SEGMENT:
            if self._in_headers:
                self._add_header(SEGMENT_START)
            return size
        if element.id == CLUSTER:
            self._begin_cluster()
            return size
        if element.size == UNKNOWN or element.size > ELEMENT_BYTES:
            raise FramingError(f"an element of WebM of more than {ELEMENT_BYTES} bytes")
        if len(data) < element.start + element.size:
            return 0
        whole = bytes(data[at : element.start + element.size])
        if self._in_headers:
            self._take_header(element, whole)
        elif self._in_cluster:
            self._take_element(element, whole)
        else:
            self.skipped_bytes += len(whole)
        return len(whole)

    def _resynchronise(self) -> int:
        """Step over a byte that begins nothing, and go on at the next cluster or stream."""
        self._lost, self._in_cluster = True, False
        self.skipped_bytes += 1
        return 1

    def _seek(self, at: int) -> int:
        """How far the next mark is, or where one may begin while there is none."""
        found = _MARKS.search(self._data, at)
        self._lost = found is None
        skipped = (found.start() if found else max(at, len(self._data) - 3)) - at
        self.skipped_bytes += skipped
        return skipped

    def _begin_headers(self) -> None:
        self._close()
        self._headers.clear()
        self._in_headers, self._in_cluster = True, False
        self._video, self._sound, self._scale = None, ("unknown", 0, 0), 1e-3

    def _add_header(self, data: bytes) -> None:
        self._headers += data
        if len(self._headers) > HEAD_BYTES:
            raise FramingError(f"headers of WebM of more than {HEAD_BYTES} bytes")

    def _take_header(self, element: Element, whole: bytes) -> None:
        self._add_header(whole)
        if element.id == INFO:
            for identifier, value in islice(children(whole[len(whole) - element.size :]), TRACKS_CHILDREN):
                if identifier == TIMESTAMP_SCALE and number(value):
                    self._scale = number(value) / 1e9
        elif element.id == TRACKS:
            self._read_tracks(whole[len(whole) - element.size :])

    def _read_tracks(self, data: bytes) -> None:
        codec, sample_rate, channels = "unknown", 0, 0
        for identifier, track in islice(children(data), TRACKS_CHILDREN):
            if identifier != TRACK:
                continue
            values = dict(islice(children(track), TRACKS_CHILDREN))
            kind = number(values.get(TRACK_TYPE, b""))
            if kind == VIDEO and self._video is None:
                self._video = number(values.get(TRACK_NUMBER, b""))
            elif kind == SOUND and not sample_rate:
                sound = dict(islice(children(values.get(AUDIO, b"")), TRACKS_CHILDREN))
                name = values.get(CODEC_ID, b"").decode("ascii", "replace").rstrip("\0")
                codec = CODECS.get(name, "unknown")
                sample_rate = int(min(max(real(sound.get(SAMPLING_FREQUENCY, b"")), 0.0), 10e6) or 8000)
                channels = min(number(sound.get(CHANNELS, b"\x01")), 255)
        self._sound = (codec, sample_rate, channels)

    def _begin_cluster(self) -> None:
        if self._in_headers:
            self.head = Head(bytes(self._headers), *self._sound, b"")
            self._in_headers = False
            self._done.append(Run(self.head.data, self._end, self._end, (), self.head))
            self._zero = None
        self._in_cluster = True
        self._opening, self._opened = CLUSTER_START, False

    def _take_element(self, element: Element, whole: bytes) -> None:
        data = whole[len(whole) - element.size :]
        if element.id == TIMESTAMP:
            self._cluster_time = number(data) * self._scale
            self._opening = CLUSTER_START + whole
            return
        block = data if element.id == SIMPLE_BLOCK else b""
        if element.id == BLOCK_GROUP:
            block = _group(data).get(BLOCK, b"")
        if not block:
            return  # of no use in a live stream: where the cluster stands in a file, and the like
        self._advance(block)
        entry = self._starts_decoders(element, data, block)
        if entry or not self._opened:
            whole, self._opened = self._opening + whole, True
        if self._run and len(self._run) + len(whole) > RUN_BYTES:
            self._close()
        if entry:
            self._entries.append(Entry(len(self._run), self._end))
            self._last_entry = self._end
        self._run += whole

    def _starts_decoders(self, element: Element, data: bytes, block: bytes) -> bool:
        """Whether a decoder can begin with a block: a whole picture, or any sound where there is none."""
        track, length = block_track(block)
        if self._video is None:
            return not self._opened or self._end - self._last_entry >= ENTRY_EVERY_SECONDS
        if track != self._video:
            return False
        if element.id == SIMPLE_BLOCK:
            return len(block) > length + 2 and bool(block[length + 2] & KEYFRAME)
        return REFERENCE not in _group(data)

    def _advance(self, block: bytes) -> None:
        """Count the time of a block: track, two bytes of time relative to the cluster's, flags (§10.1)."""
        _, length = block_track(block)
        if length + 2 > len(block):
            return
        time = self._cluster_time + int.from_bytes(block[length : length + 2], signed=True) * self._scale
        if self._zero is None or not 0 <= time - self._zero <= self._end + HOLE_SECONDS:
            self._zero = time - self._end
        self._end = max(self._end, time - self._zero)

    def _close(self) -> None:
        if self._run:
            self._done.append(Run(bytes(self._run), self._run_start, self._end, tuple(self._entries)))
            self._run.clear()
            self._entries = []
        self._run_start = self._end

    def _take(self) -> list[Run]:
        self._close()
        done, self._done = self._done, []
        return done


def _group(data: bytes) -> dict[int, bytes]:
    """What is in a BlockGroup."""
    return dict(islice(children(data), GROUP_CHILDREN))


def block_track(block: bytes) -> tuple[int, int]:
    """The number of a block's track, and how many bytes it has."""
    length = 9 - block[0].bit_length()
    return int.from_bytes(block[:length]) & ((1 << 7 * length) - 1), length

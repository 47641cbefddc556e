"""Segments of an MPEG transport stream, ISO/IEC 13818-1, for HLS: MPEG audio and AAC, with titles as timed ID3.

Each segment begins with a PAT and a PMT (RFC 8216 §3.2). Sound is in PES packets of a few frames, each with its PTS,
and a PCR in the transport packet it begins with. Titles have a stream of their own, described as Apple's "Timed
Metadata for HTTP Live Streaming" has it (§2.3).

Continuity counters go on from segment to segment, so who makes one gives the next what comes back. The clock of 90 kHz
and 33 bits wraps every 26.5 hours.
"""

from __future__ import annotations

import struct
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from castd.wire.adts import write_header
from castd.wire.track import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from castd.wire.timed_id3 import Event
    from castd.wire.track import Packet, Track

CLOCK = 90_000
"""Ticks of PTS in a second."""

CLOCK_START = CLOCK
"""PTS of media time 0, so that the PCR before it is not negative."""

_CLOCK_MASK = (1 << 33) - 1
_PCR_LEAD = CLOCK // 10
"""How far the PCR is behind the PTS that follows it: the time decoders have to take the bytes in."""

_PES_SECONDS = 0.1
"""The most sound in a PES packet: a PCR is due as often (§2.7.2)."""

_PES_BYTES = 0xFFFF - 8
"""The most of it that the length field tells, behind the rest of the header."""

_PAYLOAD_BYTES = 184
_PAYLOAD_UNIT_START = 0x4000  # behind the sync byte
_PAYLOAD, _FIELD_AND_PAYLOAD = 0x10, 0x30  # adaptation_field_control, in the place of the fourth byte
_PIDS = _PAT_PID, _PMT_PID, _SOUND_PID, _TITLES_PID = 0, 0x1000, 0x100, 0x101
_PROGRAM = 1
_SOUND, _PRIVATE_STREAM_1 = 0xC0, 0xBD  # stream_id (§2.4.3.7)
_BEGINS_WITH_PCR = b"\x50"  # flags of an adaptation field: random_access_indicator, PCR_flag

_MPEG1_AUDIO, _MPEG2_AUDIO, _ADTS, _METADATA = 0x03, 0x04, 0x0F, 0x15  # stream_type (§2.4.4.10)
_LOWEST_MPEG1_RATE = 32_000

_ID3 = b"\xff\xffID3 \xffID3 \x00"
"""metadata_application_format and metadata_format, both "see the identifier behind", metadata_service_id."""

_POINTER = b"\x25\x0f" + _ID3 + b"\x1f" + _PROGRAM.to_bytes(2)
"""metadata_pointer_descriptor (§2.6.58): the metadata is in this program."""

_DESCRIPTOR = b"\x26\x0d" + _ID3 + b"\x0f"
"""metadata_descriptor (§2.6.60): without a decoder configuration."""


class Continuity(NamedTuple):
    """The continuity_counter of the next transport packet of each PID, in the order of _PIDS."""

    pat: int = 0
    pmt: int = 0
    sound: int = 0
    titles: int = 0


def segment(
    track: Track,
    continuity: Continuity,
    decode_time: int,
    packets: Sequence[Packet],
    events: Sequence[Event] = (),
) -> tuple[bytes, Continuity]:
    """One segment.

    Args:
        track: of the packets.
        continuity: what the segment before it gave; Continuity() for the first.
        decode_time: media time of the first packet, in samples of the track.
        packets: at least one.
        events: those of this segment, in order; each with less than 65,000 bytes.

    Returns:
        Its bytes, whole transport packets, and where the counters are.

    Raises:
        Unsupported: no browser knows this codec in a transport stream.
    """
    program = _program_map(_stream_type(track))
    out = _Multiplex(continuity)
    out.add(_PAT_PID, _association())
    out.add(_PMT_PID, program)
    waiting = deque(events)
    for time, samples, data in _groups(track, decode_time, packets):
        while waiting and waiting[0].time < time + samples:
            out.add_event(track, waiting.popleft())
        ticks = _ticks(track, time)
        out.add(_SOUND_PID, _pes(_SOUND, ticks, data), _pcr(ticks))
    for event in waiting:
        out.add_event(track, event)
    return b"".join(out.packets), out.continuity


class _Multiplex:
    """Transport packets (§2.4.3.2), as they come.

    Attributes:
        packets: so far.
    """

    def __init__(self, continuity: Continuity) -> None:
        self.packets: list[bytes] = []
        self._counters = dict(zip(_PIDS, continuity, strict=True))

    @property
    def continuity(self) -> Continuity:
        return Continuity(*self._counters.values())

    def add_event(self, track: Track, event: Event) -> None:
        self.add(_TITLES_PID, _pes(_PRIVATE_STREAM_1, _ticks(track, event.time), event.data))

    def add(self, pid: int, payload: bytes, field: bytes = b"") -> None:
        """Put a payload into packets of its own.

        Args:
            payload: a PES packet or a section, not empty.
            field: content of the adaptation field of the first.
        """
        counter, first, at = self._counters[pid], _PAYLOAD_UNIT_START, 0
        while at < len(payload):
            room = _PAYLOAD_BYTES - (1 + len(field) if field else 0)
            piece = payload[at : at + room]
            at += room
            adaptation = _adaptation(field, room - len(piece))
            control = _FIELD_AND_PAYLOAD if adaptation else _PAYLOAD
            self.packets += (struct.pack(">BHB", 0x47, first | pid, control | counter), adaptation, piece)
            counter, first, field = counter + 1 & 15, 0, b""
        self._counters[pid] = counter


def _adaptation(field: bytes, lacking: int) -> bytes:
    """An adaptation field (§2.4.3.4) with its length.

    Args:
        field: flags and what they announce; b"" if there is nothing to tell.
        lacking: bytes to be stuffed, without the length of a field that tells something.
    """
    if not field:
        if lacking < 2:
            return bytes(lacking)  # nothing, or a field without anything behind its length
        field, lacking = b"\0", lacking - 2
    return bytes((len(field) + lacking,)) + field + b"\xff" * lacking


def _stream_type(track: Track) -> int:
    if track.refused:
        raise Unsupported(track.refused)
    if track.codec == "aac":
        return _ADTS
    if track.codec in ("mp3", "mp2", "mp1"):
        return _MPEG1_AUDIO if track.sample_rate >= _LOWEST_MPEG1_RATE else _MPEG2_AUDIO
    raise Unsupported(f"no browser plays {track.codec} in MPEG-TS")


def _ticks(track: Track, time: int) -> int:
    return time * CLOCK // track.sample_rate + CLOCK_START & _CLOCK_MASK


def _groups(track: Track, time: int, packets: Sequence[Packet]) -> Iterator[tuple[int, int, bytes]]:
    """What goes into one PES packet each: media time, length in samples, frames."""
    most = int(_PES_SECONDS * track.sample_rate)
    frames: list[bytes] = []
    size = samples = 0
    for packet in packets:
        frame = write_header(track.config, len(packet.data)) + packet.data if track.codec == "aac" else packet.data
        if frames and (samples + packet.samples > most or size + len(frame) > _PES_BYTES):
            yield time, samples, b"".join(frames)
            time += samples
            frames, size, samples = [], 0, 0
        frames.append(frame)
        size += len(frame)
        samples += packet.samples
    yield time, samples, b"".join(frames)


def _pes(stream: int, ticks: int, data: bytes) -> bytes:
    """A PES packet with a PTS (§2.4.3.6), data_alignment_indicator set."""
    stamp = bytes(
        (
            0x21 | ticks >> 29 & 0x0E,
            ticks >> 22 & 0xFF,
            1 | ticks >> 14 & 0xFE,
            ticks >> 7 & 0xFF,
            1 | ticks << 1 & 0xFE,
        )
    )
    return struct.pack(">3sBH3B", b"\0\0\1", stream, len(data) + 8, 0x84, 0x80, len(stamp)) + stamp + data


def _pcr(ticks: int) -> bytes:
    """The content of an adaptation field (§2.4.3.4) with the PCR that precedes a PTS; its extension is 0."""
    base = ticks - _PCR_LEAD & _CLOCK_MASK
    return _BEGINS_WITH_PCR + (base << 15 | 0x7E00).to_bytes(6)


@cache
def _association() -> bytes:
    """The payload of a PAT (§2.4.4.3)."""
    return _section(0x00, 1, struct.pack(">2H", _PROGRAM, 0xE000 | _PMT_PID))


@cache
def _program_map(stream_type: int) -> bytes:
    """The payload of a PMT (§2.4.4.8)."""
    sound = struct.pack(">B2H", stream_type, 0xE000 | _SOUND_PID, 0xF000)
    titles = struct.pack(">B2H", _METADATA, 0xE000 | _TITLES_PID, 0xF000 | len(_DESCRIPTOR)) + _DESCRIPTOR
    start = struct.pack(">2H", 0xE000 | _SOUND_PID, 0xF000 | len(_POINTER)) + _POINTER
    return _section(0x02, _PROGRAM, start + sound + titles)


def _section(table: int, number: int, content: bytes) -> bytes:
    """A section as the only one of its table, in version 0, filled up to a transport packet."""
    size = 5 + len(content) + 4
    data = struct.pack(">BHHBBB", table, 0xB000 | size, number, 0xC1, 0, 0) + content
    return (b"\0" + data + _crc(data).to_bytes(4)).ljust(_PAYLOAD_BYTES, b"\xff")


def _crc(data: bytes) -> int:
    """CRC_32 (annex A): polynomial 0x04c11db7, begun with ones."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C1_1DB7 if crc & 0x8000_0000 else 0)) & 0xFFFF_FFFF
    return crc

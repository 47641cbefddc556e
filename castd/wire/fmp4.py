"""Fragmented MP4 for HLS, low-latency HLS and DASH: one track of sound, an init segment and fragments.

Boxes and their fields follow ISO/IEC 14496-12 (ISOBMFF); the sample entries, ISO/IEC 14496-14 for AAC, "Encapsulation
of Opus in ISO Base Media File Format" 0.8.1 and "Encapsulation of FLAC in ISO Base Media File Format" 1.0.0; what is
left out and what not, ISO/IEC 23000-19 (CMAF).

A fragment is a `moof` and an `mdat`, before them an `emsg` for each event. It serves as a whole segment and as a part
of one: a segment is its parts, one behind the other. There is no `styp`, which would stand in the middle of such a
segment, and which HLS and DASH do not ask for.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from castd.wire.track import Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from castd.wire.timed_id3 import Event
    from castd.wire.track import Packet, Track

ID3_SCHEME = "https://aomedia.org/emsg/ID3"
"""Of events whose data is an ID3v2 tag ("Carriage of ID3 Timed Metadata in the Common Media Application Format")."""

_TRACK_ID = 1
_UNKNOWN_DURATION = 0xFFFF_FFFF  # of an event
_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000)
_INDEPENDENT = 0x0200_0000  # sample_depends_on 2, sample_is_non_sync_sample 0 (§8.8.3.1)
_UNDETERMINED = 0x55C4  # the language "und", in five bits a letter (§8.4.2.3)
_LARGEST_RATE = 0xFFFF  # what the 16.16 field of a sample entry holds
_OPUS_PREROLL = 3840
"""Samples, 80 ms, that a decoder needs before its output is right (RFC 7845 §4.6)."""
_LOCAL_GROUP = 0x10001  # the first one described in the fragment itself (§8.9.4)


def init_segment(track: Track) -> bytes:
    """What a decoder needs before any fragment: `ftyp` and `moov`.

    Raises:
        Unsupported: MP4 does not carry this track; MPEG audio because no browser plays it there.
    """
    entry = _sample_entry(track)
    rate = track.sample_rate
    mvhd = _full_box(
        b"mvhd", 0, 0, struct.pack(">4IiH10x", 0, 0, rate, 0, 0x10000, 0x100), _MATRIX, bytes(24), _u32(_TRACK_ID + 1)
    )
    tkhd = _full_box(
        b"tkhd", 0, 7,  # enabled, in movie, in preview
        struct.pack(">5I8x4H", 0, 0, _TRACK_ID, 0, 0, 0, 0, 0x100, 0), _MATRIX, bytes(8),
    )  # fmt: skip
    mdhd = _full_box(b"mdhd", 0, 0, struct.pack(">4I2H", 0, 0, rate, 0, _UNDETERMINED, 0))
    hdlr = _full_box(b"hdlr", 0, 0, bytes(4), b"soun", bytes(12), b"sound\0")
    dinf = _box(b"dinf", _full_box(b"dref", 0, 0, _u32(1), _full_box(b"url ", 0, 1)))
    stbl = _box(
        b"stbl",
        _full_box(b"stsd", 0, 0, _u32(1), entry),
        *(_full_box(empty, 0, 0, _u32(0)) for empty in (b"stts", b"stsc")),
        _full_box(b"stsz", 0, 0, bytes(8)),
        _full_box(b"stco", 0, 0, _u32(0)),
    )
    minf = _box(b"minf", _full_box(b"smhd", 0, 0, bytes(4)), dinf, stbl)
    trak = _box(b"trak", tkhd, _edits(track), _box(b"mdia", mdhd, hdlr, minf))
    trex = _full_box(b"trex", 0, 0, struct.pack(">5I", _TRACK_ID, 1, 0, 0, _INDEPENDENT))
    ftyp = _box(b"ftyp", b"iso6", _u32(0), b"iso6", b"cmfc")
    return ftyp + _box(b"moov", mvhd, trak, _box(b"mvex", trex))


def fragment(
    track: Track, sequence_number: int, decode_time: int, packets: Sequence[Packet], events: Sequence[Event] = ()
) -> bytes:
    """Some packets.

    Args:
        track: theirs, that of the init segment.
        sequence_number: one more than that of the fragment before it, modulo 2^32.
        decode_time: media time of the first packet, in samples of the track, below 2^64.
        packets: at least one.
        events: those of this fragment, in any order; each an `emsg` of version 1 (§12.9), of no known duration.
    """
    first = packets[0].samples
    steady = all(packet.samples == first for packet in packets)
    if steady:
        tfhd = _full_box(b"tfhd", 0, 0x02_0008, struct.pack(">2I", _TRACK_ID, first))
        fields, table = 0x0201, struct.pack(f">{len(packets)}I", *[len(packet.data) for packet in packets])
    else:
        tfhd = _full_box(b"tfhd", 0, 0x02_0000, _u32(_TRACK_ID))
        fields = 0x0301
        table = b"".join(struct.pack(">2I", packet.samples, len(packet.data)) for packet in packets)
    tfdt = _full_box(b"tfdt", 1, 0, struct.pack(">Q", decode_time))
    groups = _preroll(packets) if track.codec == "opus" else b""
    mfhd = _full_box(b"mfhd", 0, 0, _u32(sequence_number & 0xFFFF_FFFF))
    # what stands between the start of the moof and the first byte in the mdat: six headers and the parts themselves
    data_offset = 8 + len(mfhd) + 8 + len(tfhd) + len(tfdt) + 20 + len(table) + len(groups) + 8
    trun = _full_box(b"trun", 0, fields, struct.pack(">Ii", len(packets), data_offset), table)
    moof = _box(b"moof", mfhd, _box(b"traf", tfhd, tfdt, trun, groups))
    mdat = _box(b"mdat", *[packet.data for packet in packets])
    return b"".join((*(_emsg(track, event) for event in events), moof, mdat))


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full_box(kind: bytes, version: int, flags: int, *content: bytes) -> bytes:
    return _box(kind, _u32(version << 24 | flags), *content)


def _u32(value: int) -> bytes:
    return value.to_bytes(4)


def _edits(track: Track) -> bytes:
    """An edit list (§8.6.6) that begins behind what a decoder throws away."""
    if not track.pre_skip:
        return b""
    # a duration of 0: of all that comes in fragments
    edit = struct.pack(">2Q2h", 0, track.pre_skip, 1, 0)
    return _box(b"edts", _full_box(b"elst", 1, 0, _u32(1), edit))


def _sample_entry(track: Track) -> bytes:
    """An AudioSampleEntry (§12.2.3) with what its codec adds."""
    if track.refused:
        raise Unsupported(track.refused)
    kind, content = {"aac": _aac, "opus": _opus, "flac": _flac}.get(track.codec, _not_in_mp4)(track)
    rate = track.sample_rate
    while rate > _LARGEST_RATE:  # FLAC in ISOBMFF, 3.3.1: the greatest regular division of it
        rate //= 2
    bits = ((track.config[12] & 1) << 4 | track.config[13] >> 4) + 1 if track.codec == "flac" else 16
    fields = struct.pack(">6xH8x2H4xI", 1, track.channels, bits, rate << 16)
    return _box(kind, fields, content)


def _not_in_mp4(track: Track) -> tuple[bytes, bytes]:
    raise Unsupported(f"no browser plays {track.codec} in MP4")


def _aac(track: Track) -> tuple[bytes, bytes]:
    """ISO/IEC 14496-14 §6.7.2, with the descriptors of ISO/IEC 14496-1 §7.2.6."""
    if not track.channels:
        raise Unsupported("this AAC stream tells its channels in its frames, not in their headers")
    specific = _descriptor(5, track.config)
    # objectTypeIndication: audio of ISO/IEC 14496-3; streamType 5: audio; size of the buffer and bitrates: unknown
    decoder = _descriptor(4, b"\x40\x15", bytes(11), specific)
    synchronisation = _descriptor(6, b"\x02")  # as it is in MP4 files
    return b"mp4a", _full_box(b"esds", 0, 0, _descriptor(3, bytes(3), decoder, synchronisation))


def _descriptor(tag: int, *content: bytes) -> bytes:
    body = b"".join(content)
    return bytes((tag, len(body))) + body  # far below 128 bytes, so its length takes one


def _opus(track: Track) -> tuple[bytes, bytes]:
    """The OpusHead of RFC 7845 §5.1, of version 0 and with the numbers' bytes the other way round (4.3.2)."""
    channels, pre_skip, rate, gain, family = struct.unpack_from("<BHIhB", track.config, 9)
    fields = struct.pack(">2BHIhB", 0, channels, pre_skip, rate, gain, family)
    return b"Opus", _box(b"dOps", fields, track.config[19:])


def _flac(track: Track) -> tuple[bytes, bytes]:
    """STREAMINFO as the last metadata block (3.3.2)."""
    return b"fLaC", _full_box(b"dfLa", 0, 0, b"\x80", len(track.config).to_bytes(3), track.config)


def _preroll(packets: Sequence[Packet]) -> bytes:
    """That decoders begin some packets earlier: a group "roll" (Opus in ISOBMFF, 4.3.6.2), described here since the
    length of packets, which decides how many, is not in the headers.
    """
    distance = -(-_OPUS_PREROLL // min(packet.samples for packet in packets))
    described = _full_box(b"sgpd", 1, 0, b"roll", struct.pack(">2Ih", 2, 1, -distance))
    return described + _full_box(b"sbgp", 0, 0, b"roll", struct.pack(">3I", 1, len(packets), _LOCAL_GROUP))


def _emsg(track: Track, event: Event) -> bytes:
    fields = struct.pack(">IQ2I", track.sample_rate, event.time, _UNKNOWN_DURATION, event.id)
    return _full_box(b"emsg", 1, 0, fields, ID3_SCHEME.encode(), b"\0\0", event.data)

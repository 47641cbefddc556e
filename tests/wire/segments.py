"""What tests of containers share: recordings as packets, and what ffmpeg makes of bytes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from castd.wire.packets import depacketizer
from castd.wire.sniff import framer_of
from castd.wire.track import Packet, Track

if TYPE_CHECKING:
    from castd.wire.framer import Run

FIXTURES = Path(__file__).parents[1] / "fixtures"


def form_of(name: str) -> str:
    """A recording's format, as the sniffer names it."""
    return {"aac": "aac", "mp3": "mpeg", "webm": "webm"}.get(name.rpartition(".")[2], "ogg")


def runs_of(*names: str) -> list[Run]:
    """Recordings of one format, one behind the other, as a framer passes them on."""
    framer = framer_of(form_of(names[0]))
    data = b"".join((FIXTURES / name).read_bytes() for name in names)
    return framer.feed(data) + framer.finish()


def frames_of(*names: str) -> bytes:
    """The same as they lie in a ring."""
    return b"".join(run.data for run in runs_of(*names))


def load(name: str) -> tuple[Track, list[Packet]]:
    """A recording of one track."""
    track, *packets = depacketizer(form_of(name)).feed(frames_of(name))
    assert isinstance(track, Track)
    return track, [packet for packet in packets if isinstance(packet, Packet)]


def high_efficiency(packets: Sequence[Packet]) -> list[Packet]:
    """AAC-LC made HE-AAC: SBR data of one channel, almost all of it zeros, in a fill_element (ISO/IEC 14496-3 §4.4.2.7)
    behind the sound, before the three ones of the ID_END that each raw_data_block ends with.
    """
    header = "1101" + "10" + "01011001" + "000" + "00" + "00"  # EXT_SBR_DATA; bs_start_freq 5, bs_stop_freq 9
    payload = "110" + f"{13:04b}" + header.ljust(13 * 8, "0")
    found = []
    for packet in packets:
        bits = f"{int.from_bytes(packet.data):0{8 * len(packet.data)}b}"
        end = bits.rindex("111")
        bits = bits[:end] + payload + "111"
        size = -(-len(bits) // 8)
        found.append(packet._replace(data=int(bits.ljust(8 * size, "0"), 2).to_bytes(size)))
    return found


def length(packets: Sequence[Packet]) -> int:
    """In samples."""
    return sum(packet.samples for packet in packets)


def parted(packets: Sequence[Packet], *sizes: int) -> Iterator[tuple[int, Sequence[Packet]]]:
    """Packets in groups of these sizes, over and over, each with the samples before it."""
    at = time = number = 0
    while at < len(packets):
        group = packets[at : at + sizes[number % len(sizes)]]
        yield time, group
        at, time, number = at + len(group), time + length(group), number + 1


def pcm(data: bytes, *options: str) -> bytes:
    """What ffmpeg decodes, without a complaint: 16 bits a sample, channels interleaved."""
    command = ["ffmpeg", "-nostdin", "-v", "error", *options, "-i", "pipe:0", "-map", "0:a", "-f", "s16le", "pipe:1"]
    result = subprocess.run(command, input=data, capture_output=True, check=True)
    assert result.stderr == b""
    return result.stdout


def probe(data: bytes, *options: str) -> str:
    """What ffprobe tells."""
    command = ["ffprobe", "-v", "error", *options, "-of", "csv=p=0", "pipe:0"]
    return subprocess.run(command, input=data, capture_output=True, check=True, text=False).stdout.decode()

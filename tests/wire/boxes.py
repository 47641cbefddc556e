"""A reader of MP4 boxes (ISO/IEC 14496-12 §4.2) that knows nothing of how castd writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

CONTAINERS = {"moov", "trak", "edts", "mdia", "minf", "dinf", "stbl", "mvex", "moof", "traf"}


@dataclass(frozen=True)
class Box:
    """One box.

    Attributes:
        kind: its type.
        start: where it begins in what was read.
        content: behind its size and type.
        children: of a box that holds only boxes.
    """

    kind: str
    start: int
    content: bytes
    children: list[Box] = field(default_factory=list)

    @property
    def version(self) -> int:
        return self.content[0]

    @property
    def flags(self) -> int:
        return int.from_bytes(self.content[1:4])

    def fields(self, form: str) -> tuple[int, ...]:
        """Big-endian fields behind version and flags; there must be no more than these."""
        return struct.unpack(">" + form, self.content[4:])

    def find(self, path: str) -> Box:
        """The only box there."""
        found = self
        for kind in path.split("/"):
            (found,) = [child for child in found.children if child.kind == kind]
        return found

    def tree(self) -> str:
        inside = " ".join(child.tree() for child in self.children)
        return f"{self.kind}({inside})" if inside else self.kind


def read(data: bytes, start: int = 0) -> Iterator[Box]:
    """The boxes that fill `data` to the last byte."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        assert 8 <= size <= len(data) - at, f"a box of {size} bytes at {start + at}"
        kind, content = data[at + 4 : at + 8].decode("latin-1"), data[at + 8 : at + size]
        yield Box(kind, start + at, content, list(read(content, start + at + 8)) if kind in CONTAINERS else [])
        at += size


def whole(data: bytes) -> Box:
    """All of it, as the children of a box."""
    return Box("", 0, data, list(read(data)))


@dataclass(frozen=True)
class Fragment:
    """A moof with its mdat.

    Attributes:
        sequence_number: as written.
        decode_time: in ticks.
        samples: data and duration of each.
    """

    sequence_number: int
    decode_time: int
    samples: list[tuple[bytes, int]]


def fragments(data: bytes) -> list[Fragment]:
    """All fragments in a segment, of one run of samples each; the samples are taken from where the run says."""
    found = []
    for box in read(data):
        if box.kind != "moof":
            continue
        (sequence_number,) = box.find("mfhd").fields("I")
        header, run = box.find("traf/tfhd"), box.find("traf/trun")
        assert header.flags & ~0x8 == 0x02_0000, "data offsets count from the moof"
        assert header.fields("II" if header.flags & 8 else "I")[0] == 1
        (decode_time,) = box.find("traf/tfdt").fields("Q")
        durations = run.flags & 0x100
        assert bool(durations) != bool(header.flags & 8)
        assert run.flags & ~0x100 == 0x201
        count, at = struct.unpack_from(">Ii", run.content, 4)
        table = struct.unpack(f">{count * (2 if durations else 1)}I", run.content[12:])
        at += box.start
        samples = []
        for number in range(count):
            duration, size = table[2 * number :][:2] if durations else (header.fields("II")[1], table[number])
            samples.append((data[at : at + size], duration))
            at += size
        found.append(Fragment(sequence_number, decode_time, samples))
    return found

"""A reader of transport streams (ISO/IEC 13818-1) that knows nothing of how castd writes them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

STUFFING = 0xFF


@dataclass
class Pes:
    """A PES packet.

    Attributes:
        stream: its stream_id.
        pts: as written.
        pcr: in the transport packet it begins with, in 1/27,000,000 s; None if there is none.
        data: behind the header.
    """

    stream: int
    pts: int
    pcr: int | None
    data: bytes


@dataclass
class Reader:
    """Reads segment after segment of one stream, whose continuity counters go on.

    Attributes:
        order: the PID of each PES packet or section, as they began.
        programs: PID of the PMT, by program number, as the last PAT says.
        descriptors: of the program, as the last PMT says.
        streams: stream_type and descriptors by PID, likewise.
        clock: PID of the PCR.
        counters: the last continuity_counter of each PID.
    """

    order: list[int] = field(default_factory=list)
    programs: dict[int, int] = field(default_factory=dict)
    descriptors: bytes = b""
    streams: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    clock: int = 0
    counters: dict[int, int] = field(default_factory=dict)

    def read(self, data: bytes) -> dict[int, list[Pes]]:
        """The PES packets of a segment, by PID; all begin and end there."""
        assert data
        assert len(data) % 188 == 0
        self.order = []
        payloads: dict[int, list[tuple[bytes, int | None]]] = {}
        for at in range(0, len(data), 188):
            self._transport(data[at : at + 188], payloads)
        self._only_section(0, payloads.pop(0))
        for pid in self.programs.values():
            self._only_section(pid, payloads.pop(pid))
        assert set(payloads) <= set(self.streams)
        return {pid: [pes(*payload) for payload in found] for pid, found in payloads.items()}

    def _transport(self, packet: bytes, payloads: dict[int, list[tuple[bytes, int | None]]]) -> None:
        assert packet[0] == 0x47
        starts, pid, counter = packet[1] & 0x40, int.from_bytes(packet[1:3]) & 0x1FFF, packet[3] & 15
        assert packet[1] & 0xA0 == 0
        assert packet[3] & 0xD0 == 0x10, "not scrambled, with a payload"
        assert self.counters.get(pid, (counter - 1) % 16) == (counter - 1) % 16
        self.counters[pid] = counter
        payload, pcr = packet[4:], None
        if packet[3] & 0x20:
            size = packet[4]
            content, payload = packet[5 : 5 + size], packet[5 + size :]
            assert len(content) == size <= 182
            if content:
                flags, rest = content[0], content[1:]
                if flags & 0x10:
                    clock, rest = int.from_bytes(rest[:6]), rest[6:]
                    assert clock >> 9 & 0x3F == 0x3F
                    pcr = (clock >> 15) * 300 + (clock & 0x1FF)
                assert flags & 0x0F == 0
                assert rest == bytes((STUFFING,)) * len(rest)
        assert payload
        if starts:
            self.order.append(pid)
            payloads.setdefault(pid, []).append((payload, pcr))
        else:
            begun, begun_pcr = payloads[pid][-1]
            assert pcr is None
            payloads[pid][-1] = begun + payload, begun_pcr

    def _only_section(self, pid: int, payloads: list[tuple[bytes, int | None]]) -> None:
        ((payload, pcr),) = payloads
        assert pcr is None
        self._section(pid, payload)

    def _section(self, pid: int, payload: bytes) -> None:
        size = int.from_bytes(payload[2:4]) & 0xFFF
        section, rest = payload[1 : 4 + size], payload[4 + size :]
        assert payload[0] == 0
        assert rest == bytes((STUFFING,)) * len(rest)
        assert reflected_crc(section) == 0
        assert section[1] & 0xF0 == 0xB0
        assert section[5:8] == b"\xc1\0\0"
        content = section[8:-4]
        if pid == 0:
            assert section[0] == 0
            pairs = [content[at : at + 4] for at in range(0, len(content), 4)]
            self.programs = {int.from_bytes(each[:2]): int.from_bytes(each[2:]) & 0x1FFF for each in pairs}
            return
        assert section[0] == 2
        assert self.programs[int.from_bytes(section[3:5])] == pid
        self.clock = int.from_bytes(content[:2]) & 0x1FFF
        at = 4 + (int.from_bytes(content[2:4]) & 0xFFF)
        self.descriptors, self.streams = content[4:at], {}
        while at < len(content):
            end = at + 5 + (int.from_bytes(content[at + 3 : at + 5]) & 0xFFF)
            self.streams[int.from_bytes(content[at + 1 : at + 3]) & 0x1FFF] = content[at], content[at + 5 : end]
            at = end
        assert at == len(content)


def pes(data: bytes, pcr: int | None) -> Pes:
    assert data[:3] == b"\0\0\1"
    assert int.from_bytes(data[4:6]) == len(data) - 6
    assert data[6:9] == b"\x84\x80\x05"
    one, two, three = data[9], int.from_bytes(data[10:12]), int.from_bytes(data[12:14])
    assert (one & 0xF1, two & 1, three & 1) == (0x21, 1, 1), "marker bits"
    return Pes(data[3], (one >> 1 & 7) << 30 | two >> 1 << 15 | three >> 1, pcr, data[14:])


def reflected_crc(data: bytes) -> int:
    """The CRC of annex A, by zlib: each byte, and the result, mirrored. Of data with its CRC it is 0."""
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
    return int(f"{zlib.crc32(mirrored) ^ 0xFFFFFFFF:032b}"[::-1], 2)

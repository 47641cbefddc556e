"""Tags that encoders playing files send between frames: ID3v1, ID3v2, APEv2. They are measured, not read."""

from __future__ import annotations

import operator

MAX_TAG_BYTES = 16 << 20
"""The largest tag believed: an ID3v2 frame is at most that in practice, and the largest hold an embedded picture."""


def tag_bytes(data: bytes | bytearray, at: int, damaged: int = 0) -> int:
    """The size of the tag that begins here, 0 if none does; its content is not looked at.

    Known are ID3v1 (the last 128 bytes of a file), ID3v2 (id3.org, ID3v2.4.0 structure §3.1, §3.4) and APEv2 with its
    header (Hydrogenaudio, APE Tags Header). Encoders that play files send them between frames.

    Args:
        damaged: bytes of the tag's name that may be wrong.
    """
    head = data[at : at + 16]
    if _differences(head, b"TAG") <= damaged and data[max(0, at - 3) : at] != b"APE":
        return 128
    if _differences(head, b"ID3") <= damaged and len(head) >= 10:
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        # A size with a high bit set is damaged: then only the header is sure.
        sure = 20 if head[5] & 0x10 else 10  # with or without footer
        return sure + (size if size <= MAX_TAG_BYTES and max(head[6:10]) < 0x80 else 0)
    if _differences(head, b"APETAGEX") <= damaged and len(head) == 16:
        size = int.from_bytes(head[12:16], "little")
        return 32 + (size if size <= MAX_TAG_BYTES else 0)
    return 0


def _differences(head: bytes | bytearray, name: bytes) -> int:
    return sum(map(operator.ne, head, name)) if len(head) >= len(name) else len(name)

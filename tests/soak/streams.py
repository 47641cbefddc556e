"""What encoders send: frames and pages, 2 kB/s, that say which session sent them and count; and the record of it."""

from __future__ import annotations

import re
import struct
from collections import deque
from typing import Protocol

from castd.wire.ogg_pages import BOS, EOS, Page

KEPT_BYTES = 1024 * 1024
"""Of a session, on record: some eight minutes, where castd keeps one."""

KEPT_SESSIONS = 200
"""That are over, on record; nobody hears one any more that was over before them."""

FORGET_BYTES = 256 * 1024
"""A record is cut when it is so much longer."""


class Form(Protocol):
    """A codec, as far as counting goes: whatever a session sends is `start`, then frames that all have `size` bytes.

    Attributes:
        name: also the ending of mounts' names.
        content_type: as encoders declare it.
        seconds: of audio in a frame.
        size: bytes of a frame.
        start_size: bytes before the first one.
    """

    name: str
    content_type: str
    seconds: float
    size: int
    start_size: int

    def start(self, session: int) -> bytes:
        """What precedes the frames of a session."""
        ...

    def frame(self, session: int, number: int) -> bytes: ...

    def ending(self, session: int, number: int) -> bytes:
        """What castd may put behind the last frame of a session, before frame `number`, to say that it was the last."""
        ...

    def place(self, data: bytes) -> tuple[int, int] | None:
        """Which session's bytes these are, and where in it they begin, if they begin where a frame or a session does.

        Args:
            data: at least IDENTIFYING_BYTES.
        """
        ...


IDENTIFYING_BYTES = 64
"""What it takes to know a frame: each is longer."""


class Mp3:
    """MPEG-2 layer III, 16 kbit/s at 16 kHz, mono, no CRC (ISO/IEC 13818-3 §2.4.2.3)."""

    name = "mp3"
    content_type = "audio/mpeg"
    seconds = 576 / 16_000
    size = 72
    start_size = 0
    header = b"\xff\xf3\x28\xc4"

    def start(self, session: int) -> bytes:
        return b""

    def frame(self, session: int, number: int) -> bytes:
        return (self.header + b"<%06d:%08d>" % (session, number)).ljust(self.size, b".")

    def ending(self, session: int, number: int) -> bytes:
        return b""

    def place(self, data: bytes) -> tuple[int, int] | None:
        match = _NUMBERED.match(data, len(self.header))
        if match is None or not data.startswith(self.header):
            return None
        return int(match[1]), int(match[2]) * self.size


class Aac(Mp3):
    """AAC-LC in ADTS, 16 kHz, mono, 16 kbit/s, no CRC (ISO/IEC 14496-3 §1.A.3.2)."""

    name = "aac"
    content_type = "audio/aac"
    seconds = 1024 / 16_000
    size = 128
    header = bytes((0xFF, 0xF1, 0x60, 0x40 | 128 >> 11, 128 >> 3, (128 & 7) << 5 | 0x1F, 0xFC))


class Opus:
    """Ogg Opus: packets of 60 ms (SILK, wideband, mono: RFC 6716 §3.1), each on a page of its own."""

    name = "opus"
    content_type = "audio/ogg"
    seconds = 0.06
    body = 112
    size = 28 + body
    start_size = 28 + 19 + 28 + 16

    def start(self, session: int) -> bytes:
        about = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, 16_000, 0, 0)
        head = Page(BOS, 0, session, 0, bytes((len(about),)), about)
        tags = Page(0, 0, session, 1, bytes((16,)), b"OpusTags" + bytes(8))
        return head.write() + tags.write()

    def frame(self, session: int, number: int) -> bytes:
        packet = (b"\x58<%06d:%08d>" % (session, number)).ljust(self.body, b".")
        return Page(0, 2880 * (number + 1), session, number + 2, bytes((self.body,)), packet).write()

    def ending(self, session: int, number: int) -> bytes:
        return Page(EOS, 2880 * number, session, number + 2, b"", b"").write()

    def place(self, data: bytes) -> tuple[int, int] | None:
        if not data.startswith(b"OggS"):
            return None
        session, sequence = struct.unpack_from("<II", data, 14)
        if sequence < 2:
            return (session, 0) if sequence == 0 else None
        return session, self.start_size + (sequence - 2) * self.size


_NUMBERED = re.compile(rb"<(\d{6}):(\d{8})>")


class Tape:
    """The record of one session: what it sent, the last part of it byte for byte.

    Attributes:
        session: its number.
        mount: it went to.
        end: bytes sent so far.
        whole: the session ended in order, all it sent was taken, and nobody went before it: its listeners have to hear
            its last frame.
    """

    def __init__(self, session: int, mount: str, form: Form) -> None:
        self.session = session
        self.mount = mount
        self.form = form
        self.whole = False
        self._kept = bytearray()
        self._base = 0

    @property
    def end(self) -> int:
        return self._base + len(self._kept)

    def add(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > KEPT_BYTES + FORGET_BYTES:
            del self._kept[:FORGET_BYTES]
            self._base += FORGET_BYTES

    def forget(self) -> None:
        """Keep nothing of it but how long it was."""
        self._base = self.end
        self._kept.clear()

    def read(self, at: int, count: int) -> bytes:
        """What was sent from `at` on, at most `count` bytes.

        Raises:
            LookupError: that is not on record any more.
        """
        if at < self._base:
            raise LookupError(f"byte {at} of session {self.session}, kept from {self._base} on")
        return bytes(self._kept[at - self._base : at - self._base + count])

    def boundary(self, at: int) -> int:
        """Where the frame begins that has byte `at`; for the bytes before the first one, 0."""
        begin = self.form.start_size
        return begin + (at - begin) // self.form.size * self.form.size if at >= begin else 0

    def number(self, at: int) -> int:
        """Of the frame that begins at a boundary; -1 for what precedes the first."""
        return (at - self.form.start_size) // self.form.size if at >= self.form.start_size else -1


class Tapes:
    """Of all sessions that anybody may still hear."""

    def __init__(self) -> None:
        self._tapes: dict[int, Tape] = {}
        self._over: deque[Tape] = deque()
        self._sessions = 0

    def new(self, mount: str, form: Form) -> Tape:
        self._sessions += 1
        tape = self._tapes[self._sessions] = Tape(self._sessions, mount, form)
        return tape

    def over(self, tape: Tape) -> None:
        """Its session has ended."""
        self._over.append(tape)
        if len(self._over) > KEPT_SESSIONS:
            self._over.popleft().forget()

    def get(self, session: int) -> Tape | None:
        return self._tapes.get(session)

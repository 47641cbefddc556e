"""What one listener hears, compared byte for byte with what was sent.

A healthy listener hears each session's frames one after the other, none missing, none twice. Where it goes from one
session to another, all healthy listeners of the mount go from the same frame to the same one: so nobody has lost any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.streams import IDENTIFYING_BYTES

if TYPE_CHECKING:
    from tests.soak.streams import Form, Tape, Tapes

End = tuple[int, int]
"""A session, and the number of a frame of it."""


class Wrong(Exception):
    """A listener did not hear what it should have."""


class Splices:
    """Where a mount's listeners went from one session to the next."""

    def __init__(self) -> None:
        self._after: dict[End, End] = {}
        self._before: dict[End, End] = {}

    def __len__(self) -> int:
        return len(self._after)

    def check(self, left: End, begun: End) -> None:
        """A healthy listener went from one frame to the other.

        Raises:
            Wrong: others did not.
        """
        if (other := self._after.setdefault(left, begun)) != begun:
            raise Wrong(f"after {left} came {begun}, others heard {other}")
        if (other := self._before.setdefault(begun, left)) != left:
            raise Wrong(f"before {begun} was {left}, others heard {other}")

    def last_frames(self) -> dict[int, int]:
        """Of each session that others came after, for good: its last frame that was heard."""
        last: dict[int, int] = {}
        for session, number in sorted(self._after):
            last[session] = number
        for session, number in self._before:
            if number > last.get(session, number):  # it came back, and nobody has come after it since
                del last[session]
        return last


class Hearing:
    """Follows what one listener hears.

    Args:
        form: of the mount.
        tapes: what was sent.
        mounts: whose sessions it may hear.
        splices: of its mount.
        healthy: it reads all the time; others may be moved forward.

    Attributes:
        heard: bytes that were right.
        jumps: times it was moved forward.
    """

    __slots__ = ("_announced", "_at", "_form", "_healthy", "_left", "_mounts", "_reached", "_rest", "_splices", "_tape",
                 "_tapes", "heard", "jumps")  # fmt: skip

    def __init__(self, form: Form, tapes: Tapes, mounts: frozenset[str], splices: Splices, *, healthy: bool) -> None:
        self._form = form
        self._tapes = tapes
        self._mounts = mounts
        self._splices = splices
        self._healthy = healthy
        self._tape: Tape | None = None
        self._at = 0  # in it
        self._left: tuple[Tape, int] | None = None  # where the tape before it was left
        self._announced = 0  # the session whose headers were heard, and nothing of it yet
        self._reached: dict[int, int] = {}  # where sessions were left
        self._rest = b""  # too short to tell what it is
        self.heard = 0
        self.jumps = 0

    def feed(self, data: bytes) -> None:
        """Hear the next bytes.

        Raises:
            Wrong: they are not what should have come.
        """
        data, self._rest = self._rest + data, b""
        while data:
            tape = self._tape
            if tape is None:
                if len(data) < max(IDENTIFYING_BYTES, self._form.start_size):
                    self._rest = data
                    return
                data = self._find(data)
                continue
            expected = tape.read(self._at, len(data))
            if data == expected:
                self._at += len(data)
                self.heard += len(data)
                return
            same = next((at for at, (one, other) in enumerate(zip(data, expected, strict=False)) if one != other), None)
            same = len(expected) if same is None else same
            here = tape.boundary(self._at + same)
            self.heard += here - self._at
            data = tape.read(here, self._at - here) + data if here < self._at else data[here - self._at :]
            self._left, self._tape = (tape, here), None

    def finish(self) -> None:
        """castd ended the connection: all must have been heard of a session that ended in order.

        Raises:
            Wrong: something is missing.
        """
        tape, at = (self._tape, self._at) if self._tape else (self._left or (None, 0))
        if self._healthy and tape and tape.whole and at != tape.end:
            raise Wrong(f"ended {tape.end - at} bytes before the end of session {tape.session}")

    def _find(self, data: bytes) -> bytes:
        """Where are we? The data from there on."""
        if self._left is not None and not self._announced:
            ending = self._form.ending(self._left[0].session, self._left[0].number(self._left[1]))
            if ending and data.startswith(ending):
                return data[len(ending) :]
        place = self._form.place(data)
        if place is None:
            raise Wrong(f"broken, after {self._told(self._left)}: {data[:80]!r}")
        session, at = place
        tape = self._tapes.get(session)
        if tape is None or tape.mount not in self._mounts:
            raise Wrong(f"foreign, after {self._told(self._left)}: {data[:80]!r}")
        if at < self._form.start_size:
            start = self._form.start(session)
            if not data.startswith(start):
                raise Wrong(f"broken headers of session {session}: {data[: len(start)]!r}")
            self._announced = session
            return data[len(start) :]
        self._check(tape, at)
        self._tape, self._at, self._announced = tape, at, 0
        return data

    def _check(self, tape: Tape, at: int) -> None:
        if self._form.start_size and (not self._left or self._left[0] is not tape) and self._announced != tape.session:
            raise Wrong(f"no headers before session {tape.session}")
        if self._left is None:
            return
        left, end = self._left
        told = f"session {tape.session}: frame {tape.number(at)} after {self._told(self._left)}"
        if left is tape:
            if at <= end:
                raise Wrong(f"repeated or broken, {told}")
            if self._healthy:
                raise Wrong(f"missing, {told}")
            self.jumps += 1
            return
        self._reached[left.session] = end
        if at < self._reached.get(tape.session, 0):
            raise Wrong(f"repeated, {told}")
        if self._healthy:
            self._splices.check((left.session, left.number(end) - 1), (tape.session, tape.number(at)))

    @staticmethod
    def _told(left: tuple[Tape, int] | None) -> str:
        return f"frame {left[0].number(left[1]) - 1} of session {left[0].session}" if left else "the beginning"


class Blocks:
    """Takes the ICY blocks out of a stream.

    Args:
        metaint: bytes of audio between two.

    Attributes:
        titles: blocks that told something.
    """

    __slots__ = ("_block", "_metaint", "_until", "titles")

    def __init__(self, metaint: int) -> None:
        self._metaint = metaint
        self._until = metaint
        self._block = b""
        self.titles = 0

    def strip(self, data: bytes) -> bytes:
        """The audio in it.

        Raises:
            Wrong: a block is none.
        """
        audio = []
        while data:
            if self._until:
                audio.append(data[: self._until])
                data, self._until = data[self._until :], self._until - len(audio[-1])
                continue
            self._block += data
            size = 1 + 16 * self._block[0]
            if len(self._block) < size:
                break
            block, data = self._block[1:size], self._block[size:]
            if block and not block.startswith((b"StreamTitle='soak ", b"StreamTitle='';")):
                raise Wrong(f"no title: {block!r}")
            self.titles += bool(block)
            self._block, self._until = b"", self._metaint
        return b"".join(audio)

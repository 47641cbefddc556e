"""A segmenter's place in the ring, which it reads as any reader does, by position: where a stream begins, where it
breaks off, and what makes packets of the bytes between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd.wire.packets import depacketizer

if TYPE_CHECKING:
    from castd.mount.mount import Mount
    from castd.mount.timeline import EntryMark
    from castd.segments.lengths import Lengths
    from castd.wire.packets import Depacketizer, Packet, Track

STEP_BYTES = 128 * 1024
"""Read at one go, about: some 3 ms of work."""

GOES_ON_SECONDS = 2.0
"""Before the place where a new depacketizer goes on, it reads so much again: no packet lies on more pages."""


class Reading:
    """See the module.

    Attributes:
        position: up to which all is read; None before the beginning.
        end: position of the end of what is being read.
        splices_from: position of the first splice not dealt with.
        depacketizer: of what comes; None where nobody knows yet what that is.
        goes_on: another process has read up to here.
    """

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self.position: int | None = None
        self.end = 0
        self.splices_from = 0
        self.depacketizer: Depacketizer | None = None
        self.goes_on = False
        self._begun_at = 0

    @property
    def here(self) -> int:
        """The position, of one that has begun."""
        assert self.position is not None
        return self.position

    @property
    def filled(self) -> float:
        """The share that is read of what it began with."""
        if self.position is None:
            return 0.0
        return (self.position - self._begun_at) / max(1, self._mount.ring.head - self._begun_at)

    @property
    def time(self) -> float:
        """Of the next packet, as the mount's timeline has it."""
        here = self._entry_here()
        return here.time if here is not None else self._mount.timeline.time_at(self.here)

    def begin(self, entry: EntryMark) -> None:
        """Read from an entry on."""
        self.position = self._begun_at = entry.position
        self.splices_from = entry.position + 1

    def break_off(self) -> None:
        """What comes is no continuation of what was."""
        self.depacketizer = None
        self.goes_on = False

    def skip_lost(self) -> bool:
        """Pass over what can be read no more, or is not like what follows.

        Returns:
            Whether there was any.
        """
        mount = self._mount
        oldest = max(mount.ring.tail, mount.alike_from if self.depacketizer is None else 0)
        if self.here >= oldest:
            return False
        self.break_off()
        entry = mount.timeline.next_entry(oldest)
        self.position = self.splices_from = entry.position if entry else mount.ring.head
        return True

    def pass_splice(self) -> bool:
        """Whether another source begins here, which was not told before."""
        splice = self._mount.timeline.next_splice(self.splices_from)
        if splice is None or splice.position > self.here:
            return False
        self.break_off()
        self.splices_from = splice.position + 1
        return True

    def differs(self, time: float, seconds: float) -> bool:
        """Whether the timeline knows the time of what comes, and that differs by so much from another one."""
        here = self._entry_here()
        return here is not None and abs(here.time - time) >= seconds

    def open(self, track: Track | None) -> bool:
        """Have a depacketizer for what comes.

        Args:
            track: of what was read last.

        Returns:
            Whether what comes goes on where another process has read to, in that track.

        Raises:
            Unsupported, FramingError: there can be none; or it has not understood what was before.
        """
        mount, position = self._mount, self.here
        first = self._read_again_from(position) if self.goes_on else position
        self.depacketizer = depacketizer(mount.format)
        head = mount.timeline.head_at(first)
        if head is not None:
            self.depacketizer.feed(head.data)
        self.depacketizer.feed(mount.ring.read(first, position))
        if self.goes_on and track is not None and self.depacketizer.track == track:
            self.goes_on = False
            return True
        return False

    def read(self) -> list[Track | Packet]:
        """What comes, up to the next splice and about STEP_BYTES; there must be some.

        Raises:
            Unsupported, FramingError: it is not what it was taken for.
        """
        ring, timeline, position = self._mount.ring, self._mount.timeline, self.here
        splice = timeline.next_splice(self.splices_from)
        self.end = splice.position if splice else ring.head
        if self.end - position > STEP_BYTES and (entry := timeline.next_entry(position + STEP_BYTES)) is not None:
            self.end = min(entry.position, self.end)  # whole frames or pages
        assert self.depacketizer is not None
        return self.depacketizer.feed(ring.read(position, self.end))

    def go_on(self) -> bool:
        """Have done with what was read, or could not be.

        Returns:
            Whether there is more.
        """
        self.position = self.end
        return self.end < self._mount.ring.head

    def _entry_here(self) -> EntryMark | None:
        entry = self._mount.timeline.next_entry(self.here)
        return entry if entry is not None and entry.position == self.here else None

    def _read_again_from(self, position: int) -> int:
        """An entry before a position, behind which everything was read before."""
        timeline = self._mount.timeline
        entry = timeline.position_at(timeline.time_at(position) - GOES_ON_SECONDS)
        begun = timeline.last_splice(position)
        return min(position, max(entry, begun.position if begun else 0, self._mount.ring.tail))


def first_entry(mount: Mount, lengths: Lengths, back_seconds: float, *, united: bool) -> EntryMark | None:
    """Where to begin, so that there is a whole playlist, if the ring reaches so far.

    Args:
        back_seconds: of audio to begin with, where that is more; 0 where not.
        united: periods are counted in unison.
    """
    timeline = mount.timeline
    entry = timeline.join(lengths.first)
    if back_seconds and (oldest := timeline.oldest) is not None:
        # what is oldest goes while it is read
        begin = max(timeline.end - back_seconds - lengths.segment, oldest.time + lengths.segment)
        after, newest = mount.alike_from, timeline.last_splice(mount.ring.head)
        if united and newest is not None:
            after = max(after, newest.position)  # nobody can be asked any more to begin a period in the past
        far = timeline.rewound(begin, after)
        entry = far if entry is None or (far is not None and far.position < entry.position) else entry
    return entry


def lies_within(mount: Mount, lengths: Lengths, entry: EntryMark) -> bool:
    """Whether an entry is likely in the middle of a segment, and there are whole ones behind it."""
    splice = mount.timeline.last_splice(entry.position)
    begins = splice is not None and splice.position == entry.position
    return not begins and mount.timeline.end - entry.time > 2 * lengths.segment

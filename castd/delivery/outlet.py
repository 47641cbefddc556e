"""All listeners of one mount, sorted by what they need: the ready are walked by the pump, the blocked are left alone.

A blocked listener costs nothing until its socket is writable again, or until it falls so far behind that something must
be done while its bytes are still in the ring: it jumps forward to an entry, or is dropped. Those who went back
(castd.delivery.pace) stand apart, since they are meant to be behind.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from castd.delivery.pace import EDGE_SECONDS
from castd.mount.party import Goodbye

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.delivery.listener import Listener
    from castd.mount.mount import Mount

log = logging.getLogger(__name__)

PENDING_BYTES = 1024 * 1024 + 256 * 1024
"""Most bytes copied for one listener: an Ogg stream's headers (castd.wire.ogg bounds them to 1 MiB) and a second or so
of the frames it had begun."""


GRACE_SECONDS = 10.0
"""For a listener whose time is over to take the rest of what it has begun."""


class Outlet:
    """The listeners of one mount.

    Attributes:
        ready: those who had everything when last walked.
        rewound: those who went back, ready or blocked.
        limited: those with a limit of time of their own.
        due: monotonic time before which the pump does not walk them.
        latest: monotonic time at which it does, if there is anything new.
        floor: no ready listener stands before this position.
    """

    def __init__(
        self,
        mount: Mount,
        *,
        on_news: Callable[[Outlet], None],
        on_blocked: Callable[[Listener], None],
        on_leave: Callable[[Listener], None],
        on_close: Callable[[Outlet], None],
    ) -> None:
        self.mount = mount
        self.ready: set[Listener] = set()
        self.rewound: set[Listener] = set()
        self.limited: set[Listener] = set()
        self.due = self.latest = 0.0
        self.floor = mount.ring.head
        self._on_news = on_news
        self._on_blocked = on_blocked
        self._on_leave = on_leave
        self._on_close = on_close
        # a heap by position as it was when queued; a number that is not the listener's any more has no meaning
        self._blocked: list[tuple[int, int, Listener]] = []
        self._numbers = count(1)

    def news(self) -> None:
        """See castd.mount.mount.Outlet."""
        self._on_news(self)

    def flush(self) -> None:
        """See castd.mount.mount.Outlet."""
        for listener in list(self.ready):
            self.serve(listener)

    def evacuate(self) -> None:
        """See castd.mount.mount.Outlet."""
        for listener in [*self._waiting(), *(each for each in self.rewound if each.blocked)]:
            if listener.bound_for is not None and not listener.bound_for.closed:
                self._let_go(listener)

    def _let_go(self, listener: Listener) -> None:
        """Have a blocked listener who is bound for another mount go there with no more of this one than up to the next
        entry."""
        if not listener.intro:
            finish = self.mount.timeline.next_entry(listener.position)
            listener.finish_at(finish.position if finish else self.mount.ring.head)
        if len(listener.pending) > PENDING_BYTES:
            listener.end(Goodbye.FELL_BEHIND)
        else:
            self._on_leave(listener)

    def close(self) -> None:
        """See castd.mount.mount.Outlet."""
        self._on_close(self)

    def add(self, listener: Listener) -> None:
        """Take on a listener who has had nothing of this mount yet."""
        if listener.most_seconds:
            self.limited.add(listener)
        self._group(listener).add(listener)
        self.serve(listener)

    def _group(self, listener: Listener) -> set[Listener]:
        return self.ready if listener.pace is None else self.rewound

    def keep(self, listener: Listener) -> None:
        """Take on a listener of this mount as it is, in the middle of it."""
        if listener.most_seconds:
            self.limited.add(listener)
        if listener.pace is not None:
            self.rewound.add(listener)
        if listener.blocked:
            self._block(listener)
        else:
            self._group(listener).add(listener)

    def forget(self, listener: Listener) -> None:
        """Serve it no more."""
        self.limited.discard(listener)
        self.ready.discard(listener)
        self.rewound.discard(listener)

    def serve(self, listener: Listener) -> None:
        """Give one listener what is new and sort it accordingly."""
        if listener.gone is not None or listener.mount is not self.mount:
            return
        try:
            caught_up = listener.serve()
        except ConnectionError:
            listener.end(Goodbye.RESET)
        except ssl.SSLError:
            listener.end(Goodbye.TLS_ERROR)
        except OSError:
            listener.end(Goodbye.VANISHED)
        except Exception:  # a bug; it may cost this listener, and nobody else
            log.exception("%s: listener %d failed", self.mount.name, listener.id)
            listener.end(Goodbye.FAILED)
        else:
            if caught_up:
                if listener.blocked:
                    listener.blocked = False
                    self._group(listener).add(listener)
                if listener.bound_for is not None and not listener.bound_for.closed:
                    self._on_leave(listener)
            else:
                self._block(listener)

    def end_overdue(self, now: float) -> None:
        """End the listeners who have been here for as long as they may, each at the end of a frame.

        Args:
            now: monotonic seconds.
        """
        most = self.mount.settings.max_listener_seconds
        for listener in self.everybody if most else list(self.limited):
            own = listener.most_seconds
            overdue = now - listener.connected - (min(most, own) if most and own else most or own)
            if overdue >= 0:
                self.serve(listener)
                if listener.caught_up or overdue > GRACE_SECONDS:
                    listener.end(Goodbye.LIMIT)

    def _block(self, listener: Listener) -> None:
        if not listener.blocked:
            listener.blocked = True
            self.ready.discard(listener)
        if listener.pace is None:
            self._queue(listener)
        self._on_blocked(listener)

    def _queue(self, listener: Listener) -> None:
        if not listener.queued:  # else it stands there with an older position, and is looked at when that comes up
            listener.queued = next(self._numbers)
            heappush(self._blocked, (listener.position, listener.queued, listener))

    def _waiting(self) -> list[Listener]:
        """The blocked."""
        here = (each for _, number, each in self._blocked if each.mount is self.mount and each.queued == number)
        return [listener for listener in here if listener.blocked and listener.gone is None]

    @property
    def everybody(self) -> list[Listener]:
        """The ready, the blocked, and those who went back."""
        return [*self.ready, *self._waiting(), *self.rewound]

    @property
    def caught_up(self) -> bool:
        """Every listener was given everything there is."""
        return not self._waiting() and all(each.caught_up for each in (*self.ready, *self.rewound))

    @property
    def to_walk(self) -> list[Listener]:
        """Those the pump is to serve when this mount's time has come."""
        return [*self.ready, *(each for each in self.rewound if not each.blocked)] if self.rewound else [*self.ready]

    def walked(self, head: int) -> None:
        """Every ready listener has been served since the ring's head was `head`."""
        self.floor = head
        settings, timeline = self.mount.settings, self.mount.timeline
        self._rescue(timeline.position_at(timeline.end - settings.lag_seconds))
        for listener in [each for each in self.rewound if each.blocked]:
            self._be_patient(listener)

    def make_room(self, tail: int) -> None:
        """See castd.mount.mount.Outlet."""
        if self.floor < tail:
            self.flush()
            self.floor = self.mount.ring.head
        self._rescue(tail)
        for listener in [each for each in self.rewound if each.position < tail]:
            self._overtaken(listener, tail)

    def _be_patient(self, listener: Listener) -> None:
        """One who went back and is slower than the audio goes on later, rather than miss something; one who takes
        nothing at all is let go."""
        timeline, pace = self.mount.timeline, listener.pace
        assert pace is not None
        time = timeline.time_at(listener.position)
        if timeline.time_at(listener.horizon) - time <= self.mount.settings.lag_seconds:
            return
        self.mount.slow_listeners += 1
        if listener.bytes_sent == listener.stuck_at:
            listener.end(Goodbye.FELL_BEHIND)
            return
        listener.stuck_at = listener.bytes_sent
        listener.pace = replace(pace, media=time, since=self.mount.clock.monotonic())

    def _overtaken(self, listener: Listener, tail: int) -> None:
        """What one who went back as far as it goes has not had yet is about to be overwritten."""
        timeline = self.mount.timeline
        target = timeline.rewound(timeline.time_at(tail) + EDGE_SECONDS, tail)
        finish = timeline.next_entry(listener.position)
        if target is None or finish is None or len(listener.pending) > PENDING_BYTES:
            listener.end(Goodbye.FELL_BEHIND)
            return
        listener.finish_at(finish.position)
        self._jump(listener, finish.position, target.position)

    def _jump(self, listener: Listener, here: int, there: int) -> None:
        """Go on further on, having whole frames up to here."""
        before, head = (self.mount.timeline.head_at(position) for position in (here, there))
        if there > here:
            if head is not None and head.needed_after(before):
                listener.pending = bytes(listener.pending) + head.data
            listener.position = there
            listener.jumps += 1

    def _rescue(self, limit: int) -> None:
        """Deal with the blocked who still stand before `limit`."""
        while self._blocked and self._blocked[0][0] < limit:
            _, number, listener = heappop(self._blocked)
            if listener.mount is not self.mount or listener.queued != number:
                continue
            listener.queued = 0
            if listener.gone is not None or not listener.blocked:
                continue
            if listener.position < limit:
                self._fell_behind(listener, limit)
            else:
                self._queue(listener)

    def _fell_behind(self, listener: Listener, limit: int) -> None:
        mount = self.mount
        timeline = mount.timeline
        no_progress = listener.bytes_sent == listener.stuck_at
        if listener.intro and not no_progress:  # it begins where a newcomer does, when it has had that
            listener.position, listener.stuck_at = mount.ring.head, listener.bytes_sent
            self._queue(listener)
            return
        mount.slow_listeners += 1
        listener.note_lag()
        target = mount.join_point()
        finish = timeline.next_entry(listener.position)
        if listener.bound_for is not None and not listener.bound_for.closed and not no_progress:
            self._let_go(listener)
            return
        if mount.settings.lag_policy == "drop" or no_progress or target is None or finish is None:
            listener.end(Goodbye.FELL_BEHIND)
            return
        listener.finish_at(finish.position)
        if target.position < limit:  # a ring shorter than the burst
            target = timeline.next_entry(limit) or finish
        self._jump(listener, finish.position, target.position)
        listener.stuck_at = listener.bytes_sent
        if len(listener.pending) > PENDING_BYTES or listener.position < limit:
            listener.end(Goodbye.FELL_BEHIND)
            return
        self._queue(listener)

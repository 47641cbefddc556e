"""Everything the server writes down of its visitors: visits in memory and in the database, access.log, playlist.log.

What is called here returns at once; the disk is the business of threads.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import trio

from castd.log import warn_rarely
from castd.log_files import LineWriter, LogFile
from castd.mount.party import Goodbye, next_id
from castd.stats.database import FILE_NAME, select
from castd.stats.history import History
from castd.stats.log_lines import access_line, playlist_line
from castd.stats.visits import Pseudonyms, departure

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.config import Config, Logs
    from castd.http.messages import Request
    from castd.mount.mount import Clock, Mount
    from castd.mount.party import Listener, Source
    from castd.mount.timeline import Title
    from castd.stats.database import Wanted
    from castd.stats.visits import Arrival, Visit
    from castd.tcp import TcpState


class Records:
    """See the module.

    Attributes:
        recent: the visits that ended last, newest at the end.
        history: None if nothing is kept on disk.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._clock = clock
        self._pseudonyms = Pseudonyms(config.sessions.addresses)
        self.recent: deque[Visit] = deque(maxlen=config.sessions.recent)
        self.history = (
            History(Path(config.server.state_dir) / FILE_NAME, config.sessions.keep_days)
            if config.server.state_dir and config.sessions.keep_days
            else None
        )
        self._access = LineWriter(log_file(config.logs, config.logs.access))
        self._playlist = LineWriter(log_file(config.logs, config.logs.playlist))
        self._titles: WeakKeyDictionary[Mount, tuple[int, str]] = WeakKeyDictionary()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, and then what is left. Started once new ids go on after those on disk."""
        if self.history is not None:
            next_id.go_on_after(await trio.to_thread.run_sync(self.history.last_id))
        try:
            async with trio.open_nursery() as nursery:
                if self.history is not None:
                    nursery.start_soon(self.history.batches.run)
                for writer in (self._access, self._playlist):
                    nursery.start_soon(writer.batches.run)
                task_status.started()
                await trio.sleep_forever()
        finally:
            if self.history is not None:
                with trio.move_on_after(1, shield=True):
                    await trio.to_thread.run_sync(self.history.close, abandon_on_cancel=True)

    def reopen(self) -> None:
        """Open the log files anew, since somebody has moved them away."""
        for writer in (self._access, self._playlist):
            if writer.file is not None:
                writer.file.reopen()

    def prepare(self, config: Config) -> Callable[[], None]:
        """See castd.reload.Part."""

        def commit() -> None:
            self._pseudonyms.style = config.sessions.addresses
            self.recent = deque(self.recent, maxlen=config.sessions.recent)
            self.reopen()
            self._access.file = log_file(config.logs, config.logs.access)
            self._playlist.file = log_file(config.logs, config.logs.playlist)

        return commit

    def departed(
        self,
        mount: Mount,
        party: Listener | Source,
        since: Arrival,
        tcp: TcpState | None,
        reason: Goodbye | None = None,
    ) -> None:
        """Record the visit of a listener or source that leaves now.

        Args:
            since: what castd.stats.visits.arrival noted.
            tcp: of its connection.
            reason: where it is not the party's own.
        """
        visit = departure(mount, party, since, self._pseudonyms, tcp, reason)
        self.recent.append(visit)
        if self.history is not None:
            self.history.batches.put(visit)

    def answered(self, request: Request, user: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Record a request when it is over, a listener's too; see log_lines.access_line."""
        if self._access.file is not None:
            self._access.put(access_line(request, user, status, sent_bytes, seconds, self._clock.wall()))

    def title(self, mount: Mount, title: Title) -> None:
        """Record a title; one that a source repeats is recorded once."""
        source_id = mount.source.id if mount.source else 0
        if self._playlist.file is None or not title.text or self._titles.get(mount) == (source_id, title.text):
            return
        self._titles[mount] = (source_id, title.text)
        self._playlist.put(playlist_line(mount.name, len(mount.listeners), title.text, title.wall))

    async def visits(self, wanted: Wanted) -> list[Visit]:
        """The visits somebody wants to see, the last first: from memory, and where that ends from the disk.

        Raises:
            sqlite3.Error: the disk is asked and cannot answer.
        """
        recent = list(reversed(self.recent))
        ids = [visit.id for visit in recent]
        in_memory = wanted.before is None or wanted.before in ids
        if wanted.before is not None:
            recent = recent[ids.index(wanted.before) + 1 :] if in_memory else []
        found = [visit for visit in recent if wanted.includes(visit)][: wanted.limit]
        if self.history is None or len(found) == wanted.limit:
            return found
        if in_memory:
            wanted = replace(wanted, before=self.recent[0].id if self.recent else None)
        rest = replace(wanted, limit=wanted.limit - len(found))
        ask = partial(select, self.history.path, rest, unknown_before=in_memory)  # unknown: not written yet
        return found + [visit for visit in await trio.to_thread.run_sync(ask) if visit.id not in ids]


def log_file(logs: Logs, path: str) -> LogFile | None:
    """The log file of a path; None for ""."""
    return LogFile(Path(path), logs.rotate_bytes, logs.rotate_keep, warn_rarely) if path else None

"""Another configuration while the server runs: read, checked, made ready by every part, and then in force at once.

Whatever is wrong is found before anything has changed: a configuration is taken whole or not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from castd.config import contradictions
from castd.config.differences import Change, applicable, differences
from castd.config.problems import Problems
from castd.errors import ConfigError

if TYPE_CHECKING:
    from castd.config import Config, Current
    from castd.systemd import Notifier

log = logging.getLogger(__name__)

Commit = Callable[[], None]


class Part(Protocol):
    """A part of the server that holds something made from the configuration."""

    def prepare(self, config: Config) -> Commit:
        """Make what another configuration needs. Called in a thread; it may block and changes nothing yet.

        Returns:
            What puts it in force, called in the event loop when every part is ready; it neither waits nor fails.

        Raises:
            ConfigError: the configuration cannot be used.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did, or a trial would do.

    Attributes:
        changed: is in force from now on.
        waiting: has to wait for the next start.
    """

    changed: list[Change]
    waiting: list[Change]


class Reloader:
    """Reloads the configuration.

    Args:
        read: gives the configuration as it is written now, or raises ConfigError; called in a thread.
        manager: is told when it begins and ends.

    Attributes:
        parts: asked to prepare, and then committed, in this order.
    """

    def __init__(self, current: Current, read: Callable[[], Config], manager: Notifier) -> None:
        self.parts: Sequence[Part] = ()
        self._current = current
        self._read = read
        self._manager = manager
        self._one_at_a_time = trio.Lock()

    async def reload(self, by: str, *, trial: bool = False) -> Reloaded:
        """Take the configuration as it is written now.

        Args:
            by: who asks for it, for the log.
            trial: change nothing, and say what would.

        Raises:
            ConfigError: it cannot be used, and the one in force stays; the message is that of `castd check`.
        """
        async with self._one_at_a_time:
            self._manager.reloading()
            try:
                config, outcome, commits = await trio.to_thread.run_sync(self._prepare)
            except ConfigError as error:
                log.error("reload by %s refused, the configuration in force stays: %s", by, error)
                raise
            finally:
                self._manager.ready()
            if not trial:
                self._current.config = config
                for commit in commits:
                    commit()
                _tell(by, outcome)
            return outcome

    def _prepare(self) -> tuple[Config, Reloaded, list[Commit]]:
        old, written = self._current.config, self._read()
        config = applicable(old, written)
        if config != written:
            problems = Problems()
            contradictions.check(config, "with the listen and server keys that only a restart changes", problems)
            problems.raise_any()
        found = differences(old, written)
        outcome = Reloaded(
            [each for each in found if not each.needs_restart], [each for each in found if each.needs_restart]
        )
        return config, outcome, [part.prepare(config) for part in self.parts]


def _tell(by: str, outcome: Reloaded) -> None:
    changes = "; ".join(map(str, outcome.changed)) or "nothing changed"
    log.info("configuration reloaded by %s: %s", by, changes)
    if outcome.waiting:
        log.warning("these wait for a restart: %s", "; ".join(map(str, outcome.waiting)))

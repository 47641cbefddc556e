"""Bans and allow lists: from castd.toml, from files, and made while the server runs.

Those made at run time are kept in the state directory, whole or not at all, so that they outlive a restart; they end by
wall time. A look-up asks one dict for each length of prefix in use, however many bans there are.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import trio

from castd.access.address import network
from castd.access.ban_files import agent_glob, read_entries
from castd.access.networks import GlobTable, NetworkTable, address_or_none, networks
from castd.errors import ClientError, ConfigError
from castd.log import warn_rarely
from castd.watched_file import file_state

if TYPE_CHECKING:
    from castd.config import Config
    from castd.watched_file import State

log = logging.getLogger(__name__)

Scope: TypeAlias = Literal["all", "listeners", "sources"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

FILE_NAME = "bans.json"
"""In the state directory."""

FORGET_SECONDS = 3600.0
"""After a ban's time is over it is remembered for so long."""

MOST_BANS = 100_000
"""Made at run time; lists that are longer belong into a file."""


@dataclass(frozen=True, slots=True)
class Ban:
    """One ban.

    Attributes:
        id: 0 for one that the API cannot lift.
        address: an address or network; "" for one of an agent.
        agent: a glob; "" for one of an address.
        scope: what is refused.
        reason: what the client is told.
        expires: wall time, seconds since 1970; None for never.
        created: wall time; 0 for one of the configuration.
        by: who made it: a user, "castd.toml", or a file.
    """

    id: int
    address: str
    agent: str
    scope: Scope
    reason: str = ""
    expires: float | None = None
    created: float = 0.0
    by: str = ""

    def applies(self, scope: Scope, now: float) -> bool:
        return self.scope in ("all", scope) and (self.expires is None or self.expires > now)


class _Lists:
    """What the configuration and its files say, read at one time.

    Raises:
        ConfigError: a file cannot be used.
    """

    def __init__(self, config: Config) -> None:
        bans = config.bans
        self.config = config
        self.files = [path for path in (bans.deny_ip_file, bans.deny_agents_file, bans.allow_ip_file) if path]
        self.states: list[State | None] = [file_state(path) for path in self.files]
        self.addresses: NetworkTable[Ban] = NetworkTable()
        self.agents: GlobTable[Ban] = GlobTable()
        self.allowed: NetworkTable[bool] = NetworkTable()
        given: tuple[tuple[Scope, tuple[str, ...], tuple[str, ...]], ...] = (
            ("all", bans.addresses, bans.agents),
            ("listeners", bans.listener_addresses, bans.listener_agents),
            ("sources", bans.source_addresses, bans.source_agents),
        )
        for scope, addresses, agents in given:
            for text in addresses:
                self.addresses.add(network(text), Ban(0, text, "", scope, by="castd.toml"))
            for text in agents:
                self.agents.add(text, Ban(0, "", text, scope, by="castd.toml"))
        for text in bans.allow:
            self.allowed.add(network(text), True)
        self._read_files()

    def _read_files(self) -> None:
        bans = self.config.bans
        if path := bans.deny_ip_file:
            for text, found in read_entries(path, networks):
                for each in found:
                    self.addresses.add(each, Ban(0, text, "", "all", by=path))
        if path := bans.deny_agents_file:
            for text, glob in read_entries(path, agent_glob):
                self.agents.add(glob, Ban(0, "", text, "all", by=path))
        if path := bans.allow_ip_file:
            for _, found in read_entries(path, networks):
                for each in found:
                    self.allowed.add(each, True)

    @property
    def changed(self) -> bool:
        return [file_state(path) for path in self.files] != self.states


class Bans:
    """All bans in force.

    Args:
        wall: seconds since 1970.
        monotonic: seconds.

    Attributes:
        unsaved: some changed since they were written to the disk.

    Raises:
        ConfigError: a list cannot be used.
    """

    def __init__(
        self, config: Config, wall: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._over: dict[int, float] = {}  # since when, by id
        self._lists = _Lists(config)
        self._path = Path(config.server.state_dir) / FILE_NAME if config.server.state_dir else None
        self._made: dict[int, Ban] = {}
        self._addresses: NetworkTable[Ban] = NetworkTable()
        self._agents: GlobTable[Ban] = GlobTable()
        self._next_id = 1
        self._saving = trio.Lock()
        self.unsaved = False
        for ban in self._load():
            self._enter(ban)

    def prepare(self, config: Config) -> Callable[[], None]:
        """See castd.reload.Part."""
        lists = _Lists(config)

        def commit() -> None:
            self._lists = lists

        return commit

    def refresh(self) -> bool:
        """Read files that changed again; a list that cannot be used leaves the old one in force. Blocks.

        Returns:
            Whether anything is different now.
        """
        if not self._lists.changed:
            return False
        try:
            self._lists = _Lists(self._lists.config)
        except ConfigError as error:
            warn_rarely(f"the bans in force stay: {error}")
            return False
        return True

    def refusal(self, address: str, agent: str, scope: Scope) -> str:
        """Why an address, or what calls itself so, gets nothing of a kind; "" if it may have it.

        Args:
            agent: "" if it is not known yet.
        """
        now, parsed, lists = self._wall(), address_or_none(address), self._lists
        if parsed is not None:
            for table in (self._addresses, lists.addresses):
                for ban in table.covering(parsed):
                    if ban.applies(scope, now):
                        return _words("this address is banned", ban)
            if len(lists.allowed) and next(lists.allowed.covering(parsed), None) is None:
                return "this address is not among those that are allowed"
        if agent:
            for globs in (self._agents, lists.agents):
                for ban in globs.matching(agent):
                    if ban.applies(scope, now):
                        return _words("this program is banned", ban)
        return ""

    @property
    def all(self) -> list[Ban]:
        """Those made at run time that are in force, the oldest first, and those of castd.toml and the files."""
        now = self._wall()
        made = [ban for ban in self._made.values() if ban.applies(ban.scope, now)]
        return [*made, *self._lists.addresses.values(), *self._lists.agents.values()]

    def add(self, ban: Ban) -> Ban:
        """Put a ban in force; `save` keeps it.

        Returns:
            It, with its id.

        Raises:
            ClientError: 400: it names no address or network; 409: there are too many.
        """
        self.forget_expired()
        if len(self._made) >= MOST_BANS:
            raise ClientError(409, f"there are {MOST_BANS} bans already; put long lists into bans.deny_ip_file")
        try:
            ban = replace(
                ban, id=self._next_id, created=self._wall(), address=ban.address and str(network(ban.address))
            )
        except ValueError as error:
            raise ClientError(400, f"no address or network: {error}") from None
        self._enter(ban)
        self.unsaved = True
        return ban

    def remove(self, id: int) -> Ban:
        """Lift a ban; `save` keeps that.

        Raises:
            ClientError: 404: there is none of that id.
        """
        ban = self._made.pop(id, None)
        if ban is None:
            raise ClientError(404, "no ban made here has this id")
        self.unsaved = True
        if ban.address:
            self._addresses.remove(network(ban.address), ban)
        else:
            self._agents.remove(ban.agent, ban)
        return ban

    async def save(self) -> None:
        """Write the bans to the disk.

        Raises:
            OSError: they cannot be; `unsaved` stays.
        """
        async with self._saving:
            self.unsaved = False
            try:
                await trio.to_thread.run_sync(self.snapshot())
            except BaseException:
                self.unsaved = True
                raise

    def forget_expired(self) -> None:
        """Let go of those whose time has been over for long enough; until then a clock that was set wrong and is put
        right has them in force again."""
        wall, now = self._wall(), self._monotonic()
        over = [each.id for each in self._made.values() if each.expires is not None and each.expires <= wall]
        self._over = {id: self._over.get(id, now) for id in over}
        for id in over:
            if now - self._over[id] >= FORGET_SECONDS:
                self.remove(id)

    def snapshot(self) -> Callable[[], None]:
        """What writes the bans as they are now to the disk, and may block; it raises OSError."""
        path, bans = self._path, [asdict(ban) for ban in self._made.values()]

        def write() -> None:
            if path is None:
                return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = path.with_suffix(".new")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"bans": bans}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)

        return write

    def _enter(self, ban: Ban) -> None:
        self._made[ban.id] = ban
        self._next_id = max(self._next_id, ban.id + 1)
        if ban.address:
            self._addresses.add(network(ban.address), ban)
        else:
            self._agents.add(ban.agent, ban)

    def _load(self) -> list[Ban]:
        """What is kept; a file that is broken is set aside, since the server is more useful than its bans."""
        if self._path is None or not self._path.exists():
            return []
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            return [_checked(Ban(**each)) for each in kept["bans"]]
        except OSError as error:
            log.error("%s: %s: no bans from there", self._path, error.strerror)
        except (ValueError, TypeError, KeyError) as error:
            self._path.replace(self._path.with_suffix(".broken"))
            log.error("%s: %s; it is now called %s.broken, and its bans are not in force",
                      self._path, error, self._path.stem)  # fmt: skip
        return []


def _checked(ban: Ban) -> Ban:
    """Raises ValueError, TypeError: it cannot be one."""
    if bool(ban.address) == bool(ban.agent) or ban.scope not in SCOPES or ban.id < 1:
        raise ValueError(f"not a ban: {ban}")
    if ban.address:
        network(ban.address)
    return ban


def _words(what: str, ban: Ban) -> str:
    return f"{what}: {ban.reason}" if ban.reason else what


def refuse_unlisted(address: str, allowed: tuple[str, ...], what: str) -> None:
    """Let through only who is in a list, if there is one.

    Args:
        allowed: networks as configured.
        what: is refused, for the answer.

    Raises:
        ClientError: 403.
    """
    parsed = address_or_none(address) if allowed else None
    if parsed is not None and next(_table(allowed).covering(parsed), None) is None:
        raise ClientError(403, f"this address is not among those that may {what}")


@lru_cache(256)
def _table(allowed: tuple[str, ...]) -> NetworkTable[bool]:
    table: NetworkTable[bool] = NetworkTable()
    for each in allowed:
        table.add(network(each), True)
    return table


def as_json(ban: Ban, moment: Callable[[float], str]) -> dict[str, Any]:
    """A ban as the API shows it.

    Args:
        moment: makes a time of seconds since 1970.
    """
    return {
        "id": ban.id or None,
        "address": ban.address or None,
        "agent": ban.agent or None,
        "scope": ban.scope,
        "reason": ban.reason,
        "expires": moment(ban.expires) if ban.expires is not None else None,
        "created": moment(ban.created) if ban.created else None,
        "by": ban.by,
    }

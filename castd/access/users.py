"""Listeners with a name and a password, from files such as `htpasswd -B` and `castd password` make them."""

from __future__ import annotations

import hmac
import logging
import os
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import trio

from castd.access.hashes import hashed, is_entry, matches
from castd.errors import ClientError

log = logging.getLogger(__name__)

RECHECK_SECONDS = 1.0
"""How often it is looked whether a file has changed."""

REMEMBERED_SECONDS = 600.0
"""For so long a password that was right is right without a look at its hash: players that come back are let in at
once."""

REMEMBERED = 10_000
"""Passwords remembered so, at most."""

QUEUE = 32
"""Passwords that wait to be verified, at most: a hash takes a tenth of a second, and only one is computed at a time, so
that whoever tries passwords takes no more than one core, and nobody waits for longer than some seconds."""

MAX_FILE_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class _File:
    """One file, as it was when last looked at."""

    version: tuple[int, int, int] | None = None
    checked: float = float("-inf")
    entries: dict[str, str] = field(default_factory=dict)


class Users:
    """Verifies names and passwords of any number of files."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._waiting = 0
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, float] = {}
        self._decoy = ""

    async def verify(self, path: str, user: str, password: str) -> bool:
        """Whether a file has this user with this password; for an unknown one it takes as long.

        Raises:
            ClientError: 503: too many wait to be verified.
        """
        entry = (await self._entries(path)).get(user)
        digest = hmac.digest(self._key, "\0".join((path, user, password, entry or "")).encode(), sha256)
        now = trio.current_time()
        if self._right.get(digest, 0.0) > now:
            return True
        if self._waiting >= QUEUE:
            raise ClientError(503, "too many are signing in", (("Retry-After", "5"),))
        self._waiting += 1
        try:
            right = await trio.to_thread.run_sync(self._matches, password, entry, limiter=self._one_at_a_time)
        finally:
            self._waiting -= 1
        if right:
            if len(self._right) >= REMEMBERED:
                del self._right[next(iter(self._right))]
            self._right[digest] = now + REMEMBERED_SECONDS
        return right

    def _matches(self, password: str, entry: str | None) -> bool:
        if entry is None:
            self._decoy = self._decoy or hashed(secrets.token_hex())
        return matches(password, self._decoy if entry is None else entry) and entry is not None

    async def _entries(self, path: str) -> dict[str, str]:
        file = self._files.setdefault(path, _File())
        now = trio.current_time()
        if now - file.checked >= RECHECK_SECONDS:
            file.checked = now
            await trio.to_thread.run_sync(_refresh, path, file)
        return file.entries


def _refresh(path: str, file: _File) -> None:
    """Read a file if it has changed; without it nobody is let in."""
    try:
        facts = os.stat(path)
        version = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if version == file.version:
            return
        file.version = version
        if facts.st_size > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
        file.entries = read_users(path)
    except (OSError, ValueError) as error:
        if file.entries or file.version is None:
            log.error("%s: nobody can sign in with it: %s", path, error)
        file.entries = {}
        file.version = file.version or (0, 0, 0)


def read_users(path: str) -> dict[str, str]:
    """The entries of a users file by name; lines that are none are told and left out.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8.
    """
    entries: dict[str, str] = {}
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, entry = line.strip().partition(":")
        if not user or not colon or not is_entry(entry):
            log.warning("%s:%d: left out: no password of argon2 or bcrypt; see `castd password`", path, number)
        elif user in entries:
            log.warning("%s:%d: left out: %s stands above already", path, number, user)
        else:
            entries[user] = entry
    return entries

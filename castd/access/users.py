"""Listeners with a name and a password, from files such as `htpasswd -B` and `castd password` make them."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path

import trio

from castd.access.hashes import hashed, is_entry, matches
from castd.errors import ClientError
from castd.watched_file import WatchedFile

log = logging.getLogger(__name__)

REMEMBERED_SECONDS = 600.0
"""For so long a password that was right is right without a look at its hash: players that come back are let in at
once."""

REMEMBERED = 10_000
"""Passwords remembered so, at most."""

QUEUE = 32
"""Passwords that wait to be verified, at most: a hash takes a tenth of a second, and only one is computed at a time, so
that whoever tries passwords takes no more than one core, and nobody waits for longer than some seconds."""

MAX_FILE_BYTES = 16 * 1024 * 1024


class Users:
    """Verifies names and passwords of any number of files."""

    def __init__(self) -> None:
        self._files: dict[str, WatchedFile[dict[str, str]]] = {}
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._waiting = 0
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, float] = {}
        self._own_decoy = ""

    async def verify(self, path: str, user: str, password: str) -> bool:
        """Whether a file has this user with this password.

        For a name that is not there the password is held against the entry of somebody else, always the same one's. So
        the time of a refusal, which depends on the kind of hash and its parameters, tells nobody which names there are.

        Raises:
            ClientError: 503: too many wait to be verified.
        """
        entries = await self._entries(path)
        entry = entries.get(user)
        digest = hmac.digest(self._key, "\0".join((path, user, password, entry or "")).encode(), sha256)
        now = trio.current_time()
        if self._right.get(digest, 0.0) > now:
            return True
        if self._waiting >= QUEUE:
            raise ClientError(503, "too many are signing in", (("Retry-After", "5"),))
        self._waiting += 1
        try:
            decoy = self._decoy(user, entries) if entry is None else ""
            right = await trio.to_thread.run_sync(self._matches, password, entry, decoy, limiter=self._one_at_a_time)
        finally:
            self._waiting -= 1
        if right:
            if len(self._right) >= REMEMBERED:
                del self._right[next(iter(self._right))]
            self._right[digest] = now + REMEMBERED_SECONDS
        return right

    def _decoy(self, user: str, entries: Mapping[str, str]) -> str:
        """The entry an unknown name is held against; nobody outside can tell which it will be; "" if there are none."""
        number = int.from_bytes(hmac.digest(self._key, user.encode("utf-8", "surrogatepass"), sha256))
        return next(islice(entries.values(), number % len(entries), None)) if entries else ""

    def _matches(self, password: str, entry: str | None, decoy: str) -> bool:
        if entry is None and not decoy:
            decoy = self._own_decoy = self._own_decoy or hashed(secrets.token_hex())
        return matches(password, decoy if entry is None else entry) and entry is not None

    async def _entries(self, path: str) -> dict[str, str]:
        if path not in self._files:
            complain = partial(log.error, "%s: nobody can sign in with it: %s", path)
            self._files[path] = WatchedFile(path, read_users, {}, complain)
        return await self._files[path].content()


def read_users(path: str) -> dict[str, str]:
    """The entries of a users file by name; lines that are none are told and left out.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8, or too large.
    """
    if (size := Path(path).stat().st_size) > MAX_FILE_BYTES:
        raise ValueError(f"it has {size} bytes, and may have {MAX_FILE_BYTES}")
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

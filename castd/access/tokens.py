"""Bearer tokens: each for some of what operators may do, maybe at some mounts only, maybe until a day.

They are made and withdrawn by `castd token`, which writes the file; a running server sees that within a second. The
file holds digests: a token is 256 random bits, which needs no slow hash, and is shown once.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from castd.access.scopes import EVERYTHING
from castd.access.secrets import locked, new_token, verify
from castd.watched_file import WatchedFile

log = logging.getLogger(__name__)

FILE_NAME = "tokens.json"
"""In the state directory."""

MOST = 1000
"""Tokens in the file."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token, without what must be shown.

    Attributes:
        id: by which it is withdrawn.
        name: what it is for, in its maker's words; the user in logs.
        digest: SHA-256 of the token, in hexadecimal.
        scopes: of castd.access.scopes.SCOPES, or EVERYTHING.
        mounts: it is for; empty for all.
        created, expires: seconds since 1970; expires None means never.
    """

    id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    mounts: tuple[str, ...]
    created: float
    expires: float | None

    def allows(self, scope: str) -> bool:
        """Whether it is for that."""
        return EVERYTHING in self.scopes or scope in self.scopes


class Tokens:
    """Finds tokens in the file of a state directory; where there is none, there are no tokens."""

    def __init__(self, state_dir: str) -> None:
        path = str(Path(state_dir) / FILE_NAME) if state_dir else ""
        self._file = (
            WatchedFile[tuple[Token, ...]](
                path, read_tokens, (), lambda why: log.error("%s: no token is good: %s", path, why)
            )
            if path
            else None
        )

    async def find(self, given: str) -> Token | None:
        """The token that was given, expired or not; each is compared, whatever the others say."""
        if self._file is None:
            return None
        digest, found = sha256(given.encode("utf-8", "surrogatepass")).hexdigest(), None
        for token in await self._file.content():
            if verify(digest, token.digest):
                found = token
        return found

    async def hold(self, token_id: str) -> bool:
        """Whether a token was not withdrawn."""
        return self._file is not None and any(each.id == token_id for each in await self._file.content())


def read_tokens(path: str) -> tuple[Token, ...]:
    """The tokens of a file; none if there is no such file.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else.
    """
    try:
        text = Path(path).read_text("utf-8")
    except FileNotFoundError:
        return ()
    try:
        return tuple(_token(each) for each in json.loads(text))
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a list of tokens: {error}") from None


def create(
    state_dir: Path, name: str, scopes: tuple[str, ...], mounts: tuple[str, ...], now: float, expires: float | None
) -> tuple[str, Token]:
    """Make a token and keep its digest.

    Returns:
        The token, which nobody can find out again, and what is kept of it.

    Raises:
        OSError, ValueError: the file cannot be read or written, or is full.
    """
    text = new_token()
    with _changing(state_dir) as tokens:
        if len(tokens) >= MOST:
            raise ValueError(f"there are {MOST} tokens already; withdraw some")
        made = Token(secrets.token_hex(4), name, sha256(text.encode()).hexdigest(), scopes, mounts, round(now), expires)
        tokens.append(made)
    return text, made


def revoke(state_dir: Path, token_id: str) -> Token | None:
    """Withdraw a token; None if there is none of this id.

    Raises:
        OSError, ValueError: as for `create`.
    """
    with _changing(state_dir) as tokens:
        found = next((each for each in tokens if each.id == token_id), None)
        if found is not None:
            tokens.remove(found)
    return found


@contextmanager
def _changing(state_dir: Path) -> Iterator[list[Token]]:
    """The tokens, to be written back whole at the end."""
    with locked(state_dir) as directory:
        path = state_dir / FILE_NAME
        tokens = list(read_tokens(str(path)))
        yield tokens
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            json.dump([asdict(each) for each in tokens], file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        owner = state_dir.stat()
        if os.geteuid() == 0 and owner.st_uid:  # made by root for a server that runs as somebody else
            os.chown(new, owner.st_uid, owner.st_gid)
        new.replace(path)
        os.fsync(directory)


def _token(value: Any) -> Token:
    token = Token(**value)
    return replace(token, scopes=tuple(token.scopes), mounts=tuple(token.mounts))

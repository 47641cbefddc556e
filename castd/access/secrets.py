"""The server's secrets: configured, or generated once and kept in the state directory; and how one is compared.

A kept secret is a file of its own name, readable by castd's user only. It appears there whole or not at all: written to
a new file, synced, renamed. Servers that start together on one directory wait for each other and end up with the same
secrets.
"""

from __future__ import annotations

import fcntl
import hmac
import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from castd.config.rules import SECRET, WELL_KNOWN_PASSWORDS
from castd.errors import ConfigError

if TYPE_CHECKING:
    from castd.config import Auth

log = logging.getLogger(__name__)

READABLE = "abcdefghjkmnpqrstuvwxyz23456789"
"""Letters and digits nobody confuses when reading them out or typing them into an encoder: no i, l, o, 0, 1."""

PASSWORD_GROUPS = 4
PASSWORD_GROUP_CHARACTERS = 5
"""4 groups of 5 of 31 characters: 99 bits."""

TOKEN_BYTES = 32
"""256 bits."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What clients must show; never empty.

    Attributes:
        source_password: of the server; a mount's own goes before it.
        admin_password: of the operator.
        admin_token: bearer token of programs.
        generated: names of those that did not exist before this start; the operator has not seen them yet.
    """

    source_password: str = field(repr=False)
    admin_password: str = field(repr=False)
    admin_token: str = field(repr=False)
    generated: frozenset[str] = frozenset()


def new_password() -> str:
    """A new password, such as "mq7ka-2w9xd-hr4vu-8bnet"."""
    groups = (
        "".join(secrets.choice(READABLE) for _ in range(PASSWORD_GROUP_CHARACTERS)) for _ in range(PASSWORD_GROUPS)
    )
    return "-".join(groups)


def new_token() -> str:
    """A new bearer token; the prefix lets people and secret scanners recognise it."""
    return f"castd_{secrets.token_urlsafe(TOKEN_BYTES)}"


MAKERS: dict[str, Callable[[], str]] = {
    "source_password": new_password,
    "admin_password": new_password,
    "admin_token": new_token,
}
"""Every secret, by its name in [auth] and in the state directory."""


def resolve(auth: Auth, state_dir: Path) -> Secrets:
    """Find each secret: the configured one, else the kept one, else a new one, which is kept from now on.

    Args:
        auth: the configured secrets.
        state_dir: made with mode 0700 if it does not exist; not touched if all secrets are configured.

    Raises:
        ConfigError: a secret cannot be kept, or the kept one cannot be trusted.
    """
    found = {name: getattr(auth, name) for name in MAKERS}
    missing = [name for name, value in found.items() if not value]
    generated = set()
    if missing:
        try:
            with locked(state_dir) as directory:
                for name in missing:
                    found[name] = _read_kept(state_dir / name)
                    if not found[name]:
                        found[name] = MAKERS[name]()
                        _keep(state_dir / name, found[name])
                        generated.add(name)
                if generated:
                    os.fsync(directory)  # or a power cut could take the new names away
        except OSError as error:
            raise ConfigError(
                f"{error.filename or state_dir}: {error.strerror}: secrets cannot be kept; let server.state_dir name a "
                f"directory that castd may write, or configure {', '.join(f'auth.{name}' for name in missing)}"
            ) from None
    return Secrets(**found, generated=frozenset(generated))


def verify(given: str | bytes, expected: str) -> bool:
    """Whether a client knows a secret, in a time that tells nothing about it.

    Args:
        given: by the client; any characters or bytes.
        expected: the secret; "" is known to nobody.
    """
    data = _encode(given)
    # Digests are of equal length, so the comparison does not tell the length of the secret either.
    same = hmac.compare_digest(sha256(data).digest(), sha256(_encode(expected)).digest())
    return same and data != b"" and data.lower().decode("latin-1") not in WELL_KNOWN_PASSWORDS


def _encode(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


@contextmanager
def locked(directory: Path) -> Iterator[int]:
    """Make a directory if need be and have it alone among the processes that do likewise; yields its descriptor."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)  # and with it the lock


def _read_kept(path: Path) -> str:
    """A kept secret, "" if there is none.

    Raises:
        ConfigError: another user may have written or read it.
    """
    try:
        # Another user's link must not have castd read, or tighten, a file of that user's choice; nor a FIFO wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return ""
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
            raise ConfigError(f"{path}: must be a file of castd's own user; remove it to have a new secret generated")
        if status.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
            log.warning("%s could be read by other users; its mode is 0600 now; if in doubt, remove it", path)
        text = file.read(4096).decode("utf-8", "replace").rstrip("\r\n")
    if not SECRET.holds(text):
        raise ConfigError(f"{path}: must hold {SECRET.allowed}; remove it to have a new one generated")
    return text


def _keep(path: Path, secret: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)  # left by a crash: whoever is not crashed waits for the lock
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(f"{secret}\n")
        file.flush()
        os.fsync(descriptor)
    new.replace(path)

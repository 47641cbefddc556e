"""From root to an ordinary user, for good: started as root, castd needs it only until its ports are open.

What comes before that (secrets in state_dir) is already done as that user, so that it finds its own files next time.
"""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from castd.errors import ConfigError

log = logging.getLogger(__name__)

ROOT = 0


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine.

    Attributes:
        groups: all its groups, gid included.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def account(name: str) -> Account | None:
    """Whom to become.

    Args:
        name: config server.user.

    Returns:
        The user; None: stay who we are, because no user is configured or we are not root.

    Raises:
        ConfigError: there is no such user, or it is root.
    """
    if os.geteuid() != ROOT or not name:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f'server.user = "{name}": this machine has no such user') from None
    if entry.pw_uid == ROOT:
        raise ConfigError(f'server.user = "{name}": is root; name another, or nobody at all to stay root')
    return Account(name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


def warn(name: str) -> None:
    """Say in the log where who we are is not what it should be.

    Args:
        name: config server.user.
    """
    if os.geteuid() == ROOT and not name:
        log.warning(
            "running as root, which castd never needs: let server.user name whom to become once the ports are open; or "
            "start as that user, with CAP_NET_BIND_SERVICE for ports below 1024"
        )
    elif os.geteuid() not in (ROOT, _uid(name)):
        log.warning('server.user = "%s": only root can become another user; staying user %d', name, os.geteuid())


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return os.geteuid() if not name else -1


def own(directory: Path, user: Account) -> None:
    """Make the state directory the user's, if there is none yet.

    One that exists is left as it is: handing over what others may have put in there is how root is tricked into handing
    over something else.

    Raises:
        ConfigError: it belongs to somebody else, or cannot be made.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            owner = directory.stat().st_uid
        else:
            os.chown(directory, user.uid, user.gid, follow_symlinks=False)
            owner = user.uid
    except OSError as error:
        raise ConfigError(f"{error.filename or directory}: {error.strerror}") from None
    if owner != user.uid:
        raise ConfigError(
            f'{directory}: does not belong to server.user = "{user.name}"; chown -R {user.name}: {directory}'
        )


@contextmanager
def acting_as(user: Account | None) -> Iterator[None]:
    """Be the user for a while, root again afterwards; None changes nothing.

    Raises:
        ConfigError: the system does not let us, or the user could not run castd.
    """
    if user is None:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    with _refusals_told(user):
        os.setgroups(user.groups)
        os.setegid(user.gid)
        os.seteuid(user.uid)
    try:
        _check_installation(user)
        yield
    finally:
        os.seteuid(ROOT)
        os.setegid(gid)
        os.setgroups(groups)


def become(user: Account | None) -> None:
    """Be the user from now on, in every thread, with its groups and without capabilities; None changes nothing.

    Raises:
        ConfigError: the system does not let us, or would let us go back.
    """
    if user is None:
        return
    with _refusals_told(user):
        os.setgroups(user.groups)  # first: it takes root, as all that follow do
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    if _can_return():
        raise ConfigError(f'server.user = "{user.name}": the system would let castd be root again; not starting so')
    log.info("running as %s from now on", user.name)


def _check_installation(user: Account) -> None:
    """Python imports some modules only when they are needed, which may be after root is gone."""
    for file in (os.__file__, __file__):
        if not os.access(file, os.R_OK, effective_ids=True):
            raise ConfigError(f'server.user = "{user.name}": may not read {file}; install castd where it may')


@contextmanager
def _refusals_told(user: Account) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f'server.user = "{user.name}": cannot become it: {error.strerror}') from None


def _can_return() -> bool:
    try:
        os.setresuid(ROOT, ROOT, ROOT)
    except PermissionError:
        return False
    return True

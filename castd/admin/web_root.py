"""Opening a file below the web root, and nothing else, whatever a path or a link in there says.

First all symbolic links are resolved, and the result must be below the root. By then somebody may have put a link
where a folder was; so the resolved path is walked name by name from the root's descriptor, with O_NOFOLLOW, and a
link on the way is an error. What the file is, is then asked of its descriptor (fstat) and no longer of a name. So
there is no moment at which a change on disk leads out. Links that stay below the root work.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from dataclasses import dataclass

log = logging.getLogger(__name__)

PUBLIC_DOT_NAMES = frozenset({".well-known"})
"""RFC 8615. Other names with a leading dot (.git, .htpasswd) are nobody's business."""

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO would wait for its writer

_ABSENT = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO, errno.ENODEV}
)
"""Nothing there that could be a file: also a socket (ENXIO), a device without a driver."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file, open for reading.

    Attributes:
        descriptor: owned by whoever has this.
        size: in bytes, when it was opened.
        modified_ns: nanoseconds since the epoch.
    """

    descriptor: int
    size: int
    modified_ns: int


def open_below(root: str, path: str) -> OpenFile | None:
    """Open a file for reading; blocks as disks do.

    Args:
        root: the directory; it may itself be a link.
        path: below it, decoded, with a leading slash.

    Returns:
        The file, or None: there is none, it is no regular file, it may not be read, or it is not below the root.

    Raises:
        OSError: it could not be found out: no descriptors left, a broken disk.
    """
    names = path.removeprefix("/").split("/")
    if not _public(names):
        return None
    try:
        top = os.path.realpath(root, strict=True)
        found = os.path.realpath(os.path.join(top, *names), strict=True)
        prefix = top.rstrip("/") + "/"
        names = found.removeprefix(prefix).split("/")
        if not found.startswith(prefix) or not _public(names):
            return None
        return _regular(_walk(top, names))
    except ValueError:  # NUL, or what the file system's encoding does not have
        return None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            log.warning("%s may not be read by castd's user", path)
        elif error.errno not in _ABSENT:
            raise
        return None


def _public(names: list[str]) -> bool:
    return all(name and (not name.startswith(".") or name in PUBLIC_DOT_NAMES) for name in names)


def _walk(top: str, names: list[str]) -> int:
    """The descriptor of a file, reached without following a link."""
    *folders, last = names
    at = os.open(top, _FOLDER)
    try:
        for name in folders:
            inner = os.open(name, _FOLDER, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(last, _FILE, dir_fd=at)
    finally:
        os.close(at)


def _regular(descriptor: int) -> OpenFile | None:
    """What was opened, if it is a regular file; else it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return None
    return OpenFile(descriptor, status.st_size, status.st_mtime_ns)

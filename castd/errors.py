"""What can go wrong, by who is at fault.

A departing listener is none of these: leaving is a result with a reason code (castd.mount.party.Goodbye), not an
error. Anything unforeseen is a bug and shows its traceback, once, at the connection's edge.
"""

from __future__ import annotations

import errno

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""Descriptors or memory: there are none now, and there may be some again."""

RETRY_AFTER = (("Retry-After", "5"),)
"""When whoever found no resources may find some."""


class CastdError(Exception):
    """Root of castd's own errors."""


class ConfigError(CastdError):
    """The operator's configuration cannot be used; the message names file, key, value and a remedy."""


class ClientError(CastdError):
    """The client asked for something it cannot have.

    Args:
        status: HTTP status code of the answer, 400-599.
        reason: one sentence for the client and the log.
        headers: more header fields for the answer, such as WWW-Authenticate or Retry-After.
    """

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class IncompleteBody(ClientError):
    """The client hung up before the end its body had announced: what an encoder does that is stopped."""

    def __init__(self) -> None:
        super().__init__(400, "the body ended before it was complete")


class FramingError(CastdError):
    """The encoder's stream breaks a bound its format sets; the source is dropped with this message."""


def is_of_the_machine(error: BaseException) -> bool:
    """Whether an error tells of a disk, a network or a lack of resources, and of no bug."""
    return isinstance(error, OSError) or lacks_resources(error)


def lacks_resources(error: BaseException) -> bool:
    """Whether an error only says that there is no descriptor, memory or thread left: it costs whoever wanted one, and
    passes. A group of errors does if each of them does."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(lacks_resources, error.exceptions))
    if isinstance(error, OSError):
        return error.errno in EXHAUSTED
    # threading has no error of its own for it
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error))

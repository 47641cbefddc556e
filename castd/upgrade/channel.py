"""Messages with descriptors over a Unix stream socket. It blocks: while processes change places nothing else may
happen.
"""

from __future__ import annotations

import os
import socket
import struct
from array import array
from typing import TypeVar

import msgspec

from castd.upgrade.messages import Message, Refused

DESCRIPTORS = 253
"""The kernel takes no more with one message (SCM_MAX_FD)."""

MESSAGE_BYTES = 256 * 1024 * 1024
"""Longest message: a mount's pictures, or what listeners are owed."""

_INT = array("i").itemsize

_HEAD = struct.Struct("!II")  # bytes of the message, descriptors

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)

Wanted = TypeVar("Wanted", bound=msgspec.Struct)


class ChannelError(Exception):
    """The other process is gone, silent or not understood; the message completes "it ..."."""


class Channel:
    """One end.

    Args:
        sock: connected; owned from now on.
        seconds: how long the other process may take for each step.
    """

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self.patience(seconds)

    def patience(self, seconds: float | None) -> None:
        """Say how long the other process may take for each step; None for any time."""
        self._sock.settimeout(seconds)

    def send(self, message: Message, descriptors: list[int] | None = None) -> None:
        """Tell something.

        Args:
            descriptors: DESCRIPTORS at most; they stay open here.

        Raises:
            ChannelError: it cannot be told.
        """
        descriptors = descriptors or []
        data = _encoder.encode(message)
        try:
            socket.send_fds(self._sock, [_HEAD.pack(len(data), len(descriptors))], descriptors)
            self._sock.sendall(data)
        except OSError as error:
            raise ChannelError(f"was not reached: {error}") from None

    def receive(self, kind: type[Wanted]) -> tuple[Wanted, list[int]]:
        """What comes next, with its descriptors, which are the caller's from now on.

        Args:
            kind: that it must be of; a union will do.

        Raises:
            ChannelError: it does not come, or is something else.
        """
        descriptors: list[int] = []
        try:
            head = b""
            while len(head) < _HEAD.size:
                # socket.recv_fds of Python 3.11 drops its flags: children would inherit everything
                piece, extra, _, _ = self._sock.recvmsg(
                    _HEAD.size - len(head), socket.CMSG_SPACE(DESCRIPTORS * _INT), socket.MSG_CMSG_CLOEXEC
                )
                for level, kind_of, data in extra:
                    if (level, kind_of) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        descriptors += array("i", data[: len(data) // _INT * _INT])
                if not piece:
                    raise ChannelError("hung up")
                head += piece
            size, count = _HEAD.unpack(head)
            if size > MESSAGE_BYTES:
                raise ChannelError("sent too much")
            message = _decoder.decode(self._exactly(size))
            if isinstance(message, Refused):
                raise ChannelError(f"refused: {message.why}")
            if not isinstance(message, kind):
                raise ChannelError(f"sent {type(message).__name__} where {kind} was due")
            if len(descriptors) != count:
                raise ChannelError(f"passed {count} descriptors, of which {len(descriptors)} came")
        except (OSError, msgspec.MsgspecError) as error:
            _close(descriptors)
            raise ChannelError(f"did not answer as it should: {error}") from None
        except ChannelError:
            _close(descriptors)
            raise
        return message, descriptors

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        with memoryview(data) as view:
            at = 0
            while at < size:
                count = self._sock.recv_into(view[at:])
                if not count:
                    raise ChannelError("hung up")
                at += count
        return data

    def close(self) -> None:
        self._sock.close()


def _close(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)

"""A stream that comes as many requests: GStreamer's souphttpclientsink.

It sends one PUT a buffer, each with its Content-Length, from the second on with `Content-Range: bytes 3386-4304/*`, and
waits for each reply (recorded: encoder-gst-souphttp); whether the next comes on the same connection is the client's
choice, and libsoup 3 opens a new one. It never sends credentials, so it is taken for what it is by the stream key in
its URL; see `stream_key` in castd.toml.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import trio

from castd.access.authorise import STREAM_KEY_USER
from castd.errors import ClientError
from castd.http.connection import CONTINUE

if TYPE_CHECKING:
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request

log = logging.getLogger(__name__)

_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\*|\d{1,18})")  # RFC 9110 §14.4


def is_batch(exchange: Exchange) -> bool:
    """Is this a part of a stream, and not one by itself?"""
    request = exchange.request
    return request.has_body and "content-length" in request.headers and exchange.user == STREAM_KEY_USER


def begins_at(request: Request) -> int:
    """The place of a batch's first byte in its stream; 0 where nothing is said."""
    match = _RANGE.fullmatch(request.header("content-range"))
    return int(match[1]) if match else 0


class Batches:
    """The bodies of one encoder's requests, end to end.

    Args:
        start: place of the first byte; not 0 where an encoder goes on that castd, restarted, knows nothing of.
    """

    def __init__(self, current: Current, start: int) -> None:
        self._current = current
        self._next = start
        self._put, self._get = trio.open_memory_channel[bytes](0)

    async def receive(self) -> bytes:
        """See castd.ingest.session.Session. The end is when nothing comes any more."""
        return await self._get.receive()

    async def add(self, exchange: Exchange) -> None:
        """Take one request's body; bytes that came before are left out.

        Raises:
            ClientError: 408: it does not come; 409: the source has ended meanwhile.
        """
        request, start = exchange.request, begins_at(exchange.request)
        if request.expects_continue:
            await exchange.stream.send_all(CONTINUE)
        if start > self._next:
            log.info("%s: a batch begins at byte %d, %d was expected", request.path, start, self._next)
            self._next = start
        while data := await self._body(exchange):
            fresh = data[max(0, self._next - start) :]
            start += len(data)
            if fresh:
                self._next = start
                try:
                    await self._put.send(fresh)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    raise ClientError(409, "the source has ended; begin again") from None

    async def serve(self, exchange: Exchange) -> None:
        """Take the first body, and those that follow on the same connection."""
        following: Exchange | None = exchange
        first = exchange.request
        while following is not None:
            request = following.request
            if (request.method, request.path, request.query) != (first.method, first.path, first.query):
                log.warning("%s: its encoder's connection brought another request and was closed", first.path)
                return
            await self.add(following)
            following = await following.follow()

    async def _body(self, exchange: Exchange) -> bytes:
        try:
            with trio.fail_after(self._current.config.limits.source_timeout_seconds):
                return await exchange.body.receive()
        except trio.TooSlowError:
            raise ClientError(408, "the body did not come in time") from None

    def close(self) -> None:
        """The source has ended."""
        self._get.close()
        self._put.close()

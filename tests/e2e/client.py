"""A listener and an HTTP client that keep every byte: plain TCP, HTTP/1.0, nothing interpreted on the way."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import trio

Credentials = tuple[str, str]


@dataclass(slots=True)
class Reply:
    """A reply; header names in lower case, `body` as far as it was received."""

    status: int
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)


class Listener:
    """One request whose reply goes on for as long as we listen.

    Args:
        url: http://host:port/mount.
        icy: ask for titles in the stream.
        credentials: user and password of Basic authentication.
        local_address: to connect from, one of loopback's; by default 127.0.0.1.
    """

    def __init__(
        self, url: str, *, icy: bool = False, credentials: Credentials | None = None, local_address: str | None = None
    ) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 80
        target = f"{address.path or '/'}?{address.query}" if address.query else address.path or "/"
        lines = [f"GET {target} HTTP/1.0", f"Host: {address.netloc}", "User-Agent: castd-tests"]
        if icy:
            lines.append("Icy-MetaData: 1")
        if credentials:
            lines.append("Authorization: Basic " + base64.b64encode(":".join(credentials).encode()).decode())
        self._local_address = local_address
        self._request = "\r\n".join([*lines, "", ""]).encode()

    async def __aenter__(self) -> Self:
        """Connect, ask, and read the head of the reply."""
        self._stream = await trio.open_tcp_stream(self._host, self._port, local_address=self._local_address)
        try:
            await self._stream.send_all(self._request)
            received = bytearray()
            while b"\r\n\r\n" not in received:
                data = await self._stream.receive_some(65536)
                assert data, f"the connection ended within the head: {bytes(received)!r}"
                received += data
        except BaseException:
            await trio.aclose_forcefully(self._stream)
            raise
        head, _, body = received.partition(b"\r\n\r\n")
        first, *rest = head.decode("utf-8", "replace").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        self.reply = Reply(int(first.split()[1]), headers, bytearray(body))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await trio.aclose_forcefully(self._stream)

    async def listen(self, seconds: float = math.inf) -> bytes:
        """Receive until the server ends the reply, or for so long.

        Returns:
            The body, from its first byte.
        """
        with trio.move_on_after(seconds):
            while data := await self._stream.receive_some(65536):
                self.reply.body += data
        return bytes(self.reply.body)

    def titles(self) -> list[str]:
        """The titles in the stream so far, one for each block that holds any."""
        return self._separated()[1]

    def audio(self) -> bytes:
        """The stream so far without what belongs to the titles."""
        return self._separated()[0]

    def _separated(self) -> tuple[bytes, list[str]]:
        assert "icy-metaint" in self.reply.headers, f"no titles in this stream: {self.reply.headers}"
        interval_bytes = int(self.reply.headers["icy-metaint"])
        body, audio, titles, at = bytes(self.reply.body), bytearray(), list[str](), 0
        while at < len(body):
            audio += body[at : at + interval_bytes]
            at += interval_bytes
            length = body[at] * 16 if at < len(body) else 0
            block = body[at + 1 : at + 1 + length].rstrip(b"\0").decode("utf-8", "replace")
            if block and at + 1 + length <= len(body):
                titles.append(block.partition("StreamTitle='")[2].partition("';")[0])
            at += 1 + length
        return bytes(audio), titles


async def get(url: str, credentials: Credentials | None = None) -> Reply:
    """Fetch a page."""
    with trio.fail_after(10):
        async with Listener(url, credentials=credentials) as listener:
            await listener.listen()
            return listener.reply

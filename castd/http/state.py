"""What of requests and their bodies another process needs to go on with a connection."""

from __future__ import annotations

import msgspec

from castd.http.messages import Request, parse_query


class RequestState(msgspec.Struct):
    """Of a request that is being answered: what its line in access.log will say."""

    method: str
    path: str
    raw_query: str
    version: str
    address: str
    local: str
    fields: dict[str, str]

    @classmethod
    def of(cls, request: Request) -> RequestState:
        fields = {name: request.header(name) for name in ("user-agent", "referer")}
        return cls(
            request.method, request.path, request.raw_query, request.version, request.address, request.local, fields
        )

    @property
    def request(self) -> Request:
        return Request(
            self.method, self.path, parse_query(self.raw_query), self.fields, self.version, self.address, self.local,
            raw_query=self.raw_query,
        )  # fmt: skip


class BodyState(msgspec.Struct):
    """Of a body that is being received.

    Attributes:
        rest: what was read of a raw one, and not taken yet.
        parser: h11's, pickled; b"" for a raw body.
        ended: nothing follows.
    """

    rest: bytes
    parser: bytes
    ended: bool

"""Past visits over the API: /api/v1/admin/sessions."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from castd.api import shapes
from castd.api.describe import rfc3339
from castd.api.operation import answer, describes, read_query
from castd.errors import ClientError
from castd.log import warn_rarely
from castd.mount.party import Goodbye
from castd.stats.database import Wanted
from castd.stats.explain import explain
from castd.stats.visits import Kind

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.messages import Response
    from castd.http.routes import Call
    from castd.stats.records import Records
    from castd.stats.visits import Visit

LIMIT, MOST = 100, 1000
"""Visits in one answer, unless told otherwise, and at most."""

Number = Annotated[int, Meta(ge=1, lt=10**16)]


class VisitsQuery(Struct, kw_only=True):
    """Which visits."""

    mount: str = ""
    kind: Kind | None = None
    reason: Goodbye | None = None
    limit: Annotated[Number, Meta(description=f"{MOST} at most")] = LIMIT
    before: Annotated[Number, Meta(description="only those that ended before this one")] | None = None


class Visits:
    """The handler of visits."""

    def __init__(self, records: Records) -> None:
        self._records = records

    @describes("Who has gone, and why", answer=shapes.Visits, query=VisitsQuery, errors=(400, 503))
    async def list(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/sessions[?mount=&kind=&reason=&limit=&before=]: those that ended last first.

        Raises:
            ClientError: 400: an argument that can find nothing; 503: the disk cannot be read.
        """
        query = read_query(exchange.request, VisitsQuery)
        wanted = Wanted(
            mount=call.mount,
            kind=query.kind or "",
            reason=query.reason.value if query.reason else "",
            limit=min(MOST, query.limit),
            before=query.before,
        )
        try:
            visits = await self._records.visits(wanted)
        except sqlite3.Error as error:
            warn_rarely(f"past visits cannot be read: {error}")
            raise ClientError(503, "past visits cannot be read now; the log says why") from None
        more = visits[-1].id if len(visits) == wanted.limit else None
        return answer({"sessions": [_session(visit) for visit in visits], "next_before": more})


def _session(visit: Visit) -> dict[str, Any]:
    return {
        **asdict(visit),
        "started": rfc3339(visit.started),
        "ended": rfc3339(visit.ended),
        "explained": explain(visit),
    }

"""Past visits over the API: /api/v1/admin/sessions."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

from castd.admin.api import rfc3339
from castd.errors import ClientError
from castd.http.messages import Response, json_response
from castd.log import warn_rarely
from castd.mount.party import Goodbye
from castd.stats.database import Wanted
from castd.stats.explain import explain
from castd.stats.visits import Kind
from castd.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Collection

    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.stats.records import Records
    from castd.stats.visits import Visit

LIMIT, MOST = 100, 1000
"""Visits in one answer, unless told otherwise, and at most."""

NUMBER = re.compile(r"[1-9][0-9]{0,15}")


class Sessions:
    """The handler of visits."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def list(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/sessions[?mount=&kind=&reason=&limit=&before=]: those that ended last first.

        Raises:
            ClientError: 400: an argument that can find nothing; 503: the disk cannot be read.
        """
        request = exchange.request
        wanted = Wanted(
            mount=call.mount,
            kind=_word(request, "kind", get_args(Kind)),
            reason=_word(request, "reason", [each.value for each in Goodbye]),
            limit=min(MOST, _number(request, "limit") or LIMIT),
            before=_number(request, "before"),
        )
        try:
            visits = await self._records.visits(wanted)
        except sqlite3.Error as error:
            warn_rarely(f"past visits cannot be read: {error}")
            raise ClientError(503, "past visits cannot be read now; the log says why") from None
        more = visits[-1].id if len(visits) == wanted.limit else None
        return json_response({"sessions": [_session(visit) for visit in visits], "next_before": more})


def _session(visit: Visit) -> dict[str, Any]:
    return {
        **asdict(visit),
        "started": rfc3339(visit.started),
        "ended": rfc3339(visit.ended),
        "explained": explain(visit),
    }


def _word(request: Request, name: str, known: Collection[str]) -> str:
    word = request.argument(name) or ""
    if word and word not in known:
        raise ClientError(400, f"{name}={one_line(word, 40)}: must be one of {', '.join(known)}")
    return word


def _number(request: Request, name: str) -> int | None:
    text = request.argument(name)
    if not text:
        return None
    if not NUMBER.fullmatch(text):
        raise ClientError(400, f"{name} must be a whole number from 1 on")
    return int(text)

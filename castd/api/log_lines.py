"""The end of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from castd.api import shapes
from castd.api.operation import answer, describes, read_query
from castd.log_tail import KEPT
from castd.stats.events import rfc3339

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.messages import Response
    from castd.http.routes import Call
    from castd.log_tail import LogTail

LEVELS = ("debug", "info", "warning", "error", "critical")


class LogQuery(Struct, kw_only=True):
    """Which lines."""

    after: Annotated[int, Meta(ge=0, lt=10**16, description="`last` of the answer before")] = 0
    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="or above")] = "info"
    limit: Annotated[int, Meta(ge=1, le=KEPT)] = 200


class LogLines:
    """Its handler."""

    def __init__(self, tail: LogTail) -> None:
        self._tail = tail

    @describes("The end of the log", answer=shapes.LogTail, query=LogQuery, errors=(400,))
    async def list(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/log[?after=&level=&limit=]."""
        query = read_query(exchange.request, LogQuery)
        wanted = LEVELS[LEVELS.index(query.level) :]
        lines = list(self._tail.lines)
        last = lines[-1].id if lines else 0
        found = [each for each in lines if each.level in wanted and (each.id > query.after or query.after > last)]
        shown = [
            shapes.LogLine(
                id=each.id, time=rfc3339(each.time), level=each.level, logger=each.logger, message=each.message
            )
            for each in found[-query.limit :]
        ]
        return answer(shapes.LogTail(lines=shown, last=last))

"""The configuration by API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from castd.api import shapes
from castd.api.operation import answer, describes, read_query
from castd.errors import ClientError, ConfigError

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.messages import Response
    from castd.http.routes import Call
    from castd.reload import Reloader


class ReloadQuery(Struct, kw_only=True):
    """Whether to do it."""

    trial: bool = False


class Settings:
    """Its handlers."""

    def __init__(self, reloader: Reloader) -> None:
        self._reloader = reloader

    @describes("Read the configuration again", answer=shapes.Reloaded, query=ReloadQuery, errors=(400, 409))
    async def reload(self, exchange: Exchange, call: Call) -> Response:
        """POST /api/v1/admin/reload, with ?trial=1 only to see what would change.

        Raises:
            ClientError: 409: the file cannot be used; each line of the reason is one mistake.
        """
        request = exchange.request
        trial = read_query(request, ReloadQuery).trial
        try:
            outcome = await self._reloader.reload(f"{call.user} from {request.address}", trial=trial)
        except ConfigError as error:
            raise ClientError(409, str(error)) from None
        return answer(outcome)

"""The configuration by API."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from castd.admin.icecast_answers import answer
from castd.errors import ClientError, ConfigError
from castd.http.messages import Response, json_response

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.routes import Call
    from castd.reload import Reloader


class Settings:
    """Its handlers."""

    def __init__(self, reloader: Reloader) -> None:
        self._reloader = reloader

    async def reload(self, exchange: Exchange, call: Call) -> Response:
        """POST /api/v1/admin/reload, with ?trial=1 only to see what would change.

        Raises:
            ClientError: 409: the file cannot be used; each line of the reason is one mistake.
        """
        request = exchange.request
        trial = request.query.get("trial") in (b"1", b"true")
        try:
            outcome = await self._reloader.reload(f"{call.user} from {request.address}", trial=trial)
        except ConfigError as error:
            raise ClientError(409, str(error)) from None
        return json_response(asdict(outcome))

    async def reload_as_icecast(self, exchange: Exchange, call: Call) -> Response:
        """GET or POST /admin/reloadconfig: the same, with an answer in Icecast's form."""
        try:
            await self._reloader.reload(f"{call.user} from {exchange.request.address}")
        except ConfigError as error:
            return answer(f"Config not reloaded: {error}", success=False)
        return answer("Config reloaded")

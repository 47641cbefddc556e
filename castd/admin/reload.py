"""Icecast's command that has the configuration read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd.admin.icecast_answers import answer
from castd.errors import ConfigError

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.messages import Response
    from castd.http.routes import Call
    from castd.reload import Reloader


class ReloadCommand:
    """Its handler."""

    def __init__(self, reloader: Reloader) -> None:
        self._reloader = reloader

    async def reload(self, exchange: Exchange, call: Call) -> Response:
        """GET or POST /admin/reloadconfig."""
        try:
            await self._reloader.reload(f"{call.user} from {exchange.request.address}")
        except ConfigError as error:
            return answer(f"Config not reloaded: {error}", success=False)
        return answer("Config reloaded")

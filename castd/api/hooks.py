"""How the hooks are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd.api import shapes
from castd.api.operation import answer, describes

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.messages import Response
    from castd.http.routes import Call
    from castd.stats.hooks import Hooks


class HookStates:
    """Its handler."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    @describes("How the hooks are", answer=shapes.Hooks)
    async def list(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/hooks: each [[hooks]] in the order of the configuration."""
        return answer({"hooks": await self._hooks.state()})

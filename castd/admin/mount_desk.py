"""Moves and fallbacks by API; castd.admin.mounts has Icecast's commands for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd.admin.api import find_mount, read_fields
from castd.delivery.moves import Misfit, move_listeners
from castd.errors import ClientError
from castd.http.messages import Response, json_response
from castd.ingest.fallback import Circle

if TYPE_CHECKING:
    from castd.delivery.pump import Pump
    from castd.http.connection import Exchange
    from castd.http.routes import Call
    from castd.ingest.fallback import Fallbacks
    from castd.mount.registry import Registry


class MountDesk:
    """Its handlers."""

    def __init__(self, registry: Registry, pump: Pump, fallbacks: Fallbacks) -> None:
        self._registry = registry
        self._pump = pump
        self._fallbacks = fallbacks

    async def move(self, exchange: Exchange, call: Call) -> Response:
        """POST /api/v1/admin/mounts/{name}/move: {"to": "/other"}: its listeners go on with another mount.

        Raises:
            ClientError: 404: one of them is not there; 409: players could not go on with it; 400.
        """
        here = find_mount(self._registry, call.mount)
        to = find_mount(self._registry, read_fields(await exchange.read_small_body(), ("to",))["to"])
        if to is here:
            raise ClientError(400, "they are there already")
        try:
            moved = await move_listeners(self._pump, here, to, call.user)
        except Misfit as error:
            raise ClientError(409, str(error)) from None
        return json_response({"mount": here.name, "to": to.name, "moved": moved})

    async def set_fallback(self, exchange: Exchange, call: Call) -> Response:
        """POST /api/v1/admin/mounts/{name}/fallback: {"fallback": "/other"}, "" for none, until the mount closes.

        Raises:
            ClientError: 404; 409: that one leads back to this one; 400.
        """
        mount = find_mount(self._registry, call.mount)
        fallback = read_fields(await exchange.read_small_body(), ("fallback",))["fallback"]
        if fallback and not fallback.startswith("/"):
            raise ClientError(400, "fallback must be the name of a mount, or empty")
        try:
            self._fallbacks.choose(mount, fallback, call.user)
        except Circle as error:
            raise ClientError(409, str(error)) from None
        return json_response({"mount": mount.name, "fallback": fallback})

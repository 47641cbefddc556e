"""Moves and fallbacks by API; castd.admin.mounts has Icecast's commands for the same."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from castd.admin.api import read_fields
from castd.delivery.moves import Misfit, move_listeners
from castd.errors import ClientError
from castd.http.messages import Response, json_response

if TYPE_CHECKING:
    from castd.delivery.pump import Pump
    from castd.http.connection import Exchange
    from castd.http.routes import Call
    from castd.ingest.fallback import Fallbacks
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry

log = logging.getLogger(__name__)


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
        here = self._mount(call.mount)
        to = self._mount(read_fields(await exchange.read_small_body(), ("to",))["to"])
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
        mount = self._mount(call.mount)
        fallback = read_fields(await exchange.read_small_body(), ("fallback",))["fallback"]
        if fallback and not fallback.startswith("/"):
            raise ClientError(400, "fallback must be the name of a mount, or empty")
        if self._fallbacks.leads_to(fallback, mount.name):
            raise ClientError(409, f"{fallback} leads back to {mount.name}")
        mount.chosen_fallback = fallback
        self._fallbacks.settle_all()
        log.warning("%s: its fallback is %s, by %s", mount.name, fallback or "none", call.user)
        return json_response({"mount": mount.name, "fallback": fallback})

    def _mount(self, name: str) -> Mount:
        mount = self._registry.get(name)
        if mount is None:
            raise ClientError(404, "no such mount")
        return mount

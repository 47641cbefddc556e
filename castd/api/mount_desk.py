"""Moves and fallbacks by API; castd.admin.mounts has Icecast's commands for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from castd.api import shapes
from castd.api.describe import find_mount
from castd.api.operation import answer, describes, read_body
from castd.delivery.moves import Misfit, move_listeners
from castd.errors import ClientError
from castd.ingest.fallback import Circle
from castd.wire.text import one_line

if TYPE_CHECKING:
    from castd.delivery.pump import Pump
    from castd.http.connection import Exchange
    from castd.http.messages import Response
    from castd.http.routes import Call
    from castd.ingest.fallback import Fallbacks
    from castd.mount.registry import Registry


class MoveBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Where to."""

    to: str


class FallbackBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What stands in: the name of a mount, "" for nothing."""

    fallback: str


class MountDesk:
    """Its handlers."""

    def __init__(self, registry: Registry, pump: Pump, fallbacks: Fallbacks) -> None:
        self._registry = registry
        self._pump = pump
        self._fallbacks = fallbacks

    @describes(
        "Have the listeners go on with another mount", answer=shapes.Moved, body=MoveBody, errors=(400, 404, 409, 413)
    )
    async def move(self, exchange: Exchange, call: Call) -> Response:
        """POST /api/v1/admin/mounts/{name}/move: {"to": "/other"}: its listeners go on with another mount.

        Raises:
            ClientError: 404: one of them is not there; 409: players could not go on with it; 400.
        """
        here = find_mount(self._registry, call.mount)
        to = find_mount(self._registry, (await read_body(exchange, MoveBody)).to)
        if not call.grant.covers(to.name):
            raise ClientError(403, f"this token is not for {to.name}")
        if to is here:
            raise ClientError(400, "they are there already")
        try:
            moved = await move_listeners(self._pump, here, to, call.user)
        except Misfit as error:
            raise ClientError(409, str(error)) from None
        return answer(shapes.Moved(mount=here.name, to=to.name, moved=moved))

    @describes("Choose what stands in", answer=shapes.Fallback, body=FallbackBody, errors=(400, 404, 409, 413))
    async def set_fallback(self, exchange: Exchange, call: Call) -> Response:
        """POST /api/v1/admin/mounts/{name}/fallback: {"fallback": "/other"}, "" for none, until the mount closes.

        Raises:
            ClientError: 404; 409: that one leads back to this one; 403: it may be one that only some may hear; 400.
        """
        mount = find_mount(self._registry, call.mount)
        fallback = (await read_body(exchange, FallbackBody)).fallback
        if fallback and not fallback.startswith("/"):
            raise ClientError(400, "fallback must be the name of a mount, or empty")
        if fallback and not call.grant.covers(fallback):
            raise ClientError(403, f"this token is not for {one_line(fallback)}")
        try:
            self._fallbacks.choose(mount, fallback, call.user)
        except Circle as error:
            raise ClientError(409, str(error)) from None
        return answer(shapes.Fallback(mount=mount.name, fallback=fallback))

"""Bans and limits by API."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal

import trio
from msgspec import Meta, Struct

from castd import descriptors
from castd.access.bans import Ban, as_json
from castd.api import shapes
from castd.api.operation import answer, describes, read_body
from castd.delivery.room import Room, audience_mbit
from castd.errors import ClientError
from castd.mount.party import Goodbye
from castd.stats.events import rfc3339
from castd.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from castd.access.admission import Admission
    from castd.access.bans import Bans
    from castd.adaptive.sessions import Sessions
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Response
    from castd.http.routes import Call
    from castd.mount.party import Listener, Source
    from castd.mount.registry import Registry

log = logging.getLogger(__name__)

Text = Annotated[str, Meta(max_length=256)]

MOST_SECONDS = 1e10
"""300 years."""


class BanBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Whom to ban: by `address` or by `agent`."""

    address: Annotated[Text, Meta(description="an address, or a network such as 192.0.2.0/24")] = ""
    agent: Annotated[Text, Meta(description="a glob of User-Agents, such as *bot*")] = ""
    scope: Literal["all", "listeners", "sources"] = "all"
    reason: Annotated[str, Meta(max_length=200)] = ""
    seconds: Annotated[
        Annotated[float, Meta(gt=0, le=MOST_SECONDS)] | None, Meta(description="null for a ban without end")
    ] = None
    kick: Annotated[bool, Meta(description="those who are here, too")] = False


class BanDesk:
    """The handlers of bans."""

    def __init__(self, bans: Bans, registry: Registry) -> None:
        self._bans = bans
        self._registry = registry

    @describes("All bans, those made here first", answer=shapes.Bans)
    async def list(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/bans."""
        return answer({"bans": [as_json(ban, rfc3339) for ban in self._bans.all]})

    @describes("Ban somebody", answer=shapes.MadeBan, body=BanBody, status=201, errors=(400, 413, 503))
    async def add(self, exchange: Exchange, call: Call) -> Response:
        """POST /api/v1/admin/bans: "address" or "agent"; "scope", "reason", "seconds", "kick".

        Raises:
            ClientError: 400: not a ban; 503: it is in force, but cannot be kept.
        """
        body = await read_body(exchange, BanBody)
        address, agent = body.address.strip(), one_line(body.agent)
        if bool(address) == bool(agent):
            raise ClientError(400, 'either "address" or "agent" must say who is banned')
        wall, seconds = self._registry.clock.wall(), body.seconds
        ban = self._bans.add(
            Ban(
                id=0,
                address=address,
                agent=agent,
                scope=body.scope,
                reason=one_line(body.reason),
                expires=None if seconds is None else wall + seconds,
                by=call.user,
            )
        )
        log.warning("%s banned by %s from %s (%s): %s", ban.address or ban.agent, call.user, exchange.request.address,
                    ban.scope, ban.reason or "no reason given")  # fmt: skip
        kicked = self._kick(ban, call.user) if body.kick else 0
        await self._save()
        return answer(as_json(ban, rfc3339) | {"kicked": kicked}, 201)

    @describes("Lift a ban", answer=shapes.Ban, errors=(404, 409, 503))
    async def remove(self, exchange: Exchange, call: Call) -> Response:
        """DELETE /api/v1/admin/bans/{id}."""
        given = call.parameters["id"]
        ban = self._bans.remove(int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0)
        log.warning("%s is no longer banned, by %s", ban.address or ban.agent, call.user)
        await self._save()
        return answer(as_json(ban, rfc3339))

    async def _save(self) -> None:
        try:
            await self._bans.save()
        except OSError as error:
            raise ClientError(503, f"in force, but not kept over a restart yet: {error.strerror}") from None

    def _kick(self, ban: Ban, by: str) -> int:
        """End those who are here and would be refused now."""
        gone = 0
        for party, scope in list(self._parties()):
            if ban.scope in ("all", scope) and self._bans.refusal(party.address, party.agent, scope):
                party.end(Goodbye.KICKED, by)
                gone += 1
        return gone

    def _parties(self) -> Iterator[tuple[Listener | Source, Any]]:
        for mount in self._registry.mounts.values():
            for listener in mount.listeners.values():
                yield listener, "listeners"
            for source in mount.sources:
                yield source, "sources"


class LimitDesk:
    """How close everything is to its limit."""

    def __init__(
        self,
        current: Current,
        registry: Registry,
        admission: Admission,
        sessions: Sessions,
        followers: Callable[[], int],
    ) -> None:
        self._followers = followers
        self._sessions = sessions
        self._current = current
        self._registry = registry
        self._admission = admission

    @describes("How close everything is to its limit", answer=shapes.Limits)
    async def list(self, exchange: Exchange, call: Call) -> Response:
        """GET /api/v1/admin/limits: each key with its value, 0 for none, and how much of it is used now."""
        limits, registry, admission = self._current.config.limits, self._registry, self._admission
        room = Room(self._current, registry)
        fullest = max(admission.open.fullest()[1], admission.audience.fullest()[1])
        new = admission.arrivals.fullest(limits.max_new_connections_per_minute, trio.current_time())[1]
        rows: list[tuple[str, float, float, str]] = [
            ("limits.max_listeners", limits.max_listeners, registry.listeners, ""),
            ("limits.max_sources", limits.max_sources, registry.sources, ""),
            ("limits.max_bandwidth_mbit", limits.max_bandwidth_mbit, round(room.used_mbit, 3), ""),
            ("limits.max_event_streams", limits.max_event_streams, self._followers(), ""),
            ("limits.max_unread_heads", limits.max_unread_heads, len(admission.waiting), ""),
            ("limits.max_connections_per_address", limits.max_connections_per_address, fullest, ""),
            ("limits.max_sessions_per_address", limits.max_sessions_per_address, self._sessions.fullest, ""),
            ("limits.max_new_connections_per_minute", limits.max_new_connections_per_minute, new, ""),
            (descriptors.LIMIT, descriptors.limit(), descriptors.in_use(), ""),
        ]
        for mount in sorted(registry.mounts.values(), key=lambda each: each.name):
            settings = mount.settings
            rows += [
                ("mounts.max_listeners", settings.max_listeners, len(mount.listeners), mount.name),
                ("mounts.max_bandwidth_mbit", settings.max_bandwidth_mbit, round(audience_mbit(mount), 3), mount.name),
            ]
        told = [{"limit": key, "mount": name, "value": value, "used": used} for key, value, used, name in rows]
        return answer({"limits": told})

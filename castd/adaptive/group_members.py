"""Which of a group's mounts a player may have now: for the first answers of castd.adaptive.groups."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import trio

from castd.adaptive import playlists
from castd.errors import ClientError
from castd.http.messages import ANY_ORIGIN
from castd.http.routes import PUBLIC
from castd.segments.segmenters import is_away

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from castd.adaptive.outputs import Outputs
    from castd.config import Current
    from castd.http.messages import Request
    from castd.http.routes import Grant
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.segments.segmenter import Segmenter
    from castd.segments.segmenters import Segmenters

log = logging.getLogger(__name__)

BEGIN_BITS = 160_000
"""Bit/s that a player may begin with: the most that nearly every network carries. It goes up by itself."""


ALIKE_BITS = 8000
"""Of mounts whose bitrates differ by less, the one that stands first in the configuration goes first."""


PERSONAL = (401, 403, 429)
"""Statuses that are about who asks."""

LATE_SECONDS = 30.0
"""For which nobody waits again for a mount that somebody has waited for in vain, as long as there is another one."""

SLOW_SECONDS = 1.0
"""Shorter waits do no harm."""


class Member(NamedTuple):
    """A mount of a group that a player may listen to now."""

    mount: Mount
    segmenter: Segmenter
    grant: Grant = PUBLIC


class Members:
    """Finds them.

    Args:
        summon: has a mount that is pulled on demand pulled, and says whether it is there.
        may_listen: what a request is granted at a mount; raises ClientError.
    """

    def __init__(
        self,
        current: Current,
        registry: Registry,
        outputs: Outputs,
        segmenters: Segmenters,
        summon: Callable[[str], Awaitable[bool]],
        may_listen: Callable[[Request, str], Awaitable[Grant]],
    ) -> None:
        self._current = current
        self._registry = registry
        self._outputs = outputs
        self._segmenters = segmenters
        self._summon = summon
        self._may_listen = may_listen
        self._told: dict[str, str] = {}  # what was left out of each group
        self._late: dict[str, float] = {}  # until when nobody waits for a mount

    def names(self, group: str) -> tuple[str, ...]:
        """Of all mounts of a group, as it is configured."""
        found = self._current.config.groups.get(group)
        return found.mounts if found is not None else ()

    def ready(self, names: Sequence[str]) -> list[Member]:
        """Those of some mounts that a manifest is made of: whose segments go on; if there are none, whose may."""
        found = []
        for name in names:
            mount = self._registry.get(name)
            segmenter = self._segmenters.find(mount) if mount is not None and mount.settings.hls else None
            if mount is not None and segmenter is not None and segmenter.ready and _kind_of(segmenter) == "m4s":
                found.append(Member(mount, segmenter))
        return [each for each in found if not is_away(each.mount)] or found

    async def admit(self, request: Request, names: Sequence[str]) -> bool:
        """Whether a request may have all of some mounts, by what it shows itself."""
        for name in names:
            try:
                (await self._may_listen(request, name)).close()
            except ClientError:
                return False
        return True

    async def gather(self, request: Request, name: str, kind: str = "") -> list[Member]:
        """The mounts of a group that a player may have now, the one to begin with first, all in one kind of container.

        Args:
            kind: of containers; "" for the one that most of them have.

        Raises:
            ClientError: there is none.
        """
        mounts = self.names(name)
        put_off = [mount for mount in mounts if self._is_late(mount) or self._is_away(mount)]
        found = await self._find(request, mounts)
        if put_off and not any(isinstance(each, Member) for each in found.values()):
            found |= await self._find(request, put_off, anyhow=True)
        here = [member for mount in mounts if isinstance(member := found.get(mount), Member)]
        kinds = Counter(_kind_of(each.segmenter) for each in here)
        kind = kind or max(kinds, key=lambda each: (kinds[each], each == "m4s"), default="")
        members = [each for each in here if _kind_of(each.segmenter) == kind]
        errors = {mount: error for mount in mounts if isinstance(error := found.get(mount), ClientError)}
        left = {mount: error.reason for mount, error in errors.items() if error.status not in PERSONAL}
        for each in here:
            if each not in members:
                codec = each.segmenter.listed[-1].period.track.codec.upper()
                left[each.mount.name] = f"{codec} cannot be in it together with the others"
                each.grant.close()
        self._tell(name, kind, left)
        if not members:
            raise _nothing(name, kind if here else "", errors, left)
        return sorted(members, key=_order(members))

    def _is_late(self, name: str) -> bool:
        """Somebody has just waited for a mount in vain."""
        return trio.current_time() < self._late.get(name, 0.0)

    def _is_away(self, name: str) -> bool:
        mount = self._registry.get(name)
        return mount is not None and is_away(mount)

    async def _find(
        self, request: Request, mounts: Sequence[str], *, anyhow: bool = False
    ) -> dict[str, Member | ClientError]:
        """Some mounts for a player, all at once, or why it cannot have them.

        Args:
            anyhow: there is nothing else: also those that are away, and those that others have waited for in vain.
        """
        found: dict[str, Member | ClientError] = {}

        async def find(mount: str) -> None:
            began = trio.current_time()
            try:
                found[mount] = await self._member(request, mount, anyhow=anyhow)
            except ClientError as error:
                found[mount] = error
                if trio.current_time() - began > SLOW_SECONDS and error.status not in PERSONAL:
                    self._late[mount] = trio.current_time() + LATE_SECONDS

        async with trio.open_nursery() as nursery:
            for mount in mounts:
                nursery.start_soon(find, mount)
        return found

    async def _member(self, request: Request, name: str, *, anyhow: bool) -> Member:
        """A mount of a group for a player; see _find.

        Raises:
            ClientError: it cannot have it.
        """
        grant = await self._may_listen(request, name)
        waits = anyhow or not self._is_late(name)
        try:
            mount = self._registry.get(name)
            if mount is None and waits and request.method == "GET" and await self._summon(name):
                mount = self._registry.get(name)
            if mount is None or mount.description is None or (is_away(mount) and not anyhow):
                raise ClientError(404, f"there is no source on {name}")
            self._outputs.require_offered(request, mount)
            if not waits and not self._segmenters.of(mount).ready:
                raise ClientError(503, f"there is no segment of {name} yet")
            return Member(mount, await self._outputs.segmenter(mount), grant)
        except BaseException:
            grant.close()
            raise

    def _tell(self, name: str, kind: str, left: dict[str, str]) -> None:
        """Log what is left out, when that has changed."""
        words = "; ".join(f"{mount}: {why}" for mount, why in left.items())
        if self._told.get(f"{name} {kind}", "") != words:
            self._told[f"{name} {kind}"] = words
            log.info("%s: %s", name, f"without {words}" if words else "all its mounts are there")


def _kind_of(segmenter: Segmenter) -> str:
    return segmenter.muxer.kind if segmenter.muxer is not None else ""


def _order(members: Sequence[Member]) -> Callable[[Member], tuple[bool, int]]:
    """First what a player may begin with, as players begin with the first: the best that is not more than BEGIN_BITS,
    else the least of all. The others follow from the highest bitrate to the lowest."""
    bits = {each.mount: playlists.bandwidths(each.segmenter.listed)[1] // ALIKE_BITS * ALIKE_BITS for each in members}
    begin = max((each for each in bits.values() if each <= BEGIN_BITS), default=min(bits.values(), default=0))
    return lambda member: (bits[member.mount] != begin, -bits[member.mount])


def _nothing(name: str, kind: str, errors: dict[str, ClientError], left: dict[str, str]) -> ClientError:
    """Why nothing of a group can be had; what somebody can do about it goes first.

    Args:
        kind: of containers in which there is nothing, though there is something else.
    """
    for status in (401, 429, 503, 403) if not kind else ():
        if (error := next((each for each in errors.values() if each.status == status), None)) is not None:
            return error
    words = "; ".join(f"{mount}: {why}" for mount, why in left.items())
    return ClientError(404, f"nothing of {name} is there {'for DASH' if kind else 'now'}: {words}", (ANY_ORIGIN,))

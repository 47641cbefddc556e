"""Groups: mounts with one programme in several qualities, between which players change as their network allows.

/radio/hls/index.m3u8        one multivariant playlist; its variants are the playlists of the mounts themselves
/radio/dash/manifest.mpd     one manifest with a representation for each mount
/radio/dash/time             see castd.delivery.dash

Whoever asks has all mounts summoned that are made on demand, as bandwidths are measured and nothing is guessed; as long
as anybody listens to the group, all of them are kept going, so that a player finds what it changes to. A player may
have those mounts that it might listen to by themselves.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import trio

from castd.delivery import group_manifest, playlists
from castd.delivery.dash import MANIFEST
from castd.delivery.hls import FIRST, redirect
from castd.delivery.outputs import NOT_KEPT, SHARED, shared
from castd.delivery.segmenters import is_away
from castd.delivery.sessions import TOKEN, claim_of
from castd.errors import ClientError
from castd.http.links import public_url
from castd.http.messages import ANY_ORIGIN, Response, quote_mount
from castd.http.routes import PUBLIC
from castd.wire import m3u8, mpd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from castd.config import Current
    from castd.delivery.outputs import Outputs
    from castd.delivery.segmenter import Segmenter
    from castd.delivery.segmenters import Segmenters
    from castd.delivery.sessions import Session, Sessions
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call, Grant
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry

log = logging.getLogger(__name__)

SUMMON_SECONDS = 20.0
"""For which the first answer to a plain listener waits for any of a group's mounts."""

BEGIN_BITS = 160_000
"""Bit/s that a player may begin with: the most that nearly every network carries. It goes up by itself."""


ALIKE_BITS = 8000
"""Of mounts whose bitrates differ by less, the one that stands first in the configuration goes first."""


MANIFESTS = 200
"""Kept, of groups and of those of their mounts that somebody may listen to."""


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


class Groups:
    """All of them.

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
        sessions: Sessions,
        summon: Callable[[str], Awaitable[bool]],
        may_listen: Callable[[Request, str], Awaitable[Grant]],
    ) -> None:
        self._current = current
        self._registry = registry
        self._outputs = outputs
        self._segmenters = segmenters
        self._sessions = sessions
        self._summon = summon
        self._may_listen = may_listen
        self._told: dict[str, str] = {}  # what was left out of each group
        self._late: dict[str, float] = {}  # until when nobody waits for a mount
        self._manifests: dict[tuple[str, ...], tuple[object, playlists.Text]] = {}

    def _mounts(self, name: str) -> tuple[str, ...]:
        group = self._current.config.groups.get(name)
        return group.mounts if group is not None else ()

    # The first answers

    async def multivariant(self, exchange: Exchange, call: Call) -> Response:
        """GET and HEAD of the first playlist of a group.

        Raises:
            ClientError: 404, 403, 401 or 503: none of its mounts can be had, and why.
        """
        request, name = exchange.request, call.mount
        members = await self._gather(request, name)
        try:
            if request.method == "HEAD":
                return shared(request, self._variants(name, members, ""), m3u8.CONTENT_TYPE, NOT_KEPT)
            if self._for_cache(request, members):
                text = self._variants(name, members, "")
                return shared(request, text, m3u8.CONTENT_TYPE, self._max_age(members))
            welcomed = self._welcome(request, name, members, "hls")
            if isinstance(welcomed, Response):
                return welcomed
            if not welcomed.group:
                return redirect(f"{request.prefix}{quote_mount(welcomed.mount.name)}/hls/{FIRST}")
            allowed = [each for each in members if each.mount.name in welcomed.allowed]
            text = self._variants(name, allowed, f"?{TOKEN}={welcomed.token}")
            return shared(request, text, m3u8.CONTENT_TYPE, NOT_KEPT)
        finally:
            for each in members:
                each.grant.close()

    def _variants(self, name: str, members: Sequence[Member], query: str) -> playlists.Text:
        folder = folder_of(name)
        return playlists.text_of(
            m3u8.write_multivariant(
                [
                    playlists.variant(each.segmenter, f"{folder}{quote_mount(each.mount.name)[1:]}/hls/", query)
                    for each in members
                ]
            )
        )

    async def manifest(self, exchange: Exchange, call: Call) -> Response:
        """GET and HEAD of the manifest of a group.

        Raises:
            ClientError: as `multivariant`.
        """
        request, name = exchange.request, call.mount
        session = self._sessions.find(request)
        if session is None or session.gone is not None:
            session = self._sessions.known(request, name, "dash")
        if session is not None and session.group == name and request.method == "GET":
            members = self._ready(session.allowed)
            if members and (TOKEN in request.query or not session.uses_token):
                session.uses_token |= session is self._sessions.find(request)
                return self._manifest_for(request, name, session, members)
        members = await self._gather(request, name, kind="m4s")
        try:
            if request.method == "HEAD" or self._for_cache(request, members):
                return shared(request, self._text(name, members), mpd.CONTENT_TYPE, self._max_age(members))
            welcomed = self._welcome(request, name, members, "dash")
            if isinstance(welcomed, Response):
                return welcomed
            if not welcomed.group:
                return redirect(f"{request.prefix}{quote_mount(welcomed.mount.name)}/dash/{MANIFEST}")
            if TOKEN in request.query:  # that nobody knows any more, as after a restart
                welcomed.claim = claim_of(request)
                return self._manifest_for(request, name, welcomed, members)
            base = public_url(self._current.config, request)
            location = f"{base}{quote_mount(name)}/dash/{MANIFEST}?{TOKEN}={welcomed.token}"
            text = playlists.text_of(mpd.with_location(self._text(name, members).data, location))
            return shared(request, text, mpd.CONTENT_TYPE, NOT_KEPT)
        finally:
            for each in members:
                each.grant.close()

    def _manifest_for(self, request: Request, name: str, session: Session, members: Sequence[Member]) -> Response:
        text = self._text(name, members)
        response = shared(request, text, mpd.CONTENT_TYPE, self._max_age(members))
        self._sessions.note(session)
        heard = next((each.segmenter for each in members if each.mount is session.mount), members[0].segmenter)
        session.position = heard.listed[-1].position
        session.bytes_sent += len(response.body)
        self.keep_going(name)
        return response

    def _for_cache(self, request: Request, members: Sequence[Member]) -> bool:
        """Whether a cache asks for what it may give to anybody."""
        return SHARED in request.query and all(self._outputs.for_everybody(each.mount) for each in members)

    def _max_age(self, members: Sequence[Member]) -> tuple[str, str]:
        guarded = (each.mount for each in members if not self._outputs.for_everybody(each.mount))
        return self._outputs.max_age(next(guarded, members[0].mount), members[0].segmenter.segment_seconds / 2)

    def _text(self, name: str, members: Sequence[Member]) -> playlists.Text:
        """The manifest, made again when there is another segment."""
        segmenters = [each.segmenter for each in members]
        key = (name, *(each.mount.name for each in members))
        state = [(each.session, each.held.first, each.next_number) for each in segmenters]
        if key not in self._manifests or self._manifests[key][0] != state:
            if len(self._manifests) > MANIFESTS:
                self._manifests.clear()
            text = playlists.text_of(group_manifest.manifest(name, segmenters))
            self._manifests[key] = state, text
        return self._manifests[key][1]

    def _welcome(self, request: Request, name: str, members: Sequence[Member], protocol: str) -> Session | Response:
        """A session of the group, in which there are those of its mounts that have room; or the way to go."""
        open_ones = [each for each in members if self._sessions.has_room(each.mount)] or [members[0]]
        first = open_ones[0]
        allowed = tuple(each.mount.name for each in open_ones)
        session = self._sessions.welcome(request, first.mount, first.grant, protocol, name, allowed)
        if not isinstance(session, Response) and session.group:
            session.more_stays = [stay for each in open_ones[1:] if (stay := each.grant.keep()) is not None]
            session.most_seconds = min((each.grant.seconds for each in open_ones if each.grant.seconds), default=0.0)
        return session

    # Which of its mounts there are

    def _ready(self, names: Sequence[str]) -> list[Member]:
        """Those of some mounts that a manifest is made of: whose segments go on; if there are none, whose may."""
        found = []
        for name in names:
            mount = self._registry.get(name)
            segmenter = self._segmenters.find(mount) if mount is not None and mount.settings.hls else None
            if mount is not None and segmenter is not None and segmenter.ready and _kind_of(segmenter) == "m4s":
                found.append(Member(mount, segmenter))
        return [each for each in found if not is_away(each.mount)] or found

    async def _gather(self, request: Request, name: str, kind: str = "") -> list[Member]:
        """The mounts of a group that a player may have now, the one to begin with first, all in one kind of container.

        Args:
            kind: of containers; "" for the one that most of them have.

        Raises:
            ClientError: there is none.
        """
        mounts = self._mounts(name)
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

    # While somebody listens

    async def summon(self, name: str) -> bool:
        """As for a mount; of a group, the first of its mounts that can be had."""
        mounts = self._mounts(name)
        if not mounts:
            return await self._summon(name)
        with trio.move_on_after(SUMMON_SECONDS):
            for each in mounts:
                if await self._summon(each):
                    return True
        return False

    def keep_going(self, name: str) -> None:
        """Somebody listens to a group: all of its mounts that are here have segments."""
        for each in self._mounts(name):
            mount = self._registry.get(each)
            if mount is not None and mount.begun and mount.settings.hls and not is_away(mount):
                self._segmenters.of(mount)

    def follow(self, request: Request, mount: Mount) -> None:
        """A player asks for the playlist of a mount, maybe as one of a group.

        Raises:
            ClientError: 404: nothing comes of it, and something does of another one.
        """
        session = self._sessions.find(request)
        if session is None or not session.group:
            return
        self.keep_going(session.group)
        if is_away(mount) and self._ready_ones(session.allowed):
            raise ClientError(
                404, f"the source of {mount.name} is away; others of {session.group} go on", (ANY_ORIGIN,)
            )

    def _ready_ones(self, names: Sequence[str]) -> list[Segmenter]:
        mounts = [mount for each in names if (mount := self._registry.get(each)) is not None and not is_away(mount)]
        return [found for mount in mounts if (found := self._segmenters.peek(mount)) is not None and found.ready]

    def reports(self, segmenter: Segmenter) -> list[m3u8.Report]:
        """How far the other variants of a mount's groups are (bis §4.4.5.4), for its playlist with parts."""
        own, groups = segmenter.mount.name, self._current.config.groups_of(segmenter.mount.name)
        names = dict.fromkeys(each for group in groups for each in self._mounts(group) if each != own)
        folder = folder_of(own)
        return [
            m3u8.Report(f"{folder}{quote_mount(each.mount.name)[1:]}/hls/{playlists.MEDIA}", *playlists.newest(each))
            for each in self._ready_ones(list(names))
            if each.low_latency and each.muxer is not None and segmenter.muxer is not None
            and each.muxer.kind == segmenter.muxer.kind
        ]  # fmt: skip


def folder_of(name: str) -> str:
    """The way from the playlists of a mount or group to the server's root: they lie two folders below its parent."""
    return "../" * (name.count("/") + 1)


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

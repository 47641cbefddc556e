"""Groups: mounts with one programme in several qualities, between which players change as their network allows.

/radio/hls/index.m3u8        one multivariant playlist; its variants are the playlists of the mounts themselves
/radio/dash/manifest.mpd     one manifest with a representation for each mount
/radio/dash/time             see castd.adaptive.dash

Whoever asks has all mounts summoned that are made on demand, as bandwidths are measured and nothing is guessed; as long
as anybody listens to the group, all of them are kept going, so that a player finds what it changes to. A player may
have those mounts that it might listen to by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from castd.adaptive import group_manifest, playlists
from castd.adaptive.dash import MANIFEST
from castd.adaptive.hls import FIRST, redirect
from castd.adaptive.outputs import NOT_KEPT, SHARED, shared
from castd.adaptive.sessions import TOKEN, claim_of
from castd.errors import ClientError
from castd.http.links import public_url
from castd.http.messages import ANY_ORIGIN, Response, quote_mount
from castd.segments.segmenters import is_away
from castd.wire import m3u8, mpd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from castd.adaptive.group_members import Member, Members
    from castd.adaptive.outputs import Outputs
    from castd.adaptive.session import Session
    from castd.adaptive.sessions import Sessions
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry
    from castd.segments.segmenter import Segmenter
    from castd.segments.segmenters import Segmenters

SUMMON_SECONDS = 20.0
"""For which the first answer to a plain listener waits for any of a group's mounts."""

MANIFESTS = 200
"""Kept, of groups and of those of their mounts that somebody may listen to."""


class Groups:
    """All of them.

    Args:
        summon: has a mount that is pulled on demand pulled, and says whether it is there.
    """

    def __init__(
        self,
        current: Current,
        registry: Registry,
        members: Members,
        outputs: Outputs,
        segmenters: Segmenters,
        sessions: Sessions,
        summon: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._current = current
        self._registry = registry
        self._outputs = outputs
        self._segmenters = segmenters
        self._sessions = sessions
        self._summon = summon
        self._members = members
        self._manifests: dict[tuple[str, ...], tuple[object, playlists.Text]] = {}

    # The first answers

    async def multivariant(self, exchange: Exchange, call: Call) -> Response:
        """GET and HEAD of the first playlist of a group.

        Raises:
            ClientError: 404, 403, 401 or 503: none of its mounts can be had, and why.
        """
        request, name = exchange.request, call.mount
        members = await self._members.gather(request, name)
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
        session = await self._returning(request, name) if request.method == "GET" else None
        if session is not None:
            there = [each for each in session.allowed if each in self._members.names(name)]  # it may have changed
            if members := self._members.ready(there):
                session.uses_token |= session is self._sessions.find(request)
                return self._manifest_for(request, name, session, members)
        members = await self._members.gather(request, name, kind="m4s")
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

    async def _returning(self, request: Request, name: str) -> Session | None:
        """The session of a player that asks for a group's manifest again: by its token or, where it makes no use of
        that, by its address and agent. The latter open no door, as another one may have the same."""
        session = self._sessions.find(request)
        if session is not None and session.gone is None:
            return session if session.group == name else None
        session = self._sessions.known(request, name, "dash")
        if session is None or session.group != name or (session.uses_token and not claim_of(request)):
            return None
        admitted = await self._members.admit(request, session.allowed)
        return session if admitted and session.gone is None else None

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
            session.user = next((each.grant.user for each in open_ones if each.grant.user), "")
            session.most_seconds = min((each.grant.seconds for each in open_ones if each.grant.seconds), default=0.0)
        return session

    # While somebody listens

    async def summon(self, name: str) -> bool:
        """As for a mount; of a group, the first of its mounts that can be had."""
        mounts = self._members.names(name)
        if not mounts:
            return await self._summon(name)
        with trio.move_on_after(SUMMON_SECONDS):
            for each in mounts:
                if await self._summon(each):
                    return True
        return False

    def keep_going(self, name: str) -> None:
        """Somebody listens to a group: all of its mounts that are here have segments."""
        for each in self._members.names(name):
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
        names = dict.fromkeys(each for group in groups for each in self._members.names(group) if each != own)
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

"""What HLS and DASH have in common: which mount a request is about, and the replies that many clients share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from castd.access.bans import refuse_unlisted
from castd.adaptive.playlists import BLOCK_TARGETS, Kept, place
from castd.errors import ClientError, is_of_the_machine
from castd.http.conditions import NOT_MODIFIED, OK, Validators, outcome, takes_gzip
from castd.http.messages import ANY_ORIGIN, Response
from castd.log import warn_rarely
from castd.segments.old_segment import OldSegment
from castd.segments.segment import FILE, MP4_TYPE, TS_TYPE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from castd.adaptive.playlists import Text
    from castd.adaptive.sessions import Sessions
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.messages import Request
    from castd.http.routes import Call
    from castd.mount.aliases import Aliases
    from castd.mount.mount import Mount
    from castd.segments.changes import Place
    from castd.segments.segment import Segment
    from castd.segments.segmenter import Segmenter
    from castd.segments.segmenters import Segmenters

FOR_EVER = ("Cache-Control", "public, max-age=31536000, immutable")
"""A name stands for the same bytes for ever."""

NOT_KEPT = ("Cache-Control", "no-store")
"""Of what is for one client."""

SHARED = "shared"
"""The argument of a first answer that is for a cache: without a token, as long as everybody may listen."""

START_TARGETS = 2
"""Target durations for which a request waits for the first segment."""

FILL_SECONDS = 3.0
"""For which it waits for an hour to be made, before it is content with the last segments."""

FILLED = 0.3
"""The share of that hour that has to be there by then, for it to wait on."""

EXPOSED = ("Access-Control-Expose-Headers", "Date, Age, ETag")


class Outputs:
    """The handlers of files, and what the others need.

    Args:
        aliases: finds mounts by other paths.
        summon: has a mount that is pulled on demand pulled, and says whether it is there.
    """

    def __init__(
        self,
        current: Current,
        aliases: Aliases,
        segmenters: Segmenters,
        sessions: Sessions,
        summon: Callable[[str], Awaitable[bool]],
    ) -> None:
        self.kept = Kept()
        self._current = current
        self._aliases = aliases
        self._segmenters = segmenters
        self._sessions = sessions
        self._summon = summon

    def is_group(self, name: str) -> bool:
        """Whether a name is a group's; see castd.adaptive.groups."""
        return self._aliases.is_group(name)

    def mount(self, request: Request) -> str:
        """The name of the mount that a request for something beside it is about: of one that is here, or that is
        configured."""
        path = request.decoded_path.rpartition("/")[0].rpartition("/")[0]
        if self._aliases.is_group(path):
            return ""  # each of its mounts is asked about by itself
        mount = self._aliases.find(path)
        if mount is not None:
            return mount.name
        return path if path in self._current.config.mounts else ""

    async def find(self, exchange: Exchange, call: Call) -> Mount:
        """The mount whose playlist is asked for.

        Raises:
            ClientError: 404: there is none, or not this way; 403: it is not for listeners, or not for this one.
        """
        request = exchange.request
        mount = self._aliases.find(call.mount)
        if mount is None and request.method == "GET" and await self._summon(call.mount):
            mount = self._aliases.find(call.mount)
        if mount is None:
            raise ClientError(404, f"there is no source on {call.mount or '/'}", (ANY_ORIGIN,))
        self.require_offered(request, mount)
        return mount

    def require_offered(self, request: Request, mount: Mount) -> None:
        """See that a mount is there for this player, and this way.

        Raises:
            ClientError: see find.
        """
        if mount.settings.no_mount:
            raise ClientError(403, "this mount is not for listeners", (ANY_ORIGIN,))
        if not mount.settings.hls:
            raise ClientError(404, f"HLS and DASH are switched off here; listen to {mount.name}", (ANY_ORIGIN,))
        refuse_unlisted(request.address, mount.settings.allow_listeners, "listen to this mount")

    def for_everybody(self, mount: Mount) -> bool:
        """Whether a cache may give to anybody what it was given of a mount's playlists."""
        return not self._sessions.guarded(mount) and not mount.settings.allow_listeners

    def max_age(self, mount: Mount, seconds: float) -> tuple[str, str]:
        """For caches: how long a playlist is good, in whole seconds, one at least; those of shared ones that do not
        ask who may listen are left out."""
        return ("Cache-Control", f"{'' if self.for_everybody(mount) else 'private, '}max-age={max(1, int(seconds))}")

    async def segmenter(self, mount: Mount) -> Segmenter:
        """The segmenter of a mount, once it has a segment.

        Raises:
            ClientError: 404: what is sent there cannot be put into segments; 503: there is none yet.
        """
        segmenter = self._segmenters.of(mount)
        if segmenter.fills:
            with trio.move_on_after(FILL_SECONDS):
                await _until_ready(segmenter)
            if segmenter.filled < FILLED:
                segmenter.hurry()
        if not segmenter.ready:
            with trio.move_on_after(START_TARGETS * segmenter.target):
                await _until_ready(segmenter)
        if segmenter.refused:
            raise ClientError(404, f"{segmenter.refused}; listen to {mount.name} itself", (ANY_ORIGIN,))
        if not segmenter.ready:
            raise ClientError(503, "there is no segment yet", (("Retry-After", str(segmenter.target)), ANY_ORIGIN))
        return segmenter

    async def file(self, exchange: Exchange, call: Call, protocol: str) -> Response:
        """Answer with a segment, a part or an initialisation segment.

        What is being made is waited for: parts are asked for by those whom a playlist hinted at them (bis §6.2.6),
        segments by players of DASH that stand at the live end, as ffmpeg does, and would ask again and again.

        Raises:
            ClientError: 404; 503: try again.
        """
        mount, name = self._aliases.find(call.mount), FILE.fullmatch(call.parameters["file"])
        offered = mount is not None and mount.settings.hls and not mount.settings.no_mount
        segmenter = self._segmenters.find(mount) if mount is not None and offered else None
        if mount is None or segmenter is None or name is None or name["session"] != segmenter.session:
            raise _no_such_file()
        data: bytes | memoryview | OldSegment | None
        number, part = int(name["number"]), name["part"]
        if name["kind"] == "mp4" and part is None and name["time"] is None:
            data = _init(segmenter, number)
        elif segmenter.muxer is None or name["kind"] != segmenter.muxer.kind:
            data = None
        elif name["time"] is not None:
            start = number, int(name["time"])
            await _wait_while(segmenter, lambda: start == segmenter.next_start, place(segmenter.next_number, None))
            data = await _whole(segmenter, segmenter.held.find_by_time(*start))
        elif part is None:
            await _wait_while(segmenter, lambda: number == segmenter.next_number, place(number, None))
            data = await _whole(segmenter, segmenter.find(number))
        else:
            index = int(part)
            await _wait_while(segmenter, lambda: (number, index) == segmenter.next_part, place(number, index))
            segment = segmenter.find(number)
            data = segment.parts[index].data if segment is not None and index < len(segment.parts) else None
        if data is None:
            raise _no_such_file()
        validators = Validators(f'"{call.parameters["file"]}"', int(segmenter.mount.started))
        headers = (FOR_EVER, ANY_ORIGIN, *validators.fields)
        if outcome(exchange.request, validators) == NOT_MODIFIED:
            if isinstance(data, OldSegment):
                data.close()
            return Response(304, headers=headers)
        content = data if isinstance(data, OldSegment) else None
        body = b"" if isinstance(data, OldSegment) else data
        if exchange.request.method == "GET":
            groups = self._current.config.groups_of(mount.name) if name["time"] is not None else ()
            size = content.size if content else len(body)
            self._sessions.credit(exchange.request, mount, protocol, size, groups)
        return Response(200, body, TS_TYPE if name["kind"] == "ts" else MP4_TYPE, headers, content)


def shared(request: Request, text: Text, content_type: str, cache: tuple[str, str]) -> Response:
    """A text that many get: by gzip for those who take it, and not at all for those who have it."""
    zipped = takes_gzip(request)
    validators = Validators(f'"{text.etag}{"-gz" if zipped else ""}"', 0)
    headers = (cache, ANY_ORIGIN, EXPOSED, ("Vary", "Accept-Encoding"), ("ETag", validators.etag))
    if request.header("if-none-match") and outcome(request, validators) != OK:
        return Response(304, headers=headers)
    if zipped:
        return Response(200, text.compressed, content_type, (*headers, ("Content-Encoding", "gzip")))
    return Response(200, text.data, content_type, headers)


async def _until_ready(segmenter: Segmenter) -> None:
    segmenter.awaited += 1
    try:
        while not (segmenter.ready or segmenter.refused or segmenter.closed):
            await segmenter.changed.wait()
    finally:
        segmenter.awaited -= 1


def _init(segmenter: Segmenter, number: int) -> bytes | None:
    period = segmenter.held.find_period(number)
    return period.init if period is not None else None


async def _whole(segmenter: Segmenter, segment: Segment | None) -> bytes | OldSegment | None:
    """All of a segment; None if there is none, or it is not complete.

    Raises:
        ClientError: 503: the disk does not give it.
    """
    if segment is None or not segment.complete:
        return None
    try:
        return await segmenter.held.read(segment)
    except Exception as error:
        if not is_of_the_machine(error):
            raise
        warn_rarely(f"{segmenter.mount.name}: old segments cannot be read: {error or 'no memory'}")
        raise ClientError(503, "the disk does not give it", (("Retry-After", "5"), ANY_ORIGIN)) from None


async def _wait_while(segmenter: Segmenter, being_made: Callable[[], bool], made_at: Place) -> None:
    """Wait until something is there; no byte of an answer goes out before all of it is.

    Args:
        made_at: where it is made, if all goes well.

    Raises:
        ClientError: 503: another process may have it in a moment.
    """
    if not being_made():
        return
    with trio.move_on_after(BLOCK_TARGETS * segmenter.target):
        while being_made() and not segmenter.closed:
            await segmenter.changed.wait(made_at)
    if segmenter.closed and being_made():
        raise ClientError(503, "try again", (("Retry-After", "1"), ANY_ORIGIN))


def _no_such_file() -> ClientError:
    return ClientError(404, "no such segment, or no more", (ANY_ORIGIN,))

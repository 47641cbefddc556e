"""Playlists of mounts: what a player opens that wants a file with an address in it.

`/live.m3u`, `.pls`, `.xspf` and `.vclt` for each mount, as Icecast has them (captures B15-B22), and `/listen.pls` as
SHOUTcast has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from castd.errors import ClientError
from castd.http.links import public_url
from castd.http.messages import ANY_ORIGIN, NO_CACHE, Response, quote_mount
from castd.stats.snapshot import mount_facts
from castd.wire import playlist

if TYPE_CHECKING:
    from castd.config import Current
    from castd.http.connection import Exchange
    from castd.http.routes import Call, Handler
    from castd.mount.aliases import Aliases
    from castd.mount.mount import Mount


class Playlists:
    """The handler of GET and HEAD on what may be a playlist.

    Args:
        elsewhere: answers what is none.
    """

    def __init__(self, current: Current, aliases: Aliases, elsewhere: Handler) -> None:
        self._current = current
        self._aliases = aliases
        self._elsewhere = elsewhere

    async def serve(self, exchange: Exchange, call: Call) -> Response | None:
        """Answer with a playlist; `mount` is the decoded path."""
        base, dot, kind = call.mount.rpartition(".")
        form = playlist.FORMATS.get(dot + kind.lower())
        mount = self._aliases.find(base) if form else None
        if form is None or mount is None:
            return await self._elsewhere(exchange, call)
        return self._write(exchange, mount, base, form)

    async def listen(self, exchange: Exchange, call: Call) -> Response:
        """GET /listen.pls and /listen.m3u, `?sid=2` for another than the first.

        Raises:
            ClientError: 404: there is no stream of that id.
        """
        sid = exchange.request.argument("sid") or ""
        number = int(sid) if sid.isascii() and sid.isdigit() and len(sid) < 5 else 0
        mount = self._aliases.by_stream_id(number) if number else self._aliases.default
        if mount is None:
            raise ClientError(404, "no such stream")
        kind = exchange.request.path.rpartition(".")[2]
        return self._write(exchange, mount, mount.name, playlist.FORMATS[f".{kind}"])

    def _write(self, exchange: Exchange, mount: Mount, path: str, form: playlist.Format) -> Response:
        if mount.settings.no_mount:
            raise ClientError(403, "this mount is not for listeners")
        facts, title = mount_facts(mount), mount.timeline.title
        track = playlist.Track(
            public_url(self._current.config, exchange.request) + quote_mount(path),
            facts.name or mount.name.removeprefix("/"),
            "\n".join(
                f"{name}: {value}"
                for name, value in (
                    ("Stream Title", facts.name),
                    ("Stream Description", facts.description),
                    ("Content Type", facts.content_type),
                    ("Bitrate", facts.bitrate // 1000),
                    ("Current Listeners", len(mount.listeners)),
                    ("Peak Listeners", mount.listener_peak),
                    ("Stream Genre", facts.genre),
                    ("Current Song", title.text if title else ""),
                )
                if value != ""
            ),
            facts.url,
        )
        return Response(200, form.write([track]), form.content_type, (NO_CACHE, ANY_ORIGIN))

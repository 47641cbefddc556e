"""Which handler answers which request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec

from castd.config import mount_name
from castd.config.names import RESERVED
from castd.errors import ClientError
from castd.http.connection import SHOUTCAST
from castd.http.messages import decode_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from castd.http.connection import Exchange
    from castd.http.messages import Request, Response
    from castd.wire.shoutcast import Login


class Need(Enum):
    """What a route asks of its client; castd.access.authorise grants it."""

    NOTHING = "public"
    LISTEN = "the right to listen to this mount, which everybody has unless its operator says otherwise"
    SOURCE = "the right to feed this mount"
    STEER = "the right to steer this mount: its source's or the admin's"
    ADMIN = "the admin's rights"
    RELAY = "the right to see what there is to relay: a slave's or the admin's"


class StayState(msgspec.Struct):
    """A stay, for another process: what the service that let somebody in is to be told when it is over.

    Attributes:
        service: its name.
        fields: of what it is told, without the seconds that it lasted.
        login: that the client showed.
        begun: monotonic seconds.
    """

    service: str
    fields: dict[str, str]
    login: tuple[str, str]
    begun: float


class Stay(Protocol):
    """What lasts as long as a client is here."""

    def state(self) -> StayState: ...

    def end(self) -> None:
        """The client has left. Called once."""
        ...


@dataclass(slots=True, eq=False)
class Grant:
    """What castd.access.authorise gives a client.

    Attributes:
        user: who it is; "" for the public.
        scopes: what it may do of what operators may, as castd.access.scopes has it.
        mounts: at which it may do so; None for all.
        token: id of the bearer token it was given for; "" for none.
        expires: wall time until which what it was given for is good; None for ever.
        seconds: for which a listener may listen; 0 means as long as everybody.
        listener_id: the number it is to have; 0 means any.
        stay: ends when what it was given for is over.
    """

    user: str = ""
    scopes: tuple[str, ...] = ()
    mounts: tuple[str, ...] | None = None
    token: str = ""
    expires: float | None = None
    seconds: float = 0.0
    listener_id: int = 0
    stay: Stay | None = None
    kept: bool = False

    def covers(self, mount: str) -> bool:
        """Whether it is for this mount, too."""
        return self.mounts is None or mount in self.mounts

    def keep(self) -> Stay | None:
        """Have it outlast the request: whoever keeps it ends what this returns, if anything."""
        if self.stay is not None:  # else it may be everybody's
            self.kept = True
        return self.stay

    def close(self) -> None:
        """The request is over."""
        if self.stay is not None and not self.kept:
            self.stay.end()


PUBLIC = Grant()
"""What everybody has."""

Handler: TypeAlias = "Callable[[Exchange, Call], Awaitable[Response | None]]"


@dataclass(frozen=True, slots=True)
class Call:
    """A matched request.

    Attributes:
        mount: the name of the mount it is about, from the path or the `mount` argument; "" if it is about none.
        user: who is asking, once authorised; "" for the public.
        parameters: other placeholders of the route's path.
        grant: what it was given.
    """

    mount: str
    user: str
    parameters: dict[str, str]
    grant: Grant = PUBLIC


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table.

    Attributes:
        methods: such as ("GET", "HEAD").
        path: "/x/{name}" with placeholders for one segment each, "{name*}" for all that follows; "*" for every path
            that is not reserved: mounts.
        need: what the client must show.
        handler: answers with a Response, or with None if it answered on the stream itself.
        right: the scope a token must have for it; "admin" means that only one for everything will do.
        of_mounts: a token for some mounts only will do: the handler asks its grant about each mount.
        changes: it changes something: refused when a browser sends it from another site.
        mount_of: finds the mount it is about where neither the path nor the argument `mount` says so; for what may be
            listened to, the mount whose listeners it would be one of.
        password_of: finds the password where SHOUTcast's clients put it; without it, it is in Authorization.
    """

    methods: tuple[str, ...]
    path: str
    need: Need
    handler: Handler
    right: str = "admin"
    of_mounts: bool = False
    changes: bool = False
    mount_of: Callable[[Request], str] | None = None
    password_of: Callable[[Request], Login] | None = None

    @property
    def scope(self) -> Literal["all", "listeners", "sources"]:
        """Whom it is for, as bans have it."""
        if self.need in (Need.SOURCE, Need.STEER):
            return "sources"
        return "listeners" if self.path == "*" or self.path.startswith(("{name*}/hls/", "{name*}/dash/")) else "all"


KEPT = 1000
"""Paths of which it is known whose they are."""

KEPT_CHARACTERS = 200
"""A longer path is looked for each time."""


class Router:
    """The route table."""

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self._patterns = [(_pattern(route.path), route) for route in routes]
        self._found: dict[tuple[str, str], tuple[Route, dict[str, str]]] = {}

    def find(self, request: Request) -> tuple[Route, str, dict[str, str]]:
        """The route of a request.

        Returns:
            The route, the mount's name ("" if the route is about none), and the path's placeholders.

        Raises:
            ClientError: 400, 403, 404, 405 or 501.
        """
        if not request.path.startswith("/") and request.method != "OPTIONS":  # OPTIONS *, RFC 9112 §3.2.4
            raise ClientError(400, "the target must start with a slash")
        found = self._found.get((request.method, request.path)) or self._look_for(request)
        if found is not None:
            route, parameters = found
            return route, self._mount(route, request, parameters), dict(parameters)
        if set(allowed := self.methods(request.path)) > {"OPTIONS"}:
            raise ClientError(405, f"{request.method} is not for this path", (("Allow", ", ".join(allowed)),))
        raise ClientError(404, "The file you requested could not be found")

    def _look_for(self, request: Request) -> tuple[Route, dict[str, str]] | None:
        """The route and the placeholders of a path; kept, as what is asked for is mostly asked for again."""
        for pattern, route in self._patterns:
            match = pattern.fullmatch(request.path)
            if match is None or request.method not in route.methods or self._is_none_of(route, request.path):
                continue
            parameters = {name: decode_text(unquote_to_bytes(value)) for name, value in match.groupdict().items()}
            if len(self._found) >= KEPT:
                self._found.clear()
            if len(request.path) <= KEPT_CHARACTERS:
                self._found[request.method, request.path] = route, parameters
            return route, parameters
        return None

    def methods(self, path: str) -> list[str]:
        """What a path may be asked with, in order; of mounts, what any of them may."""
        reserved = RESERVED.fullmatch(path)
        rows = [
            route
            for pattern, route in self._patterns
            if (pattern.fullmatch(path) or path == "*") and not (route.path == "*" and reserved)
        ]
        own = [route for route in rows if not _takes_any(route)] or rows
        return sorted({"OPTIONS", *(method for route in own for method in route.methods)} - {SHOUTCAST})

    def _is_none_of(self, route: Route, path: str) -> bool:
        """Whether a row that takes any path must not take one of the API's: a mount is not there, and a path with rows
        of its own has no other methods than theirs."""
        if not path.startswith("/api/") or "OPTIONS" in route.methods:
            return False
        if route.path == "*":
            return True
        rows = (each for pattern, each in self._patterns if each.path != "*" and pattern.fullmatch(path))
        return _takes_any(route) and any(not _takes_any(each) for each in rows)

    def _mount(self, route: Route, request: Request, parameters: dict[str, str]) -> str:
        if route.path == "*":
            return claimed_mount(request) if route.need is Need.SOURCE else request.decoded_path
        name = parameters.get("name") or request.argument("mount") or ""
        if not name and route.mount_of:
            name = route.mount_of(request)
        if not name:
            return ""
        return name if name.startswith("/") else "/" + name  # a missing slash is forgiven (quirk 9)


def _takes_any(route: Route) -> bool:
    return route.path.endswith("{any*}")


def claimed_mount(request: Request) -> str:
    """The mount a source asks for, in the one spelling the configuration knows it by.

    Raises:
        ClientError: 403: the path is castd's own; 400: nothing can be called so.
    """
    path = request.decoded_path
    if RESERVED.fullmatch(path):
        raise ClientError(403, f"{path} is reserved; choose another mount")
    try:
        return mount_name(request.path)
    except ValueError as error:
        raise ClientError(400, f"the name of the mount {error}") from None


def _pattern(path: str) -> re.Pattern[str]:
    if path == "*":
        return re.compile(r"/.*", re.DOTALL)
    escaped = re.escape(path)
    escaped = re.sub(r"\\\{(\w+)\\\*\\\}", r"(?P<\1>.*)", escaped)
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", escaped), re.DOTALL)

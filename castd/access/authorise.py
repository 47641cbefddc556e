"""May this client do this? One function in front of every route."""

from __future__ import annotations

import base64
import binascii
import logging
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from castd.access.guesses import Guesses
from castd.access.links import holder
from castd.access.scopes import EVERYTHING
from castd.access.secrets import resolve, verify
from castd.access.sign_ins import SignIn, SignIns, refuse_without_token
from castd.access.tokens import Tokens
from castd.access.users import Users
from castd.errors import ClientError
from castd.http.messages import decode_text
from castd.http.routes import PUBLIC, Grant, Need

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.access.secrets import Secrets
    from castd.access.url_auth import UrlAuths
    from castd.config import Config, Current
    from castd.http.messages import Request
    from castd.http.routes import Route
    from castd.wire.shoutcast import Login

log = logging.getLogger(__name__)

STREAM_KEY_USER = "key"
"""The user of an encoder that knows a mount's stream key and nothing else."""

GUARDED = 1000
"""Mounts of which it is kept whether everybody may listen; a request may name any."""

CHALLENGE = (("WWW-Authenticate", 'Basic realm="Icecast2 Server", charset="UTF-8"'),)
"""Icecast's realm (capture C10). libshout's clients send no credentials until they have seen a challenge."""


class Gate:
    """Knows the credentials and what each opens.

    Args:
        wall: seconds since 1970.

    Attributes:
        sign_ins: browsers that need no credentials for /api/ any more.
        holder: what a listener's request at a mount may have been given before; see
            castd.adaptive.sessions.Sessions.holder.
    """

    def __init__(self, current: Current, secrets: Secrets, url_auths: UrlAuths, wall: Callable[[], float]) -> None:
        self.sign_ins = SignIns(wall)
        self.holder: Callable[[Request, str], Grant | None] = lambda request, mount: None
        self._tokens = Tokens(current.config.server.state_dir)
        self._guesses = Guesses()
        self._current = current
        self._secrets = secrets
        self._url_auths = url_auths
        self._wall = wall
        self._users = Users()
        self._guarded: tuple[Config, dict[str, bool]] = current.config, {}  # what `guards` said, of a configuration

    def prepare(self, config: Config) -> Callable[[], None]:
        """Find the secrets; see castd.reload.Part. One that was configured and is not any more may be a new one."""
        secrets = resolve(config.auth, Path(config.server.state_dir)) if config.server.state_dir else self._secrets

        def commit() -> None:
            if _operators_secrets(secrets) != _operators_secrets(self._secrets):
                self.sign_ins.end_all()
            self._secrets = secrets
            for name in sorted(secrets.generated):
                log.warning("a new %s was made; it is in %s", name, Path(config.server.state_dir) / name)

        return commit

    async def authorise(self, route: Route, request: Request, mount: str) -> Grant:
        """Let a request pass or not.

        Args:
            route: what it asks for.
            mount: the mount it is about, "" if it is about none.

        Raises:
            ClientError: 401 with a challenge; 403 if a browser sends it from another site, a link is no good or a
                token is not for this; 429: too many wrong passwords came from its address; 503 if who may is decided
                elsewhere, and there is no answer.
        """
        if route.need is Need.NOTHING:
            return PUBLIC
        if route.need is Need.LISTEN and mount and (grant := self.holder(request, mount)) is not None:
            return grant
        if not _gives_credentials(route, request):
            return await self._authorise(route, request, mount)
        most, wrong = self._current.config.limits.max_wrong_passwords_per_minute, False
        await self._guesses.begin(request.address, most)
        try:
            return await self._authorise(route, request, mount)
        except ClientError as error:
            wrong = error.status == 401
            raise
        finally:
            self._guesses.end(request.address, most, wrong=wrong)

    async def _authorise(self, route: Route, request: Request, mount: str) -> Grant:
        """See authorise."""
        if route.need is Need.LISTEN:
            return await self._listener(request, mount)
        if route.changes:
            _refuse_cross_site(request)
        if route.password_of is not None:
            return await self._shoutcast(route, request, route.password_of(request), mount)
        settings = self._current.config.mount(mount or "/")
        if route.need is Need.SOURCE and verify(request.argument("key") or "", settings.stream_key):
            return Grant(STREAM_KEY_USER)
        scheme, _, credentials = request.header("authorization").partition(" ")
        if not scheme:
            if (sign_in := await self._signed_in(route, request)) is not None:
                _refuse_beyond(sign_in.grant, route, mount)
                return sign_in.grant
            raise ClientError(401, "You need to authenticate", _challenge(request))
        if scheme.lower() == "bearer":
            return await self._bearer(route, request, credentials.strip(), mount)
        granted = ""
        if scheme.lower() == "basic":
            granted = await self._login(route.need, request, _decode_basic(credentials), mount)
        if not granted:
            raise ClientError(401, "wrong user or password", _challenge(request))
        return Grant(granted, (EVERYTHING,))

    async def _signed_in(self, route: Route, request: Request) -> SignIn | None:
        """The browser that sends this, where a cookie will do: Icecast's commands change things by GET, and would be
        at the mercy of any link."""
        if not route.path.startswith("/api/"):
            return None
        sign_in = self.sign_ins.find(request)
        if sign_in is None:
            return None
        if sign_in.grant.token and not await self._tokens.hold(sign_in.grant.token):
            self.sign_ins.end(request)
            return None
        if route.changes:
            refuse_without_token(sign_in, request)
        return sign_in

    async def _bearer(self, route: Route, request: Request, given: str, mount: str) -> Grant:
        """The grant of a token.

        Raises:
            ClientError: 401; 403: it is for something else.
        """
        if verify(given, self._secrets.admin_token):
            if route.need is not Need.SOURCE:
                return Grant(self._current.config.auth.admin_user, (EVERYTHING,))
        elif (found := await self._tokens.find(given)) is not None and route.need is not Need.SOURCE:
            if found.expires is not None and found.expires <= self._wall():
                raise ClientError(401, "this token has expired", _challenge(request))
            grant = Grant(found.name, found.scopes, found.mounts or None, found.id, found.expires)
            _refuse_beyond(grant, route, mount)
            return grant
        raise ClientError(401, "wrong token", _challenge(request))

    async def _listener(self, request: Request, mount: str) -> Grant:
        """See authorise."""
        if not mount:
            return PUBLIC
        if not self.guards(mount):
            return PUBLIC
        settings, service = self._current.config.mount(mount), self._url_auths.service(mount)
        asks = service if service is not None and service.listener_add else None
        if (user := holder(request, settings.link_key, mount, self._wall())) is not None:
            return Grant(user)
        scheme, _, credentials = request.header("authorization").partition(" ")
        login = _decode_basic(credentials) if scheme.lower() == "basic" else ("", "")
        if settings.users_file and login[0] and await self._users.verify(settings.users_file, *login):
            return Grant(login[0])
        if asks is not None:
            return await self._url_auths.admit(asks, request, mount, login)
        if settings.users_file:
            raise ClientError(401, "wrong user or password" if login[0] else "You need to authenticate", CHALLENGE)
        raise ClientError(403, "this mount is only for those with a link made for them")

    def guards(self, mount: str) -> bool:
        """Whether not everybody may listen to a mount."""
        config, known = self._guarded
        if config is not self._current.config or len(known) > GUARDED:
            config, known = self._guarded = self._current.config, {}
        if mount not in known:
            settings, service = config.mount(mount), self._url_auths.service(mount)
            asks = service is not None and bool(service.listener_add)
            known[mount] = bool(settings.users_file or settings.link_key) or asks
        return known[mount]

    async def _shoutcast(self, route: Route, request: Request, login: Login, mount: str) -> Grant:
        """The user of a SHOUTcast password, whichever way it is meant.

        Raises:
            ClientError: 401; SHOUTcast's clients know no challenge.
        """
        users = [self._current.config.mount(mount or "/").source_user, self._current.config.auth.admin_user]
        for given, password in login.secrets:
            for user in [given] if given else users:
                if granted := await self._login(route.need, request, (user, password), mount):
                    return Grant(granted)
        raise ClientError(401, "wrong password", CHALLENGE)

    async def _login(self, need: Need, request: Request, login: tuple[str, str], mount: str) -> str:
        """The user if these credentials satisfy `need`, else "". Where a service decides who may send, it is asked
        instead; the admin's rights are not its to give or take.

        Raises:
            ClientError: see castd.access.url_auth.
        """
        service = self._url_auths.service(mount) if mount and need in (Need.SOURCE, Need.STEER) else None
        if service is None or not service.stream_auth:
            return self._basic(need, *login, mount)
        if need is Need.STEER and self._basic(Need.ADMIN, *login, mount):
            return login[0]
        await self._url_auths.may_feed(service, request, mount, login, steers=need is Need.STEER)
        return login[0] or self._current.config.mount(mount).source_user

    def _basic(self, need: Need, user: str, password: str, mount: str) -> str:
        """The user if these credentials satisfy `need`, else ""; every comparison is made whatever the others say."""
        settings, auth = self._current.config.mount(mount or "/"), self._current.config.auth
        is_source = verify(user, settings.source_user) & verify(
            password, settings.source_password or self._secrets.source_password
        )
        for dj in self._current.config.djs:
            is_source |= verify(user, dj.user) & verify(password, dj.password) & dj.may_feed(mount)
        is_admin = verify(user, auth.admin_user) & verify(password, self._secrets.admin_password)
        is_relay = verify(user, auth.relay_user) & verify(password, auth.relay_password)
        if need is Need.SOURCE or (need is Need.STEER and not is_admin):
            return user if is_source and mount else ""
        return user if is_admin or (need is Need.RELAY and is_relay) else ""


def _decode_basic(credentials: str) -> tuple[str, str]:
    """User and password of a Basic header (RFC 7617); both empty if it is broken, which nothing accepts."""
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        return "", ""
    user, _, password = decode_text(decoded).partition(":")
    return user, password


def _refuse_beyond(grant: Grant, route: Route, mount: str) -> None:
    """Raises ClientError: 403 where a grant is not for what a route asks, or for its mount."""
    if EVERYTHING not in grant.scopes and route.right not in grant.scopes and route.right:
        wanted = "only the admin may do this" if route.right == EVERYTHING else f"it lacks the scope {route.right}"
        raise ClientError(403, f"this token is not for that: {wanted}")
    if grant.mounts is None or (mount and grant.covers(mount)):
        return
    if mount or not route.of_mounts:
        raise ClientError(403, f"this token is only for {', '.join(grant.mounts)}")


def _operators_secrets(secrets: Secrets) -> tuple[str, str]:
    return secrets.admin_password, secrets.admin_token


def _gives_credentials(route: Route, request: Request) -> bool:
    """Whether there is anything that could be a guess."""
    names = ("pass", "key") if route.need is Need.SOURCE else ("pass",)
    return bool(request.header("authorization") or request.password or any(map(request.argument, names)))


def _challenge(request: Request) -> tuple[tuple[str, str], ...]:
    """A browser's own window for a password would come up over our page, which has a form for that and says so."""
    return () if "x-csrf-token" in request.headers else CHALLENGE


def _refuse_cross_site(request: Request) -> None:
    """A browser adds remembered credentials to requests other sites make it send; encoders send neither header.

    Raises:
        ClientError: 403.
    """
    origin, site = request.header("origin"), request.header("sec-fetch-site").lower()
    ours = (request.header("host").lower(), request.forwarded_host.lower())
    if site in ("cross-site", "same-site") or (origin and _authority(origin) not in ours):
        raise ClientError(403, "refused: a page of another site asked for this")


def _authority(origin: str) -> str | None:
    """Host and port of an Origin header (RFC 6454 §7); None where it has none, as "null" has not."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None

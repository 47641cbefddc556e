"""May this client do this? One function in front of every route."""

from __future__ import annotations

import base64
import binascii
import logging
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from castd.access.secrets import resolve, verify
from castd.errors import ClientError
from castd.http.routes import Need

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.access.secrets import Secrets
    from castd.config import Config, Current
    from castd.http.messages import Request
    from castd.http.routes import Route
    from castd.wire.shoutcast import Login

log = logging.getLogger(__name__)

STREAM_KEY_USER = "key"
"""The user of an encoder that knows a mount's stream key and nothing else."""

CHALLENGE = (("WWW-Authenticate", 'Basic realm="Icecast2 Server", charset="UTF-8"'),)
"""Icecast's realm (capture C10). libshout's clients send no credentials until they have seen a challenge."""


class Gate:
    """Knows the credentials and what each opens."""

    def __init__(self, current: Current, secrets: Secrets) -> None:
        self._current = current
        self._secrets = secrets

    def prepare(self, config: Config) -> Callable[[], None]:
        """Find the secrets; see castd.reload.Part. One that was configured and is not any more may be a new one."""
        secrets = resolve(config.auth, Path(config.server.state_dir)) if config.server.state_dir else self._secrets

        def commit() -> None:
            self._secrets = secrets
            for name in sorted(secrets.generated):
                log.warning("a new %s was made; it is in %s", name, Path(config.server.state_dir) / name)

        return commit

    def authorise(self, route: Route, request: Request, mount: str) -> str:
        """Let a request pass or not.

        Args:
            route: what it asks for.
            mount: the mount it is about, "" if it is about none.

        Returns:
            The name of the user, "" for the public.

        Raises:
            ClientError: 401 with a challenge; 403 if a browser sends it from another site.
        """
        if route.need is Need.NOTHING:
            return ""
        if route.changes:
            _refuse_cross_site(request)
        if route.password_of is not None:
            return self._shoutcast(route, route.password_of(request), mount)
        settings = self._current.config.mount(mount or "/")
        if route.need is Need.SOURCE and verify(request.argument("key") or "", settings.stream_key):
            return STREAM_KEY_USER
        scheme, _, credentials = request.header("authorization").partition(" ")
        if not scheme:
            raise ClientError(401, "You need to authenticate", CHALLENGE)
        granted = ""
        if scheme.lower() == "basic":
            granted = self._basic(route.need, *_decode_basic(credentials), mount)
        elif scheme.lower() == "bearer" and verify(credentials.strip(), self._secrets.admin_token):
            granted = "" if route.need is Need.SOURCE else self._current.config.auth.admin_user
        if not granted:
            raise ClientError(401, "wrong user or password", CHALLENGE)
        return granted

    def _shoutcast(self, route: Route, login: Login, mount: str) -> str:
        """The user of a SHOUTcast password, whichever way it is meant.

        Raises:
            ClientError: 401; SHOUTcast's clients know no challenge.
        """
        users = [self._current.config.mount(mount or "/").source_user, self._current.config.auth.admin_user]
        found = [
            self._basic(route.need, user, password, mount)
            for given, password in login.secrets
            for user in ([given] if given else users)
        ]
        if granted := next(filter(None, found), ""):
            return granted
        raise ClientError(401, "wrong password", CHALLENGE)

    def _basic(self, need: Need, user: str, password: str, mount: str) -> str:
        """The user if these credentials satisfy `need`, else ""; every comparison is made whatever the others say."""
        settings, auth = self._current.config.mount(mount or "/"), self._current.config.auth
        is_source = verify(user, settings.source_user) & verify(
            password, settings.source_password or self._secrets.source_password
        )
        for dj in self._current.config.djs:
            is_source |= verify(user, dj.user) & verify(password, dj.password) & dj.may_feed(mount)
        is_admin = verify(user, auth.admin_user) & verify(password, self._secrets.admin_password)
        if need is Need.SOURCE or (need is Need.STEER and not is_admin):
            return user if is_source and mount else ""
        return user if is_admin else ""


def _decode_basic(credentials: str) -> tuple[str, str]:
    """User and password of a Basic header (RFC 7617); both empty if it is broken, which nothing accepts."""
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        return "", ""
    user, _, password = decoded.decode("utf-8", "surrogateescape").partition(":")
    return user, password


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

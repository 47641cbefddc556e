"""Icecast's URL authentication: a web service is asked who may listen and send, and told when they come and go.

Requests are byte for byte Icecast's (capture E28; quirk 85). What Icecast leaves open is decided by the configuration:
how long the service may take, and what holds while it does not answer. What it is merely told of is tried again for a
while, in the order of things.
"""

from __future__ import annotations

import base64
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from castd.errors import ClientError
from castd.http.post import NoAnswer, post_form
from castd.http.routes import Grant, StayState
from castd.log import Repeats
from castd.wire.form import form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from castd.config import Current, UrlAuth
    from castd.http.messages import Request
    from castd.http.post import Answer

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Questions asked of services at one time; others wait, which counts for their time."""

UNTOLD = 10_000
"""Comings and goings a service has not been told of yet, at most; beyond it the newest are dropped, with a warning."""

TRIES_SECONDS = (0.0, 1.0, 5.0, 25.0)
"""Before each try to tell."""

REPEAT_SECONDS, REPEAT_LINES = 10.0, 10
"""Lines in so many seconds about a service that does not answer; everybody who comes asks it."""

FINISH_SECONDS = 5.0
"""For what is still to be told when the server stops."""

RETRY_AFTER = (("Retry-After", "10"),)


@dataclass(frozen=True, slots=True, eq=False)
class Stay:
    """See castd.http.routes.Stay."""

    auths: UrlAuths
    service: str
    fields: dict[str, str]
    login: tuple[str, str]
    begun: float

    def state(self) -> StayState:
        return StayState(self.service, self.fields, self.login, self.begun)

    def end(self) -> None:
        self.auths.listener_left(self)


@dataclass(frozen=True, slots=True)
class _Word:
    """Something to tell."""

    service: UrlAuth
    url: str
    fields: Mapping[str, str]
    login: tuple[str, str]


class UrlAuths:
    """All services of the configuration.

    Args:
        next_id: gives numbers for listeners.
        monotonic: seconds.
    """

    def __init__(self, current: Current, next_id: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._current = current
        self._next_id = next_id
        self._monotonic = monotonic
        self._places = trio.CapacityLimiter(AT_ONCE)
        self._untold, self._to_tell = trio.open_memory_channel[_Word](UNTOLD)
        self._telling = 0
        self._told = trio.Condition()
        self._repeats = Repeats(REPEAT_SECONDS, most=REPEAT_LINES)

    def service(self, mount: str) -> UrlAuth | None:
        """The service of a mount."""
        name = self._current.config.mount(mount or "/").url_auth
        return self._called(name) if name else None

    def _called(self, name: str) -> UrlAuth | None:
        return next((each for each in self._current.config.url_auth if each.name == name), None)

    async def admit(self, service: UrlAuth, request: Request, mount: str, login: tuple[str, str]) -> Grant:
        """Ask whether somebody may listen.

        Args:
            login: user and password as given, both "" without.

        Raises:
            ClientError: 401: no; 503: the service does not answer, and the configuration refuses then.
        """
        listener_id = self._next_id()
        who = {
            "server": self._current.config.server.hostname,
            "port": self._port,
            "client": str(listener_id),
            "mount": mount + (f"?{request.raw_query}" if request.raw_query else ""),
            "user": login[0],
            "pass": login[1],
        }
        where = {"ip": request.address, "agent": request.agent or "-"}
        shown = {
            f"ClientHeader.{name}": request.header(name) for name in service.client_headers if request.header(name)
        }
        answer = await self._ask(
            service, service.listener_add, {"action": "listener_add", **who, **where, **shown}, login
        )
        if answer is None:
            return Grant(login[0], listener_id=listener_id)
        _require_yes(service, answer)
        return Grant(
            login[0],
            seconds=_seconds(answer.headers.get(service.time_limit_header.lower(), "")),
            listener_id=listener_id,
            stay=Stay(self, service.name, {**who, **where}, login, self._monotonic())
            if service.listener_remove
            else None,
        )

    def go_on_with(self, state: StayState) -> Stay:
        """The stay of somebody whom another process let in."""
        return Stay(self, state.service, state.fields, state.login, state.begun)

    def listener_left(self, stay: Stay) -> None:
        """Tell the service, if there is still one of that name."""
        service = self._called(stay.service)
        if service is not None and service.listener_remove:
            seconds = str(int(self._monotonic() - stay.begun))
            where = {name: stay.fields[name] for name in ("ip", "agent")}
            who = {name: value for name, value in stay.fields.items() if name not in where}
            fields = {"action": "listener_remove", **who, "duration": seconds, **where}
            self._tell(_Word(service, service.listener_remove, fields, stay.login))

    async def may_feed(
        self, service: UrlAuth, request: Request, mount: str, login: tuple[str, str], *, steers: bool
    ) -> None:
        """Ask whether somebody may send, or set titles.

        Raises:
            ClientError: as `admit`.
        """
        fields = {
            "action": "stream_auth",
            "mount": mount,
            "ip": request.address,
            "server": self._current.config.server.hostname,
            "port": self._port,
            "user": login[0],
            "pass": login[1],
            **({"admin": "1"} if steers else {}),
        }
        answer = await self._ask(service, service.stream_auth, fields, ("", ""))
        if answer is not None:
            _require_yes(service, answer)

    def source_changed(self, mount: str, *, came: bool) -> None:
        """Tell of an encoder that came or went."""
        service = self.service(mount)
        if service is not None and (url := service.mount_add if came else service.mount_remove):
            fields = {
                "action": "mount_add" if came else "mount_remove",
                "mount": mount,
                "server": self._current.config.server.hostname,
                "port": self._port,
            }
            self._tell(_Word(service, url, fields, ("", "")))

    @property
    def _port(self) -> str:
        return str(self._current.config.listen[0].port)

    async def _ask(
        self, service: UrlAuth, url: str, fields: Mapping[str, str], login: tuple[str, str]
    ) -> Answer | None:
        """The answer; None if there is none, and everybody is let in then.

        Raises:
            ClientError: 503.
        """
        why = f"it did not answer within {service.timeout_seconds:g} s"
        with trio.move_on_after(service.timeout_seconds):  # for a place, too
            try:
                async with self._places:
                    return await self._post(service, url, fields, login)
            except NoAnswer as error:
                why = str(error)
        allowed = service.when_unreachable == "allow"
        left_out = self._repeats.admit(service.name, self._monotonic())
        if left_out is not None:
            does = "lets in" if allowed else "turns away"
            log.warning("%s %s %s by %s: %s (%d more were not told)",
                        service.name, does, fields["ip"], fields["action"], why, left_out)  # fmt: skip
        if allowed:
            return None
        raise ClientError(503, "who may do this is decided by a service that does not answer", RETRY_AFTER)

    async def _post(self, service: UrlAuth, url: str, fields: Mapping[str, str], login: tuple[str, str]) -> Answer:
        user, password = (service.user, service.password) if service.user else login
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}"}
        return await post_form(url, form(fields), service.timeout_seconds, headers)

    def _tell(self, word: _Word) -> None:
        try:
            self._untold.send_nowait(word)
        except trio.WouldBlock:
            log.warning("%s: too slow, %s was dropped", word.service.name, word.fields["action"])
        else:
            self._telling += 1

    async def run(self) -> None:
        """Tell, in order, until cancelled."""
        while True:
            word = await self._to_tell.receive()
            try:
                await self._tell_one(word)
            except Exception:  # a bug; what follows is told all the same
                log.exception("%s: %s", word.service.name, word.fields["action"])
            finally:
                self._telling -= 1
            async with self._told:
                self._told.notify_all()

    async def _tell_one(self, word: _Word) -> None:
        why = ""
        for wait in TRIES_SECONDS:
            await trio.sleep(wait)
            try:
                answer = await self._post(word.service, word.url, word.fields, word.login)
            except NoAnswer as error:
                why = str(error)
            else:
                if answer.status < 500:
                    return
                why = f"it answered {answer.status}"
            if self._telling > AT_ONCE:
                break  # others wait
        log.warning("%s was not told of %s: %s", word.service.name, word.fields["action"], why)

    async def finish(self) -> None:
        """Wait until everything is told, for a little."""
        with trio.move_on_after(FINISH_SECONDS):
            async with self._told:
                while self._telling:
                    await self._told.wait()


def _require_yes(service: UrlAuth, answer: Answer) -> None:
    """Raises ClientError: 401 with the service's words."""
    name, _, wanted = (part.strip() for part in service.auth_header.partition(":"))
    if answer.status < 400 and answer.headers.get(name.lower(), "").strip() == wanted:
        return
    words = answer.headers.get("icecast-auth-message", "") or "the service that decides said no"
    raise ClientError(401, words[:200], (("WWW-Authenticate", 'Basic realm="Icecast2 Server", charset="UTF-8"'),))


def _seconds(text: str) -> float:
    """A limit of time; 0 if there is none."""
    return float(text) if text.strip().isascii() and text.strip().isdigit() and len(text) < 12 else 0.0

"""Builds the parts, owns their tasks, and knows the order in which they start and stop.

Three nurseries: services (pump, poller, janitor) around connections around accept loops. Stopping ends the innermost,
brings every listener to the live end within a deadline, and then ends the rest. Who is handed over to another process
(castd.upgrade) is nobody's any more when it stops.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from castd import log as castd_log
from castd import privileges, sockets
from castd.access.admission import Admission
from castd.access.authorise import Gate
from castd.access.bans import Bans
from castd.access.url_auth import UrlAuths
from castd.adaptive.dash import Dash
from castd.adaptive.group_members import Members
from castd.adaptive.groups import Groups
from castd.adaptive.hls import Hls
from castd.adaptive.outputs import Outputs
from castd.adaptive.sessions import Sessions
from castd.admin.accounts import Accounts
from castd.admin.control import IcecastAdmin
from castd.admin.files import Files
from castd.admin.icecast_answers import as_page
from castd.admin.mounts import MountCommands
from castd.admin.playlists import Playlists
from castd.admin.reload import ReloadCommand
from castd.admin.shoutcast import ShoutcastStatus
from castd.admin.status import IcecastStatus
from castd.api.art import Art
from castd.api.bans import BanDesk, LimitDesk
from castd.api.events import EventStreams
from castd.api.hooks import HookStates
from castd.api.log_lines import LogLines
from castd.api.mount_desk import MountDesk
from castd.api.openapi import Document
from castd.api.operators import Operators
from castd.api.public import Public
from castd.api.settings import Settings
from castd.api.sign_in import SignInDesk
from castd.api.visits import Visits
from castd.config import Current
from castd.control import ControlSocket
from castd.control import Handler as Command
from castd.delivery.clip import Clips
from castd.delivery.icecast import Icecast as Listeners
from castd.delivery.poller import Poller
from castd.delivery.pump import Pump
from castd.delivery.rewinds import Rewinds
from castd.delivery.room import Room
from castd.errors import ConfigError, is_of_the_machine, lacks_resources
from castd.front import FrontDoor
from castd.http.connection import SHOUTCAST, SHOUTCAST_PATH
from castd.http.routes import Need, Route, Router
from castd.ingest.fallback import Fallbacks
from castd.ingest.icecast import Icecast as Sources
from castd.ingest.intake import Intake
from castd.ingest.recorder import Recorders
from castd.ingest.relays import Relays
from castd.ingest.shoutcast import Shoutcast
from castd.levels.supervisor import Levels
from castd.log import Repeats, warn_rarely
from castd.log_tail import LogTail
from castd.mount.aliases import Aliases
from castd.mount.mount import Clock
from castd.mount.party import Goodbye, next_id
from castd.mount.registry import Registry
from castd.pages.pages import Pages
from castd.reload import Reloader
from castd.resolver import Resolver
from castd.segments.segmenters import Segmenters
from castd.segments.windows import Windows
from castd.stats.announcer import Announcer
from castd.stats.directories import Directories
from castd.stats.events import Events
from castd.stats.hooks import Hooks
from castd.stats.records import Records, log_file
from castd.stats.samples import Samples
from castd.systemd import Notifier
from castd.tls import Certificates
from castd.transcode.renditions import Renditions
from castd.upgrade.giving import Successor, hand_over
from castd.upgrade.parts import Parts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from castd.access.secrets import Secrets
    from castd.config import Config
    from castd.delivery.listener import Listener
    from castd.http.messages import Request
    from castd.http.routes import Grant, Handler
    from castd.upgrade.taking import Predecessor

log = logging.getLogger(__name__)

SAVE_AGAIN_SECONDS = 10.0
"""After bans could not be written to the disk."""

JANITOR_SECONDS = 1.0

FAILED_AGAIN_SECONDS = 3600.0
"""For a chore that fails each time one traceback in so long."""
"""How often mounts are looked for whose source stayed away."""


class Server:
    """All parts of one server, not running yet.

    Args:
        read: gives the configuration as it is written now, for reloads; without it they find `config` again.
        predecessor: the process whose place this one takes; None if there is none.
        command: starts a server like this one, to take its place.
    """

    def __init__(
        self,
        config: Config,
        secrets: Secrets,
        read: Callable[[], Config] | None = None,
        predecessor: Predecessor | None = None,
        command: Sequence[str] = (),
    ) -> None:
        self.predecessor = predecessor
        self._command = command
        self._stop = trio.Event()
        self._failed_chores = Repeats(FAILED_AGAIN_SECONDS)
        self._upgrading = False
        self.current = current = Current(config)
        self.registry = Registry(current, Clock(monotonic=trio.current_time, wall=time.time))
        self.manager = Notifier(os.environ)
        self.records = Records(config, self.registry.clock)
        self.events = Events(self.registry.clock.wall)
        self.registry.observer = Announcer(self.events, self.registry.clock, self.records.title)
        self.fallbacks = Fallbacks(current, self.registry)
        self.recorders = Recorders(self.registry)
        self.rewinds = Rewinds(current, self.registry)
        self.relays = Relays(current, self.registry, self.records)
        self.renditions = Renditions(current, self.registry, self.records, self.relays.summon)
        self.directories = Directories(current, self.registry)
        self.samples = Samples(self.registry)
        self.icecast_status = IcecastStatus(current, self.registry)
        self.levels = Levels(self.registry)
        self.log_tail = LogTail()
        self.hooks = Hooks(config.hooks, config.server.state_dir, self.events)
        self.poller: Poller[Listener] = Poller()
        self.pump = Pump(current, self.poller)
        self.certificates = Certificates(config.certificates)
        self.url_auths = UrlAuths(current, next_id, trio.current_time)
        self.gate = Gate(current, secrets, self.url_auths, self.registry.clock.wall)
        self.bans = Bans(config, self.registry.clock.wall)
        self.admission = Admission(
            current, self.bans, lambda what, most: self.registry.observer.limit_reached(what, most)
        )
        self.event_streams = EventStreams(current, self.registry, self.events, self.admission.audience)
        self.reloader = Reloader(current, read or (lambda: config), self.manager)
        self.listeners = Listeners(
            self.current,
            self.registry,
            self.pump,
            self.records,
            aliases := Aliases(self.current, self.registry),
            self.admission.audience,
            (playlists := Playlists(self.current, aliases, Files(self.current, self.registry.totals).serve)).serve,
            lambda name: self.groups.summon(name),
            self._may_listen,
            self.relays.trail,
            lambda path: self.router.methods(path),
            self.url_auths.go_on_with,
        )
        self.segmenters = Segmenters(config)
        self.windows = Windows(current, self.registry, self.segmenters)
        self.sessions = Sessions(
            current, self.registry, Room(current, self.registry), self.records, self.admission.audience,
            self.gate.guards, self.url_auths.go_on_with,
        )  # fmt: skip
        self.gate.holder = self.sessions.holder
        self._listening = Route(("GET", "HEAD"), "*", Need.LISTEN, self.listeners.listen, mount_of=self.listeners.mount)
        outputs = Outputs(current, aliases, self.segmenters, self.sessions, self.renditions.summon)
        summon = self.renditions.summon
        members = Members(current, self.registry, outputs, self.segmenters, summon, self._may_listen)
        self.groups = Groups(current, self.registry, members, outputs, self.segmenters, self.sessions, summon)
        self.intake = Intake(self.current, self.registry, self.records)
        self.router = Router(self._routes(aliases, playlists, outputs))
        self.front = FrontDoor(
            current, self.registry, self.router, self.gate, self.admission, self.bans, self.certificates, self.records
        )
        self.reloader.parts = (
            self.gate, self.admission, self.bans, self.certificates, self.registry, self.fallbacks, self.recorders,
            self.relays, self.renditions, self.records, self.segmenters, ServerLog(),
        )  # fmt: skip

    @property
    def config(self) -> Config:
        """In force now."""
        return self.current.config

    async def _may_listen(self, request: Request, mount: str) -> Grant:
        """What a request is granted at a mount, as if it had asked for that itself."""
        return await self.gate.authorise(self._listening, request, mount)

    def _routes(self, aliases: Aliases, playlists: Playlists, outputs: Outputs) -> list[Route]:
        """The whole table, in order of precedence: the last row takes every path the others did not."""
        settings = Settings(self.reloader)
        status, admin = self.icecast_status, IcecastAdmin(self.registry)
        mounts = MountCommands(self.current, self.registry, self.pump, self.fallbacks)
        desk = MountDesk(self.registry, self.pump, self.fallbacks)
        shoutcast_status = ShoutcastStatus(self.current, self.registry, aliases)
        listeners = self.listeners
        bans, limits = (
            BanDesk(self.bans, self.registry),
            LimitDesk(
                self.current, self.registry, self.admission, self.sessions, lambda: len(self.event_streams.followers)
            ),
        )
        sources, shoutcast = Sources(self.current, self.intake), Shoutcast(self.current, self.registry, self.intake)
        visits = Visits(self.records)
        public = Public(self.current, self.registry, listeners.hearing, self.segmenters.dates)
        operators = Operators(self.current, self.registry, self.samples, lambda: len(self.event_streams.followers))
        events, art = self.event_streams, Art(self.current, self.registry)
        signing_in, log_lines = SignInDesk(self.gate.sign_ins), LogLines(self.log_tail)
        pages = Pages(self.current, self.registry)
        hls = Hls(outputs, self.sessions, self.groups)
        dash = Dash(self.current, outputs, self.sessions, self.groups, self.registry.clock)
        document = Document(lambda: self.router.routes, self.current)
        read, act = ("GET", "HEAD"), ("GET", "POST")
        return [
            Route(("OPTIONS",), "{any*}", Need.NOTHING, listeners.preflight),
            Route(("STATS",), "/", Need.ADMIN, status.follow),
            Route(read, "/", Need.LISTEN, listeners.at_root(pages.index), mount_of=listeners.at_root_mount),
            Route(read, "/static/{file}", Need.NOTHING, pages.static),
            Route(read, "/favicon.ico", Need.NOTHING, pages.favicon),
            Route(read, "/healthz", Need.NOTHING, pages.health),
            Route(read, "/listen.pls", Need.NOTHING, playlists.listen),
            Route(read, "/listen.m3u", Need.NOTHING, playlists.listen),
            Route(read, "/7.html", Need.NOTHING, shoutcast_status.seven),
            Route(read, "/stats", Need.NOTHING, shoutcast_status.stats),
            Route(read, "/statistics", Need.NOTHING, shoutcast_status.statistics),
            Route(read, "/currentsong", Need.NOTHING, shoutcast_status.current_song),
            Route(read, "/played", Need.NOTHING, shoutcast_status.played),
            Route(read, "/played.html", Need.NOTHING, shoutcast_status.played),
            Route(read, "/status-json.xsl", Need.NOTHING, status.json),
            Route(read, "/p/{name}", Need.NOTHING, pages.of_mount),
            Route(read, "/admin/", Need.NOTHING, pages.admin),
            Route(read, "/admin", Need.NOTHING, pages.to_admin),
            Route(read, "/api/", Need.NOTHING, pages.api),
            Route(read, "/api/v1/openapi.json", Need.NOTHING, document.show),
            Route(read, "/api/v1/server", Need.NOTHING, public.server),
            Route(read, "/api/v1/status", Need.NOTHING, public.status),
            Route(read, "/api/v1/session", Need.NOTHING, signing_in.show),
            Route(read, "/api/v1/oembed", Need.NOTHING, public.oembed),
            Route(read, "/api/v1/events", Need.NOTHING, events.everything),
            Route(read, "/api/v1/groups", Need.NOTHING, public.groups),
            Route(read, "/api/v1/groups/{name}", Need.NOTHING, public.group),
            Route(read, "/api/v1/mounts", Need.NOTHING, public.mounts),
            Route(read, "/api/v1/mounts/{name}", Need.NOTHING, public.mount),
            Route(read, "/api/v1/mounts/{name}/titles", Need.NOTHING, public.titles),
            Route(read, "/api/v1/mounts/{name}/events", Need.NOTHING, events.of_mount),
            Route(read, "/api/v1/mounts/{name}/hearing", Need.NOTHING, public.hearing),
            Route(read, "/api/v1/mounts/{name}/window", Need.NOTHING, public.window),
            Route(read, "/api/v1/mounts/{name}/art", Need.NOTHING, art.show),
            Route(read, "/api/v1/mounts/{name}/qr", Need.NOTHING, public.qr),
            *_for_operators("read", True, [
                (read, "stats", operators.stats),
                (read, "sources", operators.sources),
                (read, "listeners", operators.listeners),
            ]),
            *_for_operators("read", False, [(read, "sessions", visits.list)]),
            *_for_operators("kick", True, [
                (("DELETE",), "sources/{id}", operators.kick_source),
                (("DELETE",), "listeners/{id}", operators.kick_listener),
            ]),
            *_for_operators("move", True, [
                (("POST",), "mounts/{name}/move", desk.move),
                (("POST",), "mounts/{name}/fallback", desk.set_fallback),
            ]),
            *_for_operators("ban", False, [
                (read, "bans", bans.list),
                (("POST",), "bans", bans.add),
                (("DELETE",), "bans/{id}", bans.remove),
            ]),
            *_for_operators("server", False, [
                (read, "limits", limits.list),
                (read, "hooks", HookStates(self.hooks).list),
                (read, "log", log_lines.list),
                (("POST",), "reload", settings.reload),
            ]),
            *_for_operators("", True, [
                (("POST",), "session", signing_in.begin),
                (("DELETE",), "session", signing_in.end),
            ]),
            Route(("POST",), "/api/v1/admin/mounts/{name}/title", Need.STEER, operators.set_title, right="title",
                  changes=True),
            Route(read, "/admin/stats.xml", Need.ADMIN, status.xml),
            *_command("stats", read, Need.ADMIN, status.xml),
            *_command("listmounts", read, Need.ADMIN, mounts.listmounts),
            *_command("streamlist", read, Need.ADMIN, mounts.listmounts),
            Route(read, "/admin/streamlist.txt", Need.RELAY, mounts.streamlist),
            *_command("listclients", read, Need.ADMIN, admin.listclients),
            *_command("metadata", act, Need.STEER, admin.metadata),
            *_command("updatemetadata", read, Need.STEER, mounts.updatemetadata),
            *_command("killsource", act, Need.STEER, admin.killsource),
            *_command("killclient", act, Need.ADMIN, admin.killclient),
            *_command("moveclients", act, Need.ADMIN, mounts.moveclients),
            *_command("manageauth", act, Need.ADMIN, Accounts(self.registry).manage),
            *_command("reloadconfig", act, Need.ADMIN, ReloadCommand(self.reloader).reload),
            *_command("fallbacks", act, Need.ADMIN, mounts.fallbacks),
            Route(read, "/admin/buildm3u", Need.NOTHING, mounts.buildm3u),
            Route(act, "/admin.cgi", Need.STEER, shoutcast.control, changes=True, mount_of=shoutcast.mount,
                  password_of=shoutcast.password),
            Route((*act, "HEAD"), "/admin/{any*}", Need.ADMIN, admin.unknown),
            Route((*act, "HEAD"), "/api/v1/admin/{any*}", Need.ADMIN, operators.unknown),
            Route(read, "{name*}/clip", Need.ADMIN, Clips(self.registry).serve, right="clip"),
            Route(read, "{name*}/hls/index.m3u8", Need.LISTEN, hls.multivariant, mount_of=outputs.mount),
            Route(read, "{name*}/hls/audio.m3u8", Need.LISTEN, hls.media, mount_of=outputs.mount),
            Route(read, "{name*}/hls/{file}", Need.NOTHING, hls.file),
            Route(read, "{name*}/dash/manifest.mpd", Need.LISTEN, dash.manifest, mount_of=outputs.mount),
            Route(read, "{name*}/dash/{file}", Need.NOTHING, dash.file),
            self._listening,
            Route(("PUT", "SOURCE"), "*", Need.SOURCE, sources.push),
            Route((SHOUTCAST,), SHOUTCAST_PATH, Need.SOURCE, shoutcast.push, mount_of=shoutcast.mount,
                  password_of=shoutcast.password),
        ]  # fmt: skip

    async def run(self, ready: Callable[[list[str]], None]) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second one ends at once.

        Args:
            ready: called with the base URLs once all sockets are bound.

        Raises:
            ConfigError: an address cannot be bound, or root cannot become the configured user.
        """
        trio.socket.set_custom_hostname_resolver(Resolver())
        if self.predecessor is not None:
            self.predecessor.begin(self.parts)
            listeners = await sockets.open_listeners(self.config.listen, self.predecessor.doors)
        else:
            listeners = await sockets.open_listeners(self.config.listen)
        try:
            privileges.become(privileges.account(self.config.server.user))
            if self.config.logs.server:
                ServerLog().prepare(self.config)()  # only now: the file must belong to the user we have become
            if self.predecessor is not None:
                self.predecessor.take(self.parts)
            await self._serve(listeners, ready)
        finally:
            for each in listeners:
                each.listener.socket.close()
            for mount in self.registry.mounts.values():
                mount.close(Goodbye.DRAINED)
            self.close()

    @property
    def parts(self) -> Parts:
        """Those that go over to the next process."""
        return Parts(
            self.registry, self.pump, self.front, self.intake, self.listeners, self.fallbacks, self.relays,
            self.segmenters, self.sessions,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of what a server holds that does not run."""
        self.event_streams.followers.close()
        self.segmenters.close()
        self.poller.close()
        self.front.close()
        self.manager.close()

    async def _serve(self, doors: list[sockets.Bound], ready: Callable[[list[str]], None]) -> None:
        with self.log_tail:
            async with trio.open_nursery() as services:
                async with trio.open_nursery() as connections:
                    if self.predecessor is not None:
                        self.predecessor.go_on(self.parts, connections)
                    await self._start_services(services, doors)
                    await self._accept_until_stopped(doors, connections, ready)
                    await self._drain()
                    connections.cancel_scope.cancel()
                await self.control.finish()
                await self.hooks.finish()
                await self.url_auths.finish()
                await self.directories.finish()
                services.cancel_scope.cancel()

    async def _start_services(self, services: trio.Nursery, doors: list[sockets.Bound]) -> None:
        services.start_soon(self.poller.run)
        services.start_soon(self.pump.run)
        services.start_soon(self.segmenters.run)
        await services.start(self.records.run)
        await services.start(self._watch_requests)
        commands: dict[str, Command] = {
            "reload": self._reload_for_a_command,
            "upgrade": partial(self._upgrade_for_a_command, doors),
        }
        self.control = ControlSocket(
            Path(self.config.server.state_dir), commands, succeeds=self.predecessor is not None
        )
        if self.config.server.state_dir:
            await services.start(self.control.run)
        await services.start(self.recorders.run)
        await services.start(self.rewinds.run)
        services.start_soon(self.windows.run)
        await services.start(self.fallbacks.run)
        await services.start(self.relays.run)
        await services.start(self.renditions.run)
        services.start_soon(self.hooks.run)
        services.start_soon(self.url_auths.run)
        services.start_soon(self.directories.run)
        services.start_soon(self._tell_of_sources)
        services.start_soon(self.samples.run)
        services.start_soon(self.levels.run)
        services.start_soon(self.event_streams.run)
        services.start_soon(self._tidy)
        services.start_soon(self.manager.attend, self._status)
        await services.start(_watch_signals, self._stop, services.cancel_scope)

    async def _accept_until_stopped(
        self, doors: list[sockets.Bound], connections: trio.Nursery, ready: Callable[[list[str]], None]
    ) -> None:
        async with trio.open_nursery() as accepting:
            for each in doors:
                accepting.start_soon(self.front.accept, each, connections)
            ready([self._url(each) for each in doors])
            self.manager.ready()
            await self._stop.wait()
            self.manager.stopping(self.config.limits.drain_seconds)
            accepting.cancel_scope.cancel()
        for each in doors:
            each.listener.socket.close()
        self.front.stopping = True

    async def _upgrade_for_a_command(self, doors: list[sockets.Bound], question: dict[str, Any]) -> dict[str, Any]:
        """Hand everything over to a new process; see castd.upgrade."""
        if self._upgrading or self._stop.is_set():
            raise ConfigError("the server is being handed over, or stopping, already")
        if not self._command:
            raise ConfigError("this server cannot start another: it was not started by the castd command")
        self._upgrading = True
        try:
            log.info("upgrade asked for by %s", question["by"])
            successor = Successor(self._command, os.environ)
            await successor.load()
            given = await hand_over(self.parts, doors, successor)
        except ConfigError as error:
            log.error("not handed over, and going on: %s", error)
            raise
        finally:
            self._upgrading = False
        self.control.leave()
        self.manager.succeeded_by(given.pid)
        log.info(
            "handed over to process %d within %.0f ms: %d mounts, %d sources, %d listeners, %d waiting connections",
            given.pid, given.seconds * 1000, given.mounts, given.sources, given.listeners, given.talks,
        )  # fmt: skip
        if given.left or given.released:
            log.warning(
                "%d listeners over TLS and %d sources could not be handed over; they are given what there is, and have "
                "to come back", given.left, given.released,
            )  # fmt: skip
        self._stop.set()
        return asdict(given)

    def reopen_logs(self) -> None:
        """Open every log file anew: somebody has moved them away."""
        self.records.reopen()
        castd_log.reopen()
        log.info("log files opened anew")

    async def _drain(self) -> None:
        """Take no more from sources, give listeners what is left, and whoever is being answered the rest of it."""
        mounts = list(self.registry.mounts.values())
        log.info("stopping: %d sources, %d listeners", self.registry.sources, len(self.pump.everybody))
        self.fallbacks.stopping = True
        for mount in mounts:
            for source in list(mount.sources):
                source.end(Goodbye.DRAINED)
        with trio.move_on_after(self.config.limits.drain_seconds) as deadline:
            await self.pump.drain()
        if deadline.cancelled_caught:
            log.warning("%d listeners were still behind after %g s", self.registry.listeners,
                        self.config.limits.drain_seconds)  # fmt: skip
        for listener in self.pump.everybody:
            listener.end(Goodbye.DRAINED)
        self.sessions.end_all(Goodbye.DRAINED)
        self.segmenters.close()
        self.icecast_status.end_followers()
        self.front.hold.engage()
        with trio.move_on_at(deadline.deadline) as deadline:
            await self.front.hold.gathered(but=self.intake.visiting)
        if deadline.cancelled_caught:
            log.warning("answers that were still being sent after %g s are cut off", self.config.limits.drain_seconds)

    async def _tidy(self) -> None:
        bans_due = trio.current_time()
        while True:
            await trio.sleep(JANITOR_SECONDS)
            try:
                await self._look_at_files()
            except Exception as error:
                if not lacks_resources(error):
                    raise
                warn_rarely(f"it cannot be seen whether files changed: {error or 'no memory'}")
            if self.bans.unsaved and trio.current_time() >= bans_due:
                bans_due = trio.current_time() + SAVE_AGAIN_SECONDS
                await self._save_bans()
            self._do_chores()

    def _do_chores(self) -> None:
        """What is due every now and then; what goes wrong with one costs nobody else anything."""
        chores: tuple[Callable[[], None], ...] = (
            self.bans.forget_expired,
            self.fallbacks.settle_all,
            lambda: self.pump.end_overdue(self.registry.clock.monotonic()),
            self.pump.remind,
            self.sessions.tidy,
            self.segmenters.tidy,
            self._reap,
        )
        for at, chore in enumerate(chores):
            try:
                chore()
            except Exception:  # a bug
                if (left_out := self._failed_chores.admit(at, trio.current_time())) is not None:
                    log.exception("one of the server's chores failed (and %d times before)", left_out)

    def _reap(self) -> None:
        for mount in self.registry.reap():
            log.info("%s: closed, its source did not return", mount.name)

    async def _save_bans(self) -> None:
        try:
            await self.bans.save()
        except Exception as error:
            if not is_of_the_machine(error):
                raise
            warn_rarely(f"bans cannot be kept over a restart: {error or 'no memory'}")

    async def _look_at_files(self) -> None:
        for file in await trio.to_thread.run_sync(self.certificates.refresh):
            log.info("the certificate %s changed and is used from now on", file)
        if await trio.to_thread.run_sync(self.bans.refresh):
            log.info("the lists of bans changed and are used from now on")

    async def _tell_of_sources(self) -> None:
        """URL authentication wants to know of encoders."""
        on_air = {mount.name for mount in self.registry.mounts.values() if mount.encoder}
        with self.events.subscribe("url auth", 1000, ("source.connected", "source.lost")) as happening:
            while True:
                event = await happening.receive()
                came = event.name == "source.connected"
                if came != (event.mount in on_air):  # of several at a mount the first comes and the last goes
                    (on_air.add if came else on_air.remove)(event.mount)
                    self.url_auths.source_changed(event.mount, came=came)

    async def _watch_requests(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """SIGUSR1 opens the log files anew; SIGHUP does, as with every daemon, and reloads the configuration."""
        with trio.open_signal_receiver(signal.SIGUSR1, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                self.reopen_logs()
                if number == signal.SIGHUP:
                    with suppress(ConfigError):  # it is in the log, and there is nobody else to tell
                        await self.reloader.reload("SIGHUP")

    async def _reload_for_a_command(self, question: dict[str, Any]) -> dict[str, Any]:
        return asdict(await self.reloader.reload(question["by"], trial=bool(question.get("trial"))))

    def _status(self) -> str:
        return f"{self.registry.sources} sources, {self.registry.listeners} listeners"

    def _url(self, bound: sockets.Bound) -> str:
        host, port = bound.listener.socket.getsockname()[:2]
        scheme = "https" if bound.listen.tls == "on" else "http"
        if host in ("::", "0.0.0.0"):
            host = self.config.server.hostname
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _for_operators(right: str, of_mounts: bool, rows: list[tuple[tuple[str, ...], str, Handler]]) -> list[Route]:
    """Rows below /api/v1/admin/ that ask for one right, which tokens may have for some mounts only, or not."""
    return [
        Route(
            methods, f"/api/v1/admin/{path}", Need.ADMIN, handler,
            right=right, of_mounts=of_mounts, changes="GET" not in methods,
        )
        for methods, path, handler in rows
    ]  # fmt: skip


def _command(name: str, methods: tuple[str, ...], need: Need, handler: Handler) -> tuple[Route, Route]:
    """One of Icecast's admin commands, and the page of its answer."""
    path, changes = f"/admin/{name}", "POST" in methods
    return (
        Route(methods, path, need, handler, changes=changes),
        Route(methods, f"{path}.xsl", need, as_page(handler), changes=changes),
    )


class ServerLog:
    """The server's own log, where that is a file."""

    def prepare(self, config: Config) -> Callable[[], None]:
        """See castd.reload.Part."""

        def commit() -> None:
            if config.logs.server:
                log.info("the log goes on in %s", config.logs.server)
            castd_log.write_to(log_file(config.logs, config.logs.server))

        return commit


async def run(
    config: Config,
    secrets: Secrets,
    read: Callable[[], Config],
    ready: Callable[[list[str]], None],
    predecessor: Predecessor | None,
    command: Sequence[str],
) -> None:
    """The server, from start to stop; see Server and Server.run."""
    await Server(config, secrets, read, predecessor, command).run(ready)


async def _watch_signals(
    stop: trio.Event, everything: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                log.warning("%s again: ending at once", signal.Signals(number).name)
                everything.cancel()
            log.info("%s: stopping", signal.Signals(number).name)
            stop.set()

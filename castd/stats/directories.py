"""Directories of stations are told of public mounts: the YP protocol of dir.xiph.org (capture E30).

A mount is added when it has a source and wants to be listed, touched with its title and listeners as often as the
directory asks, and removed when its source is gone. A directory that does not answer costs nobody anything.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from castd.http.messages import quote_mount
from castd.http.post import Answer, NoAnswer, Target, post_form
from castd.stats.snapshot import SUBTYPES, mount_facts
from castd.wire.form import escaped, form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from castd.config import Current, Directory
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often mounts are looked at."""

TOUCH_SECONDS = (30.0, 3600.0)
"""What a directory may ask for, at least and at most."""

DEFAULT_TOUCH_SECONDS = 600.0

RETRY_SECONDS = 300.0
"""After a directory did not answer, or said no."""

FINISH_SECONDS = 3.0
"""To take everything out when the server stops."""


@dataclass(slots=True)
class Listing:
    """A mount in a directory.

    Attributes:
        session: the directory's name for it; "" while it is not there.
        due: monotonic time of the next try or touch.
        started: wall time of the source it was added for.
        complaint: what was said of it in the log last.
    """

    session: str = ""
    due: float = 0.0
    started: float = 0.0
    complaint: str = ""


class Directories:
    """All directories of the configuration."""

    def __init__(self, current: Current, registry: Registry) -> None:
        self._current = current
        self._registry = registry
        self._listings: dict[tuple[Directory, str], Listing] = {}

    async def run(self) -> None:
        """Tell them until cancelled."""
        while True:
            await self.tell(trio.current_time())
            await trio.sleep(LOOK_SECONDS)

    async def finish(self) -> None:
        """Take everything out, if it can be done soon."""
        with trio.move_on_after(FINISH_SECONDS):
            async with trio.open_nursery() as nursery:
                for (directory, name), listing in self._listings.items():
                    if listing.session:
                        nursery.start_soon(self._remove, directory, name, listing)

    async def tell(self, now: float) -> None:
        """Do what is due.

        Args:
            now: monotonic seconds.
        """
        wanted = {
            (directory, mount.name): mount
            for directory in self._current.config.directories
            for mount in self._registry.mounts.values()
            if mount.begun and mount.encoder is mount.source and not mount.settings.hidden and mount_facts(mount).public
        }
        async with trio.open_nursery() as nursery:
            for key, listing in list(self._listings.items()):
                mount = wanted.get(key)
                if mount is None or mount.started != listing.started:
                    del self._listings[key]
                    if listing.session:
                        nursery.start_soon(self._remove, *key, listing)
            for key, mount in wanted.items():
                listing = self._listings.setdefault(key, Listing(started=mount.started))
                if now >= listing.due:
                    nursery.start_soon(self._update, key[0], mount, listing, now)

    async def _update(self, directory: Directory, mount: Mount, listing: Listing, now: float) -> None:
        action = "touch" if listing.session else "add"
        fields = self._touch(mount, listing) if listing.session else self._add(mount)
        answer = await self._post(directory, mount.name, listing, action, fields)
        if answer is None:
            listing.session, listing.due = "", now + RETRY_SECONDS
            return
        if action == "add":
            listing.session = _session(answer.headers.get("sid", ""))
            log.info("%s: listed by %s", mount.name, Target.of(directory.url))
        least, most = TOUCH_SECONDS
        frequency = answer.headers.get("touchfreq", "").strip()
        seconds = float(frequency) if frequency.isascii() and frequency.isdigit() else DEFAULT_TOUCH_SECONDS
        listing.due = now + (0.0 if action == "add" else max(least, min(seconds, most)))

    async def _remove(self, directory: Directory, name: str, listing: Listing) -> None:
        await self._post(directory, name, listing, "remove", {"sid": listing.session})
        listing.session = ""

    async def _post(
        self, directory: Directory, name: str, listing: Listing, action: str, fields: Mapping[str, str]
    ) -> Answer | None:
        """The answer, if it is yes."""
        ending = "" if action == "remove" else "\r\n"  # as Icecast's
        try:
            body = form({"action": action, **fields}) + ending
            answer = await post_form(directory.url, body, directory.timeout_seconds)
        except NoAnswer as error:
            why = str(error)
        else:
            if answer.headers.get("ypresponse", "").strip() == "1":
                listing.complaint = ""
                return answer
            why = answer.headers.get("ypmessage", "")[:200] or f"it answered {answer.status}"
        if why != listing.complaint:
            listing.complaint = why
            log.warning("%s: %s at %s failed: %s", name, action, Target.of(directory.url), why)
        return None

    def _add(self, mount: Mount) -> dict[str, str]:
        facts = mount_facts(mount)
        return {
            "sn": facts.name or "Unspecified name",
            "genre": facts.genre or "various",
            "cpswd": "",
            "desc": facts.description,
            "url": facts.url,
            "listenurl": f"{self._current.config.own_url}{quote_mount(mount.name)}",
            "type": facts.content_type,
            "stype": SUBTYPES.get(facts.codec, ""),
            "b": facts.declared_bitrate or str(facts.bitrate // 1000 or ""),
            "": facts.audio_info_text,  # a value without a name, as Icecast sends it
        }

    def _touch(self, mount: Mount, listing: Listing) -> dict[str, str]:
        title, facts = mount.timeline.title, mount_facts(mount)
        return {
            "sid": listing.session,
            "st": title.text if title else "",
            "listeners": str(len(mount.listeners)),
            "max_listeners": str(mount.settings.max_listeners or self._current.config.limits.max_listeners),
            "stype": SUBTYPES.get(facts.codec, ""),
        }


def _session(text: str) -> str:
    """A directory's name for a listing, which goes back as it came."""
    return text if re.fullmatch(r"[A-Za-z0-9._~-]{1,200}", text) else escaped(text[:200])

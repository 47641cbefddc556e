"""Makes events of what mounts tell; the fields of each event are chosen here and listed in docs/hooks.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from castd.log import Repeats
from castd.mount.observer import Observer
from castd.mount.party import Goodbye
from castd.stats.snapshot import art_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from castd.mount.mount import Clock, Mount
    from castd.mount.party import Listener, Source
    from castd.mount.timeline import Title
    from castd.stats.events import Events, Value

LIMIT_SECONDS = 10.0
"""One event in so long about each limit: who is turned away often tries again at once."""

Fields: TypeAlias = "dict[str, Value]"


class Announcer(Observer):
    """Publishes an event for whatever an observer hears of.

    Args:
        record_title: is given every title, repeated or not.
    """

    def __init__(
        self,
        events: Events,
        clock: Clock,
        record_title: Callable[[Mount, Title], None] = lambda mount, title: None,
    ) -> None:
        self._events = events
        self._clock = clock
        self._record_title = record_title
        self._lost: WeakKeyDictionary[Mount, float] = WeakKeyDictionary()
        self._titles: WeakKeyDictionary[Mount, Fields] = WeakKeyDictionary()
        self._limits = Repeats(LIMIT_SECONDS)

    def mount_opened(self, mount: Mount) -> None:
        self._events.publish("mount.opened", mount.name, {})

    def mount_adopted(self, mount: Mount) -> None:
        if mount.lost is not None:
            self._lost[mount] = mount.lost

    def mount_closed(self, mount: Mount, reason: Goodbye) -> None:
        self._events.publish("mount.closed", mount.name, {"reason": reason.value})

    def source_connected(self, mount: Mount, source: Source) -> None:
        if source.fallback:
            fields: Fields = {"fallback": source.fallback, "listeners": len(mount.listeners)}
            self._events.publish("fallback.started", mount.name, fields)
            return
        said = source.description
        fields = _who(source) | {"content_type": said.content_type, "name": said.name, "genre": said.genre}
        self._events.publish("source.connected", mount.name, fields)
        lost = self._lost.pop(mount, None)
        if lost is not None:
            away = round(self._clock.monotonic() - lost, 3)
            fields = {"id": source.id, "away_seconds": away, "listeners": len(mount.listeners)}
            self._events.publish("source.returned", mount.name, fields)

    def source_ended(self, mount: Mount, source: Source) -> None:
        if source.fallback:
            seconds = round(self._clock.monotonic() - source.connected, 3)
            self._events.publish("fallback.ended", mount.name, {"fallback": source.fallback, "seconds": seconds})
            return
        fields = self._end(source) | {"bytes_received": source.bytes_received, "skipped_bytes": source.skipped_bytes}
        self._events.publish("source.ended", mount.name, fields)
        if mount.encoder is None:
            self._lost[mount] = self._clock.monotonic()
            fields = {
                "id": source.id,
                "reason": fields["reason"],
                "listeners": len(mount.listeners),
                "linger_seconds": mount.settings.linger_seconds,
            }
            self._events.publish("source.lost", mount.name, fields)

    def source_silent(self, mount: Mount, source: Source) -> None:
        self._events.publish("source.silent", mount.name, _heard(mount, source, source.sound.quiet_seconds))

    def source_sounding(self, mount: Mount, source: Source) -> None:
        self._events.publish("source.sounding", mount.name, _heard(mount, source, source.sound.last_silence_seconds))

    def title_set(self, mount: Mount, title: Title) -> None:
        self._record_title(mount, title)
        fields: Fields = {name: getattr(title, name) for name in ("text", "artist", "title", "album", "url")}
        fields |= {"art": art_path(mount.name, title.art) or None, "duration_seconds": title.duration or None}
        # Some encoders repeat the title every few seconds; a new source's is news even if it is the same.
        told = fields | {"source": mount.source.id if mount.source else 0}
        if self._titles.get(mount) != told:
            self._titles[mount] = told
            # where it begins, for those who show it when it is heard: in the stream, in its time, and by the clock
            heard: Fields = {"position": title.position, "media_seconds": round(title.time, 3), "wall": title.wall}
            self._events.publish("title", mount.name, fields | heard)

    def listener_connected(self, mount: Mount, listener: Listener) -> None:
        fields = _who(listener) | {"listeners": len(mount.listeners)}
        self._events.publish("listener.connected", mount.name, fields)

    def listener_ended(self, mount: Mount, listener: Listener) -> None:
        fields = self._end(listener) | {
            "bytes_sent": listener.bytes_sent,
            "jumps": listener.jumps,
            "listeners": len(mount.listeners),
        }
        self._events.publish("listener.ended", mount.name, fields)

    def listener_moved(self, mount: Mount, to: Mount, listener: Listener) -> None:
        fields = _who(listener) | {"to": to.name, "listeners": len(mount.listeners)}
        self._events.publish("listener.moved", mount.name, fields)

    def limit_reached(self, what: str, limit: float, mount: str = "") -> None:
        untold = self._limits.admit((what, mount), self._clock.monotonic())
        if untold is not None:
            self._events.publish("limit.reached", mount, {"what": what, "limit": limit, "refused": untold + 1})

    def _end(self, party: Listener | Source) -> Fields:
        return _who(party) | {
            "reason": (party.gone or Goodbye.FAILED).value,
            "ended_by": party.ended_by,
            "seconds": round(self._clock.monotonic() - party.connected, 3),
        }


def _who(party: Listener | Source) -> Fields:
    return {
        "id": party.id,
        "address": party.address,
        "agent": party.agent,
        "user": party.user,
        "protocol": party.protocol,
    }


def _heard(mount: Mount, source: Source, seconds: float) -> Fields:
    return {
        "id": source.id,
        "seconds": round(seconds, 3),
        "level_dbfs": source.sound.level_dbfs,
        "listeners": len(mount.listeners),
    }

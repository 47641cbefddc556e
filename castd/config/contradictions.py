"""Values that are fine alone and cannot work together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, fields
from typing import Any

from castd.config.exposure import exposed
from castd.config.grouping import unfit
from castd.config.hooks import unusable
from castd.config.model import Config, Delivery, Listen, Logs
from castd.config.problems import Problems, dotted
from castd.config.schema import shown
from castd.config.transcoding import unmakeable


@dataclass(frozen=True, slots=True)
class Relation:
    """Two keys of a mount's pace and what must hold between them.

    Attributes:
        key: the one the message is about.
        other: the one it depends on.
        words: completes "must be ... other".
        holds: of the values of key and other.
    """

    key: str
    other: str
    words: str
    holds: Callable[[float, float], bool]


RELATIONS = (
    Relation("burst_seconds", "ring_seconds", "at most", lambda burst, ring: burst <= ring),
    Relation("lag_seconds", "ring_seconds", "less than", lambda lag, ring: lag < ring),
    # A listener begins a burst behind the live end: with less lag than that each one would be late from the start.
    Relation("lag_seconds", "burst_seconds", "more than", lambda lag, burst: lag > burst),
    Relation(
        "send_interval_min_seconds",
        "send_interval_max_seconds",
        "at most",
        lambda shortest, longest: shortest <= longest,
    ),
    # Otherwise one late send empties the player's buffer.
    Relation(
        "send_interval_max_seconds",
        "burst_seconds",
        "at most half of",
        lambda wait, burst: burst == 0 or wait <= burst / 2,
    ),
)


def check(config: Config, source: object, problems: Problems) -> None:
    """Note each contradiction, in the section that brings it about.

    Args:
        config: whole, keys without a usable value at their defaults.
        source: the file, or "environment", for the messages.
        problems: receives the contradictions; relations of its failed keys are left out.
    """
    untrusting = not config.proxies.trusted and "trusted" not in problems.failed
    if untrusting and any(each.proxy_protocol for each in config.listen):
        problems.add(source, "listen.proxy_protocol = true: nobody could connect while proxies.trusted is empty")
    if any(each.tls != "off" for each in config.listen) and not config.certificates:
        problems.add(source, "listen.tls: needs a certificate; add a [[certificates]] section")
    if any(not each.certificate for each in config.certificates) and "certificate" not in problems.failed:
        problems.add(source, "certificates.certificate: must name a PEM file")
    for line in exposed(config, source):
        problems.add(source, line)
    for line in _twice(config.listen):
        problems.add(source, line)
    paths = [alias.path for alias in config.aliases]
    for number, alias in enumerate(config.aliases, 1):
        if alias.path == "/":
            problems.add(source, f"aliases[{number}].path: must be given")
        elif alias.path in paths[: number - 1]:
            problems.add(source, f"aliases[{number}].path: the same as one before it")
        elif alias.mount in paths and not {"path", "mount"} & problems.failed:
            problems.add(source, f"aliases[{number}].mount: is an alias itself; name the mount")
    for number, dj in enumerate(config.djs, 1):
        if not dj.password and "password" not in problems.failed:
            problems.add(source, f"djs[{number}].password: must not be empty; nobody could sign in as {dj.user}")
    if config.directories and config.server.hostname == "localhost" and "hostname" not in problems.failed:
        problems.add(source, "directories: need server.hostname, by which listeners find this server")
    for number, directory in enumerate(config.directories, 1):
        if not directory.url and "url" not in problems.failed:
            problems.add(source, f"directories[{number}].url: must be given")
    pulled = [relay.mount for relay in config.relays]
    for number, relay in enumerate(config.relays, 1):
        if not relay.mount or relay.mount in pulled[: number - 1]:
            problems.add(source, f"relays[{number}].mount: must be given, and be no other's")
        if not (relay.urls and all(relay.urls)) and "urls" not in problems.failed:
            problems.add(source, f"relays[{number}].urls: must name at least one stream")
    names = [service.name for service in config.url_auth]
    for number, name in enumerate(names, 1):
        if not name or name in names[: number - 1]:
            problems.add(source, f"url_auth[{number}].name: must be given, and be no other's")
    for mount, own in config.mounts.items():
        if (chosen := own.get("url_auth", "")) and chosen not in names and "name" not in problems.failed:
            problems.add(source, f"{dotted('mounts', mount)}.url_auth: there is no [[url_auth]] of this name")
    for name in config.mounts:
        told = config.mounts[name].get("silence_fallback") and "silence_seconds" not in problems.failed
        if told and not config.mount(name).silence_seconds:
            problems.add(source, f"{dotted('mounts', name)}.silence_fallback: needs silence_seconds")
    if "fallback" not in problems.failed:
        for line in _fallback_loops(config):
            problems.add(source, line)
    for line in unmakeable(config, problems.failed):
        problems.add(source, line)
    for line in unfit(config, problems.failed):
        problems.add(source, line)
    for line in unusable(config.hooks, problems.failed):
        problems.add(source, line)
    for line in _shared_logs(config.logs):
        problems.add(source, line)
    values = {key.name: getattr(config.delivery, key.name) for key in fields(Delivery)}
    origin = dict.fromkeys(values, "delivery")
    for line in _contradictions("delivery", values, origin, problems.failed):
        problems.add(source, line)
    default = config.mounts.get("default", {})
    values, origin = {**values, **default}, origin | dict.fromkeys(default, "mounts.default")
    for name, own in config.mounts.items():
        section = dotted("mounts", name)
        for line in _contradictions(section, {**values, **own}, origin | dict.fromkeys(own, section), problems.failed):
            problems.add(source, line)


def _fallback_loops(config: Config) -> Iterator[str]:
    told: set[str] = set()
    for name in config.mounts:
        chain = [name] if name != "default" else []
        while chain and (fallback := config.mount(chain[-1]).fallback):
            if fallback in chain:
                loop = [*chain[chain.index(fallback) :], fallback]
                if not told & set(loop):
                    yield f"{dotted('mounts', fallback)}.fallback: goes round in a circle: {' -> '.join(loop)}"
                told |= set(loop)
                break
            chain.append(fallback)


def _twice(listen: Iterable[Listen]) -> Iterator[str]:
    seen: set[tuple[str, int]] = set()
    for number, each in enumerate(listen, 1):
        if (each.host, each.port) in seen and each.port:
            yield f"listen[{number}]: the same address and port as one before it"
        seen.add((each.host, each.port))


def _shared_logs(logs: Logs) -> Iterator[str]:
    """Two logs in one file would rotate it under each other's hands."""
    taken: dict[str, str] = {}
    for key in ("access", "playlist", "server"):
        path = getattr(logs, key)
        if path and taken.setdefault(path, key) != key:
            yield f"logs.{key} = {shown(path)}: must be another file than logs.{taken[path]}"


def _contradictions(
    section: str, values: Mapping[str, Any], origin: Mapping[str, str], failed: Set[str]
) -> Iterator[str]:
    """What this section breaks by a value of its own: inherited contradictions are told where they come from."""
    for relation in RELATIONS:
        pair = (relation.key, relation.other)
        mine = [key for key in pair if origin[key] == section]
        if mine and not failed & set(pair) and not relation.holds(*(values[key] for key in pair)):
            key, other = (
                f"{section}.{key} = {shown(values[key])}" + ("" if key in mine else f" (from {origin[key]})")
                for key in pair
            )
            yield f"{key}: must be {relation.words} {other}"

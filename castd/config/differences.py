"""What is different between two configurations, key by key, as an operator would write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from castd.config.model import Config, MountSettings
from castd.config.problems import dotted
from castd.config.schema import keys, shown

ONLY_AT_START = ("listen", "server.state_dir", "server.user", "sessions.keep_days", "hooks")
"""Keys, or whole sections, that take effect at a start only: sockets are bound, rights given up, and files and
queues opened there."""

NOT_SET = "not set"

SECRET_SHOWN = "(secret)"


@dataclass(frozen=True, slots=True)
class Change:
    """One key whose value is different.

    Attributes:
        key: with its section, such as `limits.max_listeners` or `mounts."/live".name`.
        before, after: values in TOML's spelling, or NOT_SET; secrets are not shown.
        needs_restart: it takes effect at the next start only.
    """

    key: str
    before: str
    after: str
    needs_restart: bool

    def __str__(self) -> str:
        return f"{self.key} {self.before} -> {self.after}"


def differences(old: Config, new: Config) -> list[Change]:
    """All keys that differ, in the order of the sections."""
    before, after = dict(_values(old)), dict(_values(new))
    names = [*after, *(name for name in before if name not in after)]
    return [
        Change(name, _shown(before.get(name)), _shown(after.get(name)), _needs_restart(name))
        for name in names
        if before.get(name) != after.get(name)
    ]


def applicable(old: Config, new: Config) -> Config:
    """The new configuration with the old one's values where only a start can change them."""
    kept = new
    for name in ONLY_AT_START:
        section, _, key = name.partition(".")
        value = getattr(old, section)
        if key:
            value = replace(getattr(kept, section), **{key: getattr(value, key)})
        kept = replace(kept, **{section: value})
    return kept


def _needs_restart(name: str) -> bool:
    return any(name == key or name.startswith((f"{key}.", f"{key}[")) for key in ONLY_AT_START)


def _values(config: Config) -> Iterator[tuple[str, tuple[Any, bool]]]:
    """Each key that has a value, with that and whether it is secret."""
    for section in fields(config):
        value = getattr(config, section.name)
        if isinstance(value, Mapping):
            for name, table in value.items():
                title = dotted(section.name, name)
                yield from _table(title, MountSettings, table) if isinstance(table, Mapping) else _section(title, table)
        elif isinstance(value, tuple):
            for number, each in enumerate(value, 1):
                name = section.name if len(value) == 1 else f"{section.name}[{number}]"
                yield from _section(name, each)
        else:
            yield from _section(section.name, value)


def _section(name: str, section: Any) -> Iterator[tuple[str, tuple[Any, bool]]]:
    assert is_dataclass(section)
    return _table(name, type(section), {each.name: getattr(section, each.name) for each in fields(section)})


def _table(name: str, kind: type, table: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, bool]]]:
    known = keys(kind)
    for key, value in table.items():
        yield f"{name}.{key}", (value, known[key].secret)


def _shown(value: tuple[Any, bool] | None) -> str:
    if value is None or value[0] is None:
        return NOT_SET
    given, secret = value
    if secret:
        return SECRET_SHOWN if given else NOT_SET
    if isinstance(given, tuple):
        return f"[{', '.join(map(shown, given))}]"
    return shown(given)

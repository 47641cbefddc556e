"""Checks the sections of one layer of the configuration, the file or the environment, into dicts of right values."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from castd.config.files import read_secret
from castd.config.model import (
    Alias,
    Art,
    Auth,
    Bans,
    Certificate,
    Delivery,
    Directory,
    Dj,
    Files,
    Group,
    Hook,
    Limits,
    Listen,
    Logs,
    Master,
    MountSettings,
    Proxies,
    Relay,
    Server,
    Sessions,
    Shoutcast,
    Tls,
    UrlAuth,
)
from castd.config.problems import Problems, nearest
from castd.config.rules import PATH
from castd.config.schema import Key, keys

PLAIN_SECTIONS: Mapping[str, type] = {
    "server": Server,
    "tls": Tls,
    "proxies": Proxies,
    "auth": Auth,
    "shoutcast": Shoutcast,
    "limits": Limits,
    "bans": Bans,
    "files": Files,
    "art": Art,
    "sessions": Sessions,
    "logs": Logs,
    "delivery": Delivery,
    "master": Master,
}
"""Sections that are one table of keys each, and the dataclasses that name their keys."""

TABLES: Mapping[str, type] = {
    "listen": Listen,
    "certificates": Certificate,
    "djs": Dj,
    "aliases": Alias,
    "hooks": Hook,
    "url_auth": UrlAuth,
    "directories": Directory,
    "relays": Relay,
}
"""Sections that are any number of tables, in double brackets."""

HOME_OF_KEY = {
    key: f"[{section}]"
    for section, kind in {
        **{f"[{name}]": kind for name, kind in TABLES.items()},
        'mounts."/name"': MountSettings,
        'groups."/name"': Group,
        **PLAIN_SECTIONS,
    }.items()
    for key in keys(kind)
}
"""Where a key belongs that was written into another section."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Checks sections; mistakes go to `problems` and their keys are left out.

    Attributes:
        source: where the values come from, for messages: the file or "environment".
        folder: what relative paths start from.
        label: (section, key) as operators write them, for messages.
        take: checks one raw value and returns it typed; raises ValueError.
        problems: receives the mistakes.
    """

    source: object
    folder: Path
    label: Callable[[str, str], str]
    take: Callable[[Key, Any], Any]
    problems: Problems

    def section(self, name: str, kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check one section.

        Args:
            name: of the section, dotted.
            kind: the dataclass whose fields are its keys.
            given: raw values by key.

        Returns:
            The right values of known keys, paths made absolute. A secret comes with its _file key, so that laid over
            another layer the two replace the two.
        """
        known = keys(kind)
        values: dict[str, Any] = {}
        for word, raw in given.items():
            if word not in known:
                # [mounts.live.mp3] is a table in a table to TOML.
                hint = "; quote a mount's name that holds a dot" if isinstance(raw, dict) else remedy(word, known)
                self.problems.add(self.source, f"{self.label(name, word)}: unknown key{hint}")
                continue
            key = known[word]
            try:
                value = self.take(key, raw)
            except ValueError as error:
                self.problems.add(self.source, f"{self.label(name, word)}{key.show(raw)}: {error}", word)
            else:
                values[word] = os.path.abspath(self.folder / value) if key.rule is PATH and value else value
        for key in known.values():
            if key.secret:
                self._settle(name, key, values)
        return values

    def _settle(self, section: str, key: Key, values: dict[str, Any]) -> None:
        """Make a secret and its _file key agree: both is a mistake, a file is read, a secret empties its _file key."""
        file_key = f"{key.name}_file"
        path = values.pop(file_key, "")
        if path and values.get(key.name):
            both = f"{self.label(section, key.name)} and {self.label(section, file_key)}"
            self.problems.add(self.source, f"{both}: give only one of them", key.name)
        elif path:
            try:
                values |= {key.name: key.accept(read_secret(Path(path))), file_key: path}
            except ValueError as error:
                where = f"{self.label(section, file_key)} = {json.dumps(path)}"
                self.problems.add(self.source, f"{where}: {error}", key.name)
        elif key.name in values:
            values[file_key] = ""


def remedy(word: str, known: Iterable[str]) -> str:
    """What to say after "unknown": where the key belongs, or the nearest of what is known here."""
    return f"; {word} belongs to {HOME_OF_KEY[word]}" if word in HOME_OF_KEY else nearest(word, known)

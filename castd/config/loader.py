"""castd.toml and CASTD_* variables -> Config, or one ConfigError that tells every mistake.

There are two layers, the file and the environment over it. Each is checked by itself into dicts of right values; then
they are laid over each other, made into dataclasses and checked for contradictions.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from castd.config import contradictions
from castd.config.files import read_toml
from castd.config.model import (
    Auth,
    Config,
    Group,
    Listen,
    MountSettings,
)
from castd.config.names import mount_name
from castd.config.problems import Problems, dotted, nearest
from castd.config.reader import PLAIN_SECTIONS, TABLES, Reader, remedy
from castd.config.schema import Key, keys, shown
from castd.config.transcoding import lacks_encoders
from castd.errors import ConfigError

log = logging.getLogger(__name__)


def _variable_label(section: str, key: str) -> str:
    return f"CASTD_{section.replace('.', '__')}__{key}".upper()


VARIABLES = {
    _variable_label(section, key): (section, key)
    for section, kind in {**PLAIN_SECTIONS, "listen": Listen, "mounts.default": MountSettings}.items()
    for key in keys(kind)
}
"""Every variable there is, with its section and key."""

FOREIGN_VARIABLE = re.compile(r"CASTD_((SERVICE_(HOST|PORT)|PORT)(_.*)?|NAME|ENV_.*|EVENT|MOUNT|TIME|FIELD_.*)")
"""What Kubernetes and Docker put into the environment of every neighbour of a service that is called "castd", and castd
itself into that of a hook's program, which may well call castd."""


@dataclass(slots=True)
class Layer:
    """What one source of configuration gives, checked; keys it does not give are absent.

    Attributes:
        plain: values by key by section.
        tables: values by key of each table, in their order, by section.
        mounts: values by key by normalised name, or "default".
        groups: values by key by normalised name.
    """

    plain: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    mounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read and check the whole configuration.

    Args:
        path: of castd.toml; None means all defaults.
        environ: CASTD_<SECTION>__<KEY> variables override the file; STATE_DIRECTORY, XDG_STATE_HOME and HOME say where
            state is kept if neither does.

    Returns:
        The configuration, with secrets read from their files and `server.state_dir` absolute.

    Raises:
        ConfigError: one line for each mistake: file or environment, key, value, what is allowed.
    """
    problems = Problems()
    file = _read_file(path, problems) if path else Layer()
    variables = _read_environment(environ, problems)

    plain = {name: file.plain.get(name, {}) | variables.plain.get(name, {}) for name in PLAIN_SECTIONS}
    plain["server"]["state_dir"] = plain["server"].get("state_dir") or _default_state_dir(environ, problems)
    tables: dict[str, Any] = {
        name: tuple(kind(**values) for values in (variables.tables.get(name) or file.tables.get(name) or ()))
        for name, kind in TABLES.items()
    }
    tables["listen"] = tables["listen"] or Config().listen
    mounts = {
        name: file.mounts.get(name, {}) | variables.mounts.get(name, {}) for name in file.mounts | variables.mounts
    }
    plain_sections: dict[str, Any] = {name: kind(**plain[name]) for name, kind in PLAIN_SECTIONS.items()}
    groups = {name: Group(**values) for name, values in file.groups.items()}
    config = Config(**plain_sections, **tables, groups=groups, mounts=mounts)
    contradictions.check(config, path or "environment", problems)
    problems.raise_any()
    if path and _holds_secret(file):
        _warn_if_readable_by_all(path)
    if config.files.root and not os.path.isdir(config.files.root):
        log.warning('files.root = "%s": no such directory; until there is one, there are no files', config.files.root)
    if lacks_encoders(config):
        log.warning("transcode_from: no mount is transcoded without the package av: pip install 'castd[transcode]'")
    return config


def _read_file(path: Path, problems: Problems) -> Layer:
    try:
        tables = read_toml(path)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    reader = Reader(path, path.parent, _toml_label, Key.accept, problems)
    layer = Layer()
    for name, value in tables.items():
        if name in PLAIN_SECTIONS:
            if _is_table(name, value, path, problems):
                layer.plain[name] = reader.section(name, PLAIN_SECTIONS[name], value)
        elif name in TABLES:
            layer.tables[name] = _read_tables(name, TABLES[name], value, reader)
        elif name == "mounts":
            if _is_table(name, value, path, problems):
                layer.mounts = _read_named("mounts", MountSettings, value, reader)
        elif name == "groups":
            if _is_table(name, value, path, problems):
                layer.groups = _read_named("groups", Group, value, reader)
        else:
            known = [*PLAIN_SECTIONS, *TABLES, "mounts", "groups"]
            problems.add(path, f"{dotted(name)}: unknown section{remedy(name, known)}")
    return layer


def _read_tables(section: str, kind: type, value: object, reader: Reader) -> list[dict[str, Any]]:
    """The values of each table of a section in double brackets; of a table with mistakes, what is right in it."""
    tables = value if isinstance(value, list) else []
    if not tables or not all(isinstance(table, dict) for table in tables):
        reader.problems.add(
            reader.source, f"{section} = {shown(value)}: must be [[{section}]] tables, in double brackets"
        )
        return []
    names = [section] if len(tables) == 1 else [f"{section}[{number}]" for number in range(1, len(tables) + 1)]
    return [reader.section(name, kind, table) for name, table in zip(names, tables, strict=True)]


def _read_named(kind: str, section_type: type, tables: Mapping[str, Any], reader: Reader) -> dict[str, dict[str, Any]]:
    """The values of the tables of a section that are called like mounts, by their names."""
    read: dict[str, dict[str, Any]] = {}
    written: dict[str, str] = {}
    for given, table in tables.items():
        section = dotted(kind, given)
        try:
            name = "default" if (kind, given) == ("mounts", "default") else mount_name(given)
        except ValueError as error:
            reader.problems.add(reader.source, f"{section}: the name {error}")
            continue
        if name in written:
            other = f"{kind.removesuffix('s')} as {dotted(kind, written[name])}"
            reader.problems.add(reader.source, f"{section}: the same {other}")
        elif _is_table(section, table, reader.source, reader.problems):
            written[name] = given
            read[name] = reader.section(section, section_type, table)
    return read


def _read_environment(environ: Mapping[str, str], problems: Problems) -> Layer:
    given: dict[str, dict[str, str]] = {}
    for variable, text in environ.items():
        if variable in VARIABLES:
            section, key = VARIABLES[variable]
            given.setdefault(section, {})[key] = text
        elif variable.startswith("CASTD_") and not FOREIGN_VARIABLE.fullmatch(variable):
            problems.add("environment", f"{dotted(variable)}: unknown variable{nearest(variable, VARIABLES)}")
    reader = Reader("environment", Path(), _variable_label, Key.parse, problems)
    layer = Layer()
    for section, texts in given.items():
        if section == "listen":
            layer.tables["listen"] = [reader.section(section, Listen, texts)]
        elif section == "mounts.default":
            layer.mounts["default"] = reader.section(section, MountSettings, texts)
        else:
            layer.plain[section] = reader.section(section, PLAIN_SECTIONS[section], texts)
    return layer


def _toml_label(section: str, key: str) -> str:
    return f"{section}.{dotted(key)}"


def _is_table(name: str, value: object, source: object, problems: Problems) -> bool:
    if isinstance(value, dict):
        return True
    problems.add(source, f"{name} = {shown(value)}: must be a table, [{name}]")
    return False


def _default_state_dir(environ: Mapping[str, str], problems: Problems) -> str:
    # systemd's StateDirectory= may name several, joined by colons.
    if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return os.path.abspath(given)
    if os.geteuid() == 0:
        return "/var/lib/castd"
    home = environ.get("HOME") or os.path.expanduser("~")
    # The XDG base directory specification has relative paths ignored.
    for base in (environ.get("XDG_STATE_HOME", ""), os.path.join(home, ".local/state")):
        if os.path.isabs(base):
            return os.path.join(base, "castd")
    problems.add(
        "environment", "HOME is not set: server.state_dir or CASTD_SERVER__STATE_DIR must say where state is kept"
    )
    return ""


def _holds_secret(layer: Layer) -> bool:
    """Whether the file itself has a secret in it, not only the path of one."""
    return any(
        values.get(key.name) and not values.get(f"{key.name}_file")
        for kind, values in [
            (Auth, layer.plain.get("auth", {})),
            *((MountSettings, own) for own in layer.mounts.values()),
            *((kind, each) for name, kind in TABLES.items() for each in layer.tables.get(name, ())),
        ]
        for key in keys(kind).values()
        if key.secret
    )


def _warn_if_readable_by_all(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:  # replaced since it was read
        return
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        log.warning("%s holds passwords and every user of this machine can read it: chmod o-r", path)

"""Targets: files that come from elsewhere: users, bans, another server's configuration."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from castd.access.ban_files import read_entries
from castd.access.hashes import is_entry
from castd.access.networks import networks
from castd.access.users import read_users
from castd.errors import ConfigError
from castd.icecast_xml import convert
from tests.fuzz.harness import target


@contextmanager
def written(data: bytes) -> Iterator[Path]:
    """A file with these bytes, for as long as the block."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(data)
        yield path


def check_message(error: ConfigError, path: Path) -> None:
    """A complaint says of which file it is."""
    assert str(path) in str(error)


@target
def users_file(data: bytes) -> None:
    """Only ValueError is raised, for what is no text; users have names and entries that can be verified."""
    with written(data) as path:
        try:
            users = read_users(str(path))
        except ValueError:
            return
    assert all(user and ":" not in user and is_entry(entry) for user, entry in users.items())


@target
def bans_file(data: bytes) -> None:
    """Only ConfigError is raised, and names the line; entries are networks."""
    with written(data) as path:
        try:
            entries = read_entries(str(path), networks)
        except ConfigError as error:
            check_message(error, path)
            return
    assert all(text and found for text, found in entries)


@target
def icecast_xml(data: bytes) -> None:
    """Only ConfigError is raised; what is made is TOML that says the same."""
    with written(data) as path:
        try:
            made = convert(path)
        except ConfigError as error:
            check_message(error, path)
            return
    read = tomllib.loads(made.text())
    for name, table in made.sections.items():
        assert read[name] == table
    for name, tables in made.tables.items():
        assert read[name] == tables
    if made.mounts:
        assert read["mounts"] == made.mounts

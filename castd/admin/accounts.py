"""Icecast's manageauth: the listeners' accounts of a mount, listed, added and taken out.

They are in the mount's users_file (castd.access.users); a change is written beside it and put in its place whole.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import trio

from castd.access.hashes import hashed
from castd.access.users import read_users
from castd.admin.icecast_answers import named_mount, required, xml_response
from castd.errors import ClientError

if TYPE_CHECKING:
    from castd.http.connection import Exchange
    from castd.http.messages import Response
    from castd.http.routes import Call
    from castd.mount.registry import Registry

log = logging.getLogger(__name__)

MAX_PASSWORD_CHARACTERS = 1000


class Accounts:
    """The handler of /admin/manageauth."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = trio.Lock()

    async def manage(self, exchange: Exchange, call: Call) -> Response:
        """GET or POST /admin/manageauth?mount=/x[&action=add&username=u&password=p | &action=delete&username=u].

        Raises:
            ClientError: 400: the mount has no users_file, or a name or password is none; 503: it cannot be written.
        """
        mount, request = named_mount(self._registry, call), exchange.request
        path = mount.settings.users_file
        if not path:
            raise ClientError(400, "no users_file for this mount")
        action, words = request.argument("action") or "", ""
        async with self._lock:
            try:
                if action == "add":
                    user, password = required(request, "username"), required(request, "password")
                    words = await trio.to_thread.run_sync(_add, path, user, password)
                elif action == "delete":
                    words = await trio.to_thread.run_sync(_delete, path, required(request, "username"))
                elif action:
                    raise ClientError(400, "No such action")
                users = await trio.to_thread.run_sync(read_users, path)
            except (OSError, ValueError) as error:
                log.error("%s: %s", path, error)
                raise ClientError(503, "the users_file cannot be used; the log says why") from None
        if words:
            log.warning("%s: %s by %s", mount.name, words, call.user)
        root = ElementTree.Element("icestats")
        source = ElementTree.SubElement(root, "source", mount=mount.name)
        for name in users:
            ElementTree.SubElement(ElementTree.SubElement(source, "User"), "username").text = name
        if action:
            response = ElementTree.SubElement(root, "iceresponse")
            ElementTree.SubElement(response, "message").text = words or "User does not exist"
            ElementTree.SubElement(response, "return").text = str(int(bool(words)))
        return xml_response(root)


def _add(path: str, user: str, word: str) -> str:
    """Add a user; what was done, in words.

    Raises:
        ClientError: 400.
    """
    if not user or ":" in user or len(user) > 100 or not 0 < len(word) <= MAX_PASSWORD_CHARACTERS:
        raise ClientError(400, "a user needs a name without colons, and a password")
    if user.startswith("#"):
        raise ClientError(400, "a name cannot begin with #")
    lines = _lines(path)
    if user in read_users(path):
        raise ClientError(400, "User already exists")
    _replace(path, [*lines, f"{user}:{hashed(word)}"])
    return f"User {user} added"


def _delete(path: str, user: str) -> str:
    lines = _lines(path)
    kept = [line for line in lines if line.strip().partition(":")[0] != user]
    if kept == lines:
        return ""
    _replace(path, kept)
    return f"User {user} deleted"


def _lines(path: str) -> list[str]:
    return Path(path).read_text("utf-8").splitlines()


def _replace(path: str, lines: list[str]) -> None:
    """Write a file anew: whole or not at all, with the rights of the old one."""
    new = f"{path}.new"
    mode = os.stat(path).st_mode & 0o777
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(descriptor)
    os.replace(new, path)

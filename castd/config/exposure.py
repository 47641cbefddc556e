"""Secrets that the web root would hand to everybody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.config.model import Config


def exposed(config: Config, source: object) -> Iterator[str]:
    """What of castd's own lies below files.root, in the words of the configuration.

    Args:
        source: the configuration's Path, or something else where there is no file.
    """
    if not config.files.root:
        return
    root = os.path.realpath(config.files.root)
    for name, path in _private(config, source):
        if path and os.path.commonpath([root, os.path.realpath(path)]) == root:
            yield f'files.root = "{config.files.root}": holds {name} ({path}), which everybody could fetch'


def _private(config: Config, source: object) -> Iterator[tuple[str, str]]:
    if isinstance(source, Path):
        yield "this configuration", os.path.abspath(source)
    yield "server.state_dir", config.server.state_dir
    for name in ("source_password_file", "admin_password_file", "admin_token_file", "relay_password_file"):
        yield f"auth.{name}", getattr(config.auth, name)
    for mount, values in config.mounts.items():
        yield f"the source_password_file of {mount}", values.get("source_password_file", "")
        for key in ("stream_key_file", "users_file", "link_key_file"):
            yield f"the {key} of {mount}", values.get(key, "")
    for dj in config.djs:
        yield f"the password of {dj.user}", dj.password_file
    for each in config.certificates:
        yield "a certificate's key", each.key or each.certificate
    for hook in config.hooks:
        yield "a hook's secret", hook.secret_file
    yield "the master's password_file", config.master.password_file
    for relay in config.relays:
        yield f"the password of the relay {relay.mount}", relay.password_file
    for service in config.url_auth:
        yield f"the password for {service.name}", service.password_file

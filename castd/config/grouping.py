"""Groups of mounts: which can be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING

from castd.config.problems import dotted

if TYPE_CHECKING:
    from castd.config.model import Config

MOST_GROUPS = 1000

MOST_MOUNTS = 16
"""Of a group: the first answer to a listener waits for all of them, and a playlist with parts tells of each."""

ALIKE = ("hls_segment_seconds", "hls_part_seconds", "hls_window_seconds")
"""Keys that the mounts of a group must have alike: players go from one to the other segment by segment."""


def unfit(config: Config, failed: Set[str]) -> Iterator[str]:
    """What no group can be, in the words of the configuration.

    Args:
        failed: names of keys without a usable value.
    """
    if len(config.groups) > MOST_GROUPS:
        yield f"groups: at most {MOST_GROUPS:,}"
    mounts = {*config.mounts, *(relay.mount for relay in config.relays), *config.shoutcast.mounts}
    aliases = {alias.path for alias in config.aliases}
    for name, group in config.groups.items():
        section = dotted("groups", name)
        if name in mounts:
            yield f"{section}: a mount is called so"
        if name in aliases:
            yield f"{section}: an alias is called so"
        if config.files.root and os.path.isfile(config.files.root + name):
            yield f"{section}: a file in files.root is called so"
        if "mounts" in failed:
            continue
        if not group.mounts:
            yield f"{section}.mounts: must name the mounts"
        if len(group.mounts) > MOST_MOUNTS:
            yield f"{section}.mounts: at most {MOST_MOUNTS}"
        for at, mount in enumerate(group.mounts):
            if mount in group.mounts[:at]:
                yield f"{section}.mounts: {mount} is in it twice"
            elif mount in config.groups:
                yield f"{section}.mounts: {mount} is a group itself; name its mounts"
            elif mount in aliases:
                yield f"{section}.mounts: {mount} is an alias; name the mount"
            elif config.mount(mount).no_mount and "no_mount" not in failed:
                yield f"{section}.mounts: {mount} is not for listeners (no_mount)"
        offered = [mount for mount in group.mounts if config.mount(mount).hls]
        for key in ALIKE:
            values = {getattr(config.mount(mount), key) for mount in offered}
            if len(values) > 1 and key not in failed:
                yield f"{section}.mounts: all must have the same {key}"

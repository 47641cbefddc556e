"""Mounts that are renditions of others: which can be made."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING

from castd.config.problems import dotted

if TYPE_CHECKING:
    from castd.config.model import Config


def lacks_encoders(config: Config) -> bool:
    """There are renditions to be made, and nothing to make them with."""
    return any(own.get("transcode_from") for own in config.mounts.values()) and importlib.util.find_spec("av") is None


def unmakeable(config: Config, failed: Set[str]) -> Iterator[str]:
    """What no rendition can be made of, in the words of the configuration.

    Args:
        failed: names of keys without a usable value.
    """
    if "transcode_from" in failed:
        return
    if config.mounts.get("default", {}).get("transcode_from"):
        yield "mounts.default.transcode_from: must be set for a mount by its name"
        return
    told: set[str] = set()
    for name, own in config.mounts.items():
        if not own.get("transcode_from"):
            for key in ("codec", "bitrate", "transcode_on_demand"):
                if key in own and name != "default":
                    yield f"{dotted('mounts', name)}.{key}: needs transcode_from"
            continue
        if any(relay.mount == name for relay in config.relays):
            yield f"{dotted('mounts', name)}.transcode_from: the mount is a relay already"
        chain = [name]
        while origin := config.mount(chain[-1]).transcode_from:
            if origin in chain:
                loop = [*chain[chain.index(origin) :], origin]
                if not told & set(loop):
                    yield f"{dotted('mounts', origin)}.transcode_from: goes round in a circle: {' -> '.join(loop)}"
                told |= set(loop)
                break
            chain.append(origin)

"""Other paths by which a mount is asked for: aliases of the operator's, and what SHOUTcast's players are used to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.config import Current
    from castd.mount.mount import Mount
    from castd.mount.registry import Registry

STREAM = re.compile(r"/stream/([1-9][0-9]{0,3})/?")


class Aliases:
    """Finds mounts that listeners may have."""

    def __init__(self, current: Current, registry: Registry) -> None:
        self._current = current
        self._registry = registry

    def find(self, path: str) -> Mount | None:
        """The mount a listener means by a decoded path; None if there is none.

        A mount goes before an alias, that before a group, which means the first of its mounts that is on the air, and
        that before SHOUTcast's habit (quirk 44) of a semicolon after which comes
        a name: "/;", "/;stream.mp3" and "/live;".
        """
        config = self._current.config
        targets = {alias.path: alias.mount for alias in config.aliases}
        if mount := self._on_air(path) or self._on_air(targets.get(path, "")):
            return mount
        if path in config.groups:
            return next(filter(None, map(self._on_air, config.groups[path].mounts)), None)
        base, semicolon, rest = path.partition(";")
        if "/" in rest:
            return None
        if numbered := STREAM.fullmatch(base):
            return self.by_stream_id(int(numbered[1]))
        if semicolon and base != "/":
            return self._on_air(base) or self._on_air(targets.get(base, ""))
        return self.default if semicolon or path == config.shoutcast.mount(0) else None

    def is_group(self, path: str) -> bool:
        """Whether a decoded path is that of a group, and of no mount that is on the air."""
        return path in self._current.config.groups and self._on_air(path) is None

    @property
    def default(self) -> Mount | None:
        """What is heard where nobody said what: stream id 1, else the first public mount by name."""
        first = self.by_stream_id(1)
        if first is not None:
            return first
        return next((each for each in self.public if not each.settings.no_mount), None)

    @property
    def public(self) -> list[Mount]:
        """All mounts that everybody may see, by name."""
        mounts = sorted(self._registry.mounts.values(), key=lambda mount: mount.name)
        return [mount for mount in mounts if mount.description is not None and not mount.settings.hidden]

    def by_stream_id(self, stream_id: int) -> Mount | None:
        """The mount of a SHOUTcast stream id, from 1."""
        return self._on_air(self._current.config.shoutcast.mount(stream_id))

    def _on_air(self, name: str) -> Mount | None:
        mount = self._registry.get(name)
        return mount if mount is not None and mount.description is not None else None

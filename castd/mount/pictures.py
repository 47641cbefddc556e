"""The pictures to a mount's titles: the last few, since songs change and a page asks for the one that is on."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.wire.picture import Picture

KEPT = 4
"""Pictures of one mount: the one that is heard, the one that comes next, and room for who is late."""


class Pictures:
    """Of one mount, by keys that are never used for another picture."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[str, Picture] = OrderedDict()

    def add(self, picture: Picture) -> str:
        """Keep a picture; its key, as castd.mount.timeline.Title.art has it."""
        key = sha256(picture.data).hexdigest()[:24]
        self.put(key, picture)
        return key

    def put(self, key: str, picture: Picture) -> None:
        """Keep a picture that is known by a key already, such as its URL."""
        self._pictures[key] = picture
        self._pictures.move_to_end(key)
        if len(self._pictures) > KEPT:
            self._pictures.popitem(last=False)

    def state(self) -> list[tuple[str, Picture]]:
        """All that are kept, for another process to `put`."""
        return [*self._pictures.items()]

    def find(self, key: str) -> Picture | None:
        """The picture of a key, None if it is not kept (any more)."""
        return self._pictures.get(key)

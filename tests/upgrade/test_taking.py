"""The new process's part, where it comes to nothing."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from castd.config import Config, Current
from castd.errors import ConfigError
from castd.mount.party import Goodbye
from castd.mount.registry import Registry
from castd.upgrade.channel import Channel
from castd.upgrade.messages import MountTold
from castd.upgrade.taking import Predecessor
from tests.segments.studio import Pages
from tests.segments.test_segmenter import FIXTURES

if TYPE_CHECKING:
    from castd.upgrade.parts import Parts


def test_memory_that_stays_with_the_other_is_left_alone() -> None:
    """A mount that closes ends its Ogg streams; not those of a process that goes on."""
    studio = Pages(FIXTURES / "opus.opus")
    studio.play(3)
    ring = studio.mount.ring
    ours, theirs = socket.socketpair()
    registry = Registry(Current(Config()), studio.time.clock)
    parts = cast("Parts", SimpleNamespace(registry=registry))
    channel = Channel(ours, 5)
    channel.send(MountTold(studio.mount.state()), [ring.descriptor])
    channel.close()
    before = os.pread(ring.descriptor, ring.capacity, 0)
    other = Channel(theirs, 5)
    with pytest.raises(ConfigError, match="hung up"):
        Predecessor(other).take(parts)
    other.close()
    [mount] = registry.mounts.values()
    mount.close(Goodbye.DRAINED)
    assert os.pread(ring.descriptor, ring.capacity, 0) == before

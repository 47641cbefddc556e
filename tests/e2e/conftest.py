"""What end-to-end tests share: a running server, and the media encoders send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.media import Media, make
from tests.e2e.peers.icecast import Icecast
from tests.e2e.server import Castd, Server


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Media]:
    """A minute in each format, by name."""
    return make(tmp_path_factory.mktemp("media"))


def start(config: pytest.Config, folder: Path) -> Castd | Icecast:
    """The server to test, to be entered."""
    return Icecast(folder) if config.getoption("--against") == "icecast" else Castd(folder)


@pytest.fixture
async def server(pytestconfig: pytest.Config, tmp_path: Path) -> AsyncIterator[Server]:
    """A server of one's own."""
    async with start(pytestconfig, tmp_path) as running:
        yield running

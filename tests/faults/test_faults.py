"""Every case, on a castd of their own: a row of the catalogue each, all tried before the first verdict is told."""

from __future__ import annotations

import fcntl
import json
from typing import TYPE_CHECKING

import pytest
import trio

from tests.conftest import unavailable
from tests.faults.case import CASES
from tests.faults.process_cases import FAKETIME
from tests.faults.run import Verdicts, together

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("openssl")]


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """Of the cases that were asked for: many at a time on one server, since most of their time is waiting. Where tests
    run in several processes, one of them does it for all."""
    wanted = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    able = [each for each in wanted if FAKETIME or not each.startswith("CLK")]
    several = hasattr(request.config, "workerinput")
    folder: Path = tmp_path_factory.getbasetemp().parent if several else tmp_path_factory.mktemp("faults")
    with (folder / "verdicts.json").open("a+") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        if told := shared.read():
            found: Verdicts = json.loads(told)
            return found
        kind = request.config.getoption("--against")
        found = trio.run(together, kind, tmp_path_factory.mktemp("servers"), able)
        json.dump(found, shared)
        return found


@pytest.mark.parametrize("name", CASES)
def test_fault(name: str, verdicts: Verdicts) -> None:
    if name not in verdicts:
        unavailable("not installed: libfaketime (.ci/peers installs it)")
    assert verdicts[name] == ""

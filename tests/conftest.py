"""What every test may use: the choice of server to test, and the programs a test needs."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from trio.testing import MockClock


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--against",
        choices=("castd", "icecast"),
        default="castd",
        help="the server that end-to-end tests start; icecast shows whether a failure is the test's own",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): skips where one is not installed; in CI it fails instead")


def pytest_runtest_setup(item: pytest.Item) -> None:
    needed = [program for mark in item.iter_markers("needs") for program in mark.args]
    missing = [program for program in dict.fromkeys(needed) if shutil.which(program) is None]
    if not missing:
        return
    unavailable(f"not installed: {', '.join(missing)} (.ci/peers installs them)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have reports without lone surrogates, which hostile input leaves in captured logs and which cannot be sent from
    the process that ran a test to the one that tells of it (pytest-xdist)."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


def unavailable(message: str) -> NoReturn:
    """Skip a test that lacks something; in CI, which has everything, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture
def autojump_clock(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """pytest-trio's, with the work of threads done in place: the clock does not know of threads, and would jump past
    any deadline while one works."""

    async def in_place(sync_fn: Callable[..., Any], *args: Any, **_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return sync_fn(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", in_place)
    return autojump_clock

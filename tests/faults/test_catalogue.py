"""The table of docs/reliability.md is whole, and each test it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.faults import run  # noqa: F401 - it has all cases written down
from tests.faults.case import CASES
from tests.faults.catalogue import ROWS, SECTIONS
from tests.faults.report import BEGIN, END, PAGE, read_results

TESTS = Path(__file__).parents[1]


def test_no_row_is_missing() -> None:
    wanted = (Path(__file__).parent / "ids.txt").read_text().split()
    assert sorted(ROWS) == sorted(wanted)
    assert len(ROWS) == sum(map(len, SECTIONS.values())), "none stands twice"


@pytest.mark.parametrize("name", ROWS)
def test_each_row_names_tests_that_exist(name: str) -> None:
    row = ROWS[name]
    assert row.tests or name in CASES or row.why_not, "neither a test nor a reason"
    for test in row.tests:
        file, _, function = test.partition("::")
        tree = ast.parse((TESTS / file).read_text("utf-8"))
        names = {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert function in names, f"{file} has no {function}"
        assert function.startswith("test_")


def test_each_case_is_a_row() -> None:
    assert set(CASES) <= set(ROWS)


def test_the_page_shows_the_last_results() -> None:
    """`make faults` writes both; whoever adds a row runs it, at least for that one."""
    page = PAGE.read_text("utf-8")
    table = page.partition(BEGIN)[2].partition(END)[0]
    results = read_results()
    for name in ROWS:
        assert f"| {name} |" in table, f"{name} is not in the table"
    assert set(results["castd"]) == set(CASES), "a case without a result"
    assert [name for name, verdict in results["castd"].items() if verdict] == [], "castd fails where it should not"


def test_each_test_the_page_names_exists() -> None:
    """Those that are named by hand, too."""
    named = re.findall(r"`([a-z_0-9/]+\.py)::(test_\w+)", PAGE.read_text("utf-8"))
    assert named
    for file, function in named:
        assert f"def {function}(" in (TESTS / file).read_text("utf-8"), f"{file} has no {function}"

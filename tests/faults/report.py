"""The table in docs/reliability.md, made from the catalogue and the results of the last `make faults`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.case import CASES
from tests.faults.catalogue import SECTIONS, Row

if TYPE_CHECKING:
    from tests.faults.run import Verdicts

DOCS = Path(__file__).parents[2] / "docs"

PAGE = DOCS / "reliability.md"

RESULTS = DOCS / "reliability.json"

BEGIN = "<!-- made by `make faults` from here -->\n"
END = "<!-- to here -->\n"

HEADINGS = "| | what is done | castd | icecast2 2.4.4 | held by |"


def read_results() -> dict[str, Verdicts]:
    """By server: how each case went the last time."""
    found: dict[str, Verdicts] = json.loads(RESULTS.read_text("utf-8"))
    return found


def write(new: dict[str, Verdicts]) -> None:
    """Keep new results, and make the table anew.

    Args:
        new: of some cases or all.
    """
    old = read_results() if RESULTS.exists() else {}
    results = {
        kind: {name: verdict for name in CASES if (verdict := (old.get(kind, {}) | new[kind]).get(name)) is not None}
        for kind in new
    }
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + table(results) + END + after, "utf-8")


def table(results: dict[str, Verdicts]) -> str:
    """All rows, by section."""
    lines = []
    for section, rows in SECTIONS.items():
        lines += ["", f"### {section}", "", HEADINGS, "|---|---|---|---|---|"]
        lines += [_line(row, results) for row in rows]
    return "\n".join([*lines, "", ""])


def _line(row: Row, results: dict[str, Verdicts]) -> str:
    tests = [f"`{each}`" for each in row.tests]
    if row.id in CASES:
        tests.insert(0, f"`faults/test_faults.py::test_fault[{row.id}]`")
    held = "<br>".join(tests) or row.why_not
    castd, icecast = (_shown(results.get(kind, {}).get(row.id)) for kind in ("castd", "icecast"))
    if row.id not in CASES:
        castd, icecast = ("ok" if row.tests else ""), ""
    return f"| {row.id} | {row.what} | {castd} | {icecast} | {held} |"


def _shown(verdict: str | None) -> str:
    if verdict is None:
        return "not tried"
    text = verdict.replace("|", "\\|").replace("<", "&lt;")
    return f"**fails**: {text}" if text else "ok"

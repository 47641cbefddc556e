"""The catalogue of attacks and faults: each row with the tests that hold it, or the reason why there is none.

A row that is tried from without, on castd and on Icecast alike, is a case (tests.faults.case) of the same id. The rest
are faults that only a test inside castd can bring about, or that Icecast has no counterpart of.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One attack or fault.

    Attributes:
        what: is done.
        tests: under tests/, as "file::function"; of a case besides its own.
        why_not: there is no test; "" where there is.
    """

    id: str
    what: str
    tests: tuple[str, ...] = ()
    why_not: str = ""


def _read() -> dict[str, tuple[Row, ...]]:
    sections = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text("utf-8"))
    return {section: tuple(_row(name, each) for name, each in rows.items()) for section, rows in sections.items()}


def _row(name: str, fields: dict[str, Any]) -> Row:
    return Row(name, fields["what"], tuple(fields.get("tests", ())), fields.get("why_not", ""))


SECTIONS: dict[str, tuple[Row, ...]] = _read()

ROWS: dict[str, Row] = {each.id: each for rows in SECTIONS.values() for each in rows}

"""`make faults`: all cases against castd and Debian's icecast2, and the table in docs/reliability.md.

python -m tests.faults [CASE ...]     with names, only these are tried anew
python -m tests.faults --table        nothing is tried, the table is made from what there is
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tests.faults.case import CASES
from tests.faults.report import write
from tests.faults.run import Verdicts, one_by_one


def main() -> None:
    names = [] if sys.argv[1:] == ["--table"] else sys.argv[1:] or list(CASES)
    found: dict[str, Verdicts] = {"castd": {}, "icecast": {}}
    with TemporaryDirectory(prefix="castd-faults.") as folder:
        for kind, verdicts in found.items():
            for name in names:
                begun = time.monotonic()
                verdicts |= trio.run(one_by_one, kind, Path(folder) / kind, [name])
                print(f"{name:10} {kind:8} {time.monotonic() - begun:5.1f} s  {verdicts[name] or 'ok'}", flush=True)
    write(found)


if __name__ == "__main__":
    main()

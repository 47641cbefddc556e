"""A small corpus: python -m tests.fuzz.smallest TARGET FOLDER makes one of the inputs there and those kept already.

An input is kept if it has a line of castd follow another, or do so more often, than the inputs before it had; small
ones come first. Of those that are there already the shortest stay in any case: others are made of their words.
"""

from __future__ import annotations

import sys
from collections import Counter
from hashlib import sha1
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from tests.fuzz.harness import CORPUS, HERE, Target, files
from tests.fuzz.targets import TARGETS

STAYING_BYTES, STAYING_EACH = 2048, 256

KEPT_BYTES = 48 * 1024
"""Of the inputs of one target: a clone of the repository has them all."""

OFTEN = 3
"""Orders of magnitude, to the base of four, in which it matters how often something happened."""

CODE = str(HERE.parents[1] / "castd")

Step: TypeAlias = tuple[str, int, int]


def steps(function: Target, data: bytes) -> set[tuple[Step, int]]:
    """What of castd an input goes through: from which line to which, and roughly how often."""
    counted: Counter[Step] = Counter()
    last: dict[str, int] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(CODE):
            return None
        if event == "line":
            counted[name, last.get(name, 0), frame.f_lineno] += 1
            last[name] = frame.f_lineno
        return trace

    sys.settrace(trace)
    try:
        function(data)
    finally:
        sys.settrace(None)
    return {(step, min(count.bit_length() // 2, OFTEN)) for step, count in counted.items()}


def main(name: str, folder: Path) -> None:
    """Replace the corpus of a target."""
    seen: set[tuple[Step, int]] = set()
    there = {path.read_bytes() for path in files(CORPUS, name)}
    inputs = there | {path.read_bytes() for path in folder.iterdir()}
    kept, size = dict[str, bytes](), 0
    for data in sorted(inputs, key=lambda each: (len(each), each)):
        try:
            new = steps(TARGETS[name], data) - seen
        except Exception:  # its place is among the crashes
            continue
        stays = data in there and len(data) <= STAYING_EACH and size + len(data) <= STAYING_BYTES
        if not (new or stays) or size + len(data) > KEPT_BYTES:
            continue
        seen |= new
        size += len(data)
        kept[sha1(data).hexdigest()[:12]] = data
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for path in files(CORPUS, name):
        if path.name not in kept:
            path.unlink()
    for each, data in kept.items():
        (corpus / each).write_bytes(data)
    print(f"{name}: {len(kept)} of {len(inputs)} inputs kept, {size} bytes")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

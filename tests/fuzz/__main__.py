"""Long fuzzing, guided by coverage: `make fuzz`, or python -m tests.fuzz [--seconds N] [TARGET ...].

Each target gets a process of its own with libFuzzer, by way of atheris, for so many seconds. What it finds to reach
more of a parser is kept in corpus/, as small a set as covers the same; what breaks the target goes to crashes/.

    python -m tests.fuzz TARGET FILE ...    runs single inputs, for a look at a crash; needs no atheris
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.harness import CORPUS, CRASHES, MOST_BYTES, TARGETS

SECONDS = 60
"""For each target, unless told."""

HANG_SECONDS = 20
"""One input may take; with coverage counted, on a machine with other work."""

MEMORY_MIB = 2048

_SHOWN = re.compile(r"#\d+\s+(INITED|pulse|DONE)|==\d+==|\s*=== |  ?File |\w*(Error|Exception|Exit)\b|SUMMARY")


def main() -> int:
    """Run what the arguments say; 1 if anything broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"for each target, {SECONDS} unless told")
    parser.add_argument("--in-this-process", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", metavar="TARGET", help="or one target and files")
    told = parser.parse_args()
    if told.in_this_process:
        return fuzz_here(*told.in_this_process)
    names = told.names
    if len(names) > 1 and Path(names[1]).is_file():
        return run_files(names[0], [Path(each) for each in names[1:]])
    from tests.fuzz import targets

    if unknown := sorted(set(names) - set(targets.TARGETS)):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(sorted(targets.TARGETS))}")
    broken = [name for name in names or sorted(targets.TARGETS) if not fuzz(name, told.seconds)]
    if broken:
        print(f"broken: {', '.join(broken)}; the inputs are in {CRASHES}")
    return 1 if broken else 0


def run_files(name: str, paths: list[Path]) -> int:
    """Run single inputs; the first that breaks the target shows its traceback."""
    from tests.fuzz import targets

    for path in paths:
        targets.TARGETS[name](path.read_bytes())
        print(f"{path}: well")
    return 0


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz one target, and keep what was found; whether it held."""
    crashes = CRASHES / name
    crashes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found")
        found.mkdir()
        print(f"{name}: {seconds} s", flush=True)
        options = {
            "max_total_time": seconds,
            "max_len": MOST_BYTES,
            "timeout": HANG_SECONDS,
            "rss_limit_mb": MEMORY_MIB,
            "artifact_prefix": f"{crashes}/",
            "print_final_stats": 1,
        }
        held = _child(name, *(f"-{key}={value}" for key, value in options.items()), str(found), *_kept(name))
        subprocess.run([sys.executable, "-m", "tests.fuzz.smallest", name, str(found)], check=False)
    if not any(crashes.iterdir()):
        crashes.rmdir()
    return held


def _kept(name: str) -> list[str]:
    return [str(folder / name) for folder in (CORPUS, CRASHES) if (folder / name).is_dir()]


def _child(name: str, *arguments: str) -> bool:
    """Run libFuzzer in a process of its own and show how it goes on; whether it ended well."""
    command = [sys.executable, "-m", "tests.fuzz", "--in-this-process", name, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if _SHOWN.match(line) or line.startswith("stat::number_of_executed_units"):
                print(f"  {line.rstrip()[:200]}", flush=True)
    return run.returncode == 0


def fuzz_here(name: str, *arguments: str) -> int:
    """What the child does; ends this process."""
    try:
        import atheris
    except ImportError:
        sys.exit("fuzzing needs atheris: pip install -c constraints.txt -e '.[dev,fuzz]'")
    with atheris.instrument_imports(include=["castd", "h11", "mutagen"]):
        from tests.fuzz import targets
    assert targets.TARGETS is TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())

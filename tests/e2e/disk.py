"""A disk that is soon full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import unavailable


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of that size, at the state directory of a castd of this folder; only root may mount one."""
    disk = folder / "state"
    disk.mkdir(mode=0o700, parents=True)
    options = ["-t", "tmpfs", "-o", f"size={mebibytes}m,mode=700", "castd-test", str(disk)]
    done = subprocess.run(["mount", *options], capture_output=True, check=False)
    if done.returncode:
        unavailable(f"a file system cannot be mounted: {done.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)

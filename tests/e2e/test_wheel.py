"""castd as it comes from a package index: a wheel without a checkout or a configuration file around it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.e2e.client import get
from tests.e2e.program import Program

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the wheel's content and, beside it, links to the dependencies: nothing else of this checkout."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    folder = tmp_path / "installed"
    (wheel,) = tmp_path.glob("castd-*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "castd" not in path.name and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    return folder


async def test_a_wheel_runs_by_itself(installed: Path, tmp_path: Path) -> None:
    castd = Program(
        [sys.executable, "-S", "-P", "-m", "castd", "run"],
        tmp_path / "castd.out",
        errors=tmp_path / "castd.log",
        environment={
            "PYTHONPATH": installed,
            "PYTHONUNBUFFERED": "1",
            "HOME": tmp_path,
            "CASTD_SERVER__STATE_DIR": tmp_path / "state",
            "CASTD_LISTEN__HOST": "127.0.0.1",
            "CASTD_LISTEN__PORT": "0",
        },
    )
    async with castd:
        address = (await castd.printed(r"http://127\.0\.0\.1:\d+", seconds=20)).group()
        page = await get(f"{address}/")
        assert page.status == 200
        assert b'<audio id="player"' in page.body
        for name in ("station.js", "hls.min.js", "LICENSE-hls.js.txt"):
            assert (await get(f"{address}/static/{name}")).status == 200


def test_a_wheel_carries_the_reference_configuration(installed: Path) -> None:
    assert (installed / "castd" / "share" / "castd.toml").read_bytes() == (ROOT / "etc" / "castd.toml").read_bytes()

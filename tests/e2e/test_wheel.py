"""castd as it comes from a package index: a wheel without a checkout or a configuration file around it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.client import get
from tests.e2e.program import Program

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


async def test_a_wheel_runs_by_itself(tmp_path: Path) -> None:
    subprocess.run(  # noqa: ASYNC221 - nothing else happens here meanwhile
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    installed, home = tmp_path / "installed", tmp_path / "home"
    home.mkdir()
    (wheel,) = tmp_path.glob("castd-*.whl")
    zipfile.ZipFile(wheel).extractall(installed)
    # -S -P and a path without the checkout: what is not in the wheel is not there, but for the dependencies
    (site_packages,) = (Path(path) for path in sys.path if path.endswith("site-packages"))
    dependencies = tmp_path / "dependencies"
    dependencies.mkdir()
    for path in site_packages.iterdir():
        if "castd" not in path.name and path.suffix != ".pth":
            (dependencies / path.name).symlink_to(path)
    castd = Program(
        [sys.executable, "-S", "-P", "-m", "castd", "run"],
        tmp_path / "castd.out",
        errors=tmp_path / "castd.log",
        environment={
            "PYTHONPATH": f"{installed}:{dependencies}",
            "PYTHONUNBUFFERED": "1",
            "HOME": home,
            "CASTD_SERVER__STATE_DIR": home / "state",
            "CASTD_LISTEN__HOST": "127.0.0.1",
            "CASTD_LISTEN__PORT": "0",
        },
    )
    async with castd:
        address = (await castd.printed(r"http://127\.0\.0\.1:\d+", seconds=20)).group()
        page = await get(f"{address}/")
        assert page.status == 200
        assert b'<audio id="player"' in page.body
        assert (await get(f"{address}/static/app.js")).status == 200
    assert (installed / "castd" / "share" / "castd.toml").read_text() == (ROOT / "etc" / "castd.toml").read_text()
    assert str(installed) not in (tmp_path / "castd.log").read_text(), "a traceback, or a path, was logged"

"""What people deploy with: the Dockerfile says what must hold, its commands work, and systemd takes the units."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from castd.healthcheck import TIMEOUT_SECONDS
from tests.e2e.program import Program

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Instruction:
    """One of a Dockerfile.

    Attributes:
        stage: of the build, from 0.
    """

    stage: int
    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """Its arguments, without flags."""
        return [word for word in shlex.split(self.value) if not word.startswith("--")]


def dockerfile() -> list[Instruction]:
    """All instructions, comments and continuations resolved."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: list[Instruction] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        name, _, value = line.partition(" ")
        if name:
            stage = len([each for each in found if each.name == "FROM"]) - (name != "FROM")
            found.append(Instruction(stage, name.upper(), value.strip()))
    return found


INSTRUCTIONS = dockerfile()
LAST_STAGE = max(each.stage for each in INSTRUCTIONS)


def final(name: str) -> list[Instruction]:
    """The instructions of a kind in the stage that becomes the image."""
    return [each for each in INSTRUCTIONS if each.stage == LAST_STAGE and each.name == name]


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for each in final("ENV") for word in each.words)


def test_it_builds_in_one_stage_and_runs_in_another() -> None:
    assert LAST_STAGE == 1
    assert {each.words[0] for each in INSTRUCTIONS if each.name == "FROM"} == {"python:3.11-slim"}


def test_it_never_runs_as_root() -> None:
    (user,) = final("USER")
    assert all(int(number) > 0 for number in user.value.split(":")), "a number that orchestrators can check"
    after = INSTRUCTIONS[INSTRUCTIONS.index(user) + 1 :]
    assert {each.name for each in after} <= {"HEALTHCHECK", "ENTRYPOINT", "CMD"}
    made = next(each for each in final("RUN") if "/var/lib/castd" in each.value)
    number, group = user.value.split(":")
    assert f"-o {number} -g {group} -m 0700" in made.value


def test_its_health_is_asked_for() -> None:
    (check,) = final("HEALTHCHECK")
    assert json.loads(check.value[check.value.index("CMD ") + 4 :]) == ["castd", "healthcheck"]
    timeout = re.search(r"--timeout=(\d+)s", check.value)
    assert timeout
    assert int(timeout[1]) > TIMEOUT_SECONDS, "castd says itself what is wrong, before Docker gives up"


def test_it_starts_castd_and_says_what_it_needs() -> None:
    assert [json.loads(each.value) for each in (*final("ENTRYPOINT"), *final("CMD"))] == [["castd"], ["run"]]
    assert [each.value for each in final("EXPOSE")] == ["8000"]
    assert [each.value for each in final("VOLUME")] == [environment()["CASTD_SERVER__STATE_DIR"]]


def test_nothing_is_fetched_from_elsewhere_and_no_secret_is_inside() -> None:
    assert not [each for each in INSTRUCTIONS if each.name in ("ADD", "SHELL", "ONBUILD")]
    assert [each.value for each in INSTRUCTIONS if each.name == "ARG"] == ["EXTRAS=levels,transcode"]
    text = " ".join(each.value for each in INSTRUCTIONS)
    assert not re.search(r"https?://|curl|wget|--platform|amd64|x86|arm64|aarch64", text)
    assert not any(re.search("PASSWORD|TOKEN|SECRET", name) for name in environment())


def test_what_levels_and_renditions_need_is_inside() -> None:
    (packages,) = [each for each in final("RUN") if "apt-get" in each.value]
    (installed,) = re.findall(r"apt-get install ([^&]*)", packages.value)
    hint = (ROOT / "castd/levels/xiph.py").read_text().partition("apt install ")[2].partition('"')[0]
    assert [word for word in installed.split() if not word.startswith("--")] == hint.split()
    assert packages.value.endswith("rm -rf /var/lib/apt/lists/*")
    (install,) = [each.value for each in INSTRUCTIONS if "pip --python" in each.value]
    for extras, wanted in (("levels,transcode", "[levels,transcode]"), ("", "")):
        script = "echo " + install.rpartition("constraints.txt")[2].replace("/dist/castd-*.whl", "castd.whl")
        said = subprocess.run(["sh", "-c", script], env={"EXTRAS": extras}, check=True, capture_output=True, text=True)
        assert said.stdout == f"castd.whl{wanted}\n"


def from_the_checkout() -> list[str]:
    """What the COPY instructions take from the build context."""
    copies = [each for each in INSTRUCTIONS if each.name == "COPY" and "--from" not in each.value]
    return [source for each in copies for source in each.words[:-1]]


def test_the_context_is_what_is_copied_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert sorted(line[1:] for line in lines if line.startswith("!")) == sorted(from_the_checkout())
    assert all((ROOT / source).exists() for source in from_the_checkout())


@pytest.fixture
def image(tmp_path: Path) -> dict[str, str]:
    """What the build stage's commands make, with the dependencies that are installed here in place of an index.

    Returns:
        The environment of the image, with its first folder of PATH as VIRTUAL_ENV.
    """
    source, dist, opt = tmp_path / "src", tmp_path / "dist", tmp_path / "opt"
    for name in from_the_checkout():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(opt)], check=True)
    (wheel,) = dist.glob("castd-*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(opt / "bin" / "python")]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    return {
        **environment(),
        "CASTD_SERVER__STATE_DIR": str(tmp_path / "state"),
        "CASTD_LISTEN__HOST": "127.0.0.1",
        "CASTD_LISTEN__PORT": "0",
        "PATH": f"{opt / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(dependencies(tmp_path / "dependencies")),
        "VIRTUAL_ENV": str(opt),
    }


@pytest.mark.e2e
@pytest.mark.slow
async def test_the_images_commands_work(image: dict[str, str], tmp_path: Path) -> None:
    opt = Path(image["VIRTUAL_ENV"])
    before = files(opt)
    castd = opt / "bin" / "castd"
    async with Program([castd, "run"], tmp_path / "out", errors=tmp_path / "log", environment=image) as server:
        address = (await server.printed(r"http://127\.0\.0\.1:\d+", seconds=20)).group()
        asked = [str(castd), "healthcheck", "--url", address]
        healthy = await trio.run_process(asked, env={**os.environ, **image}, check=False)
    gone = await trio.run_process(asked, env={**os.environ, **image}, check=False, capture_stderr=True)
    assert (healthy.returncode, gone.returncode) == (0, 1)
    assert files(opt) == before, "it wrote into the image"


def files(folder: Path) -> list[Path]:
    """All there is below."""
    return sorted(folder.rglob("*"))


def dependencies(folder: Path) -> Path:
    """What is installed here, without castd."""
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "castd" not in path.name and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    return folder


# systemd


def unit(name: str) -> dict[str, list[str]]:
    """The settings of a unit, in order."""
    settings: dict[str, list[str]] = {}
    for line in (ROOT / "etc" / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


def test_the_service() -> None:
    service = unit("castd.service")
    assert service["Type"] == ["notify"]
    assert service["User"] == ["castd"]
    assert service["NoNewPrivileges"] == ["yes"]
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    assert service["StateDirectory"] == ["castd"]
    assert int(service["LimitNOFILE"][0]) > 20_000
    assert int(service["TimeoutStopSec"][0]) > 10
    assert "WatchdogSec" in service
    assert unit("castd.socket")["ListenStream"] == ["8000"]


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    text = (ROOT / "etc" / "castd.service").read_text()
    (tmp_path / "castd.service").write_text(text.replace("/opt/castd/bin/castd", "/bin/true"))
    (tmp_path / "castd.socket").write_bytes((ROOT / "etc" / "castd.socket").read_bytes())
    units = [str(tmp_path / name) for name in ("castd.service", "castd.socket")]
    verify = ["systemd-analyze", "verify", "--man=no", *units]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in done.stderr.splitlines() if "castd" in line]
    assert (done.returncode, complaints) == (0, [])

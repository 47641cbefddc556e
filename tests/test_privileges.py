"""From root to another user: CFG-07. Each time in a process of its own, since there is no way back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from castd import privileges
from castd.errors import ConfigError
from tests.conftest import unavailable

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

NOBODY = "nobody"

ROOT_OF_CHECKOUT = Path(__file__).parent.parent


def may_be_reached(path: str | Path) -> bool:
    """Whether everybody may read a file."""
    path = Path(path).resolve()
    return bool(path.stat().st_mode & 0o4) and all(parent.stat().st_mode & 0o1 for parent in path.parents)


@pytest.fixture
def command() -> list[str]:
    """Python as anybody may run it, with castd and what it needs: this one may live in root's home."""
    if not may_be_reached(__file__):
        unavailable("only root may read this checkout")
    if may_be_reached(os.__file__):
        return [sys.executable]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")
    if python is None or not may_be_reached(python):
        unavailable(f"no Python {version} that other users may run")
    paths = [str(ROOT_OF_CHECKOUT), sysconfig.get_path("purelib")]
    return ["env", f"PYTHONPATH={':'.join(paths)}", "PYTHONDONTWRITEBYTECODE=1", python]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose way there is open to everybody."""
    for each in [tmp_path, *tmp_path.parents[:-2]]:
        each.chmod(each.stat().st_mode | 0o011)
    return tmp_path


SCRIPT = """\
import json, os, sys, threading
from pathlib import Path
from castd import privileges
from castd.access import secrets
from castd.config import Auth

def ids():
    return [list(os.getresuid()), list(os.getresgid()), sorted(os.getgroups())]

os.setgroups([0, 4, 24])
state = Path(sys.argv[1])
user = privileges.account("nobody")
inside = []
begin, done = threading.Event(), threading.Event()
def thread():
    begin.wait()
    inside.append([line.split()[1:] for line in open("/proc/thread-self/status") if line.startswith(("Uid", "Gid"))])
    done.set()
threading.Thread(target=thread, daemon=True).start()
privileges.own(state, user)
with privileges.acting_as(user):
    acting = os.geteuid()
    secrets.resolve(Auth(), state)
between = ids()
privileges.become(user)
begin.set(); done.wait(5)
back = []
for attempt in (lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
    try:
        attempt(); back.append(True)
    except PermissionError:
        back.append(False)
capabilities = [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm"))]
told = dict(acting=acting, between=between, after=ids(), back=back, capabilities=capabilities, thread=inside)
print(json.dumps(told))
"""


@ROOT_ONLY
def test_root_becomes_nobody_for_good(command: list[str], folder: Path) -> None:
    state = folder / "below" / "state"
    for _ in range(2):  # the second time it finds what is its own
        done = subprocess.run(
            [*command, "-c", SCRIPT, str(state)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
    user = privileges.account(NOBODY)
    assert user is not None
    assert told["acting"] == user.uid
    assert told["between"] == [[0] * 3, [0] * 3, [0, 4, 24]]
    assert told["after"] == [[user.uid] * 3, [user.gid] * 3, sorted(user.groups)]
    assert told["back"] == [False] * 4
    assert {int(mask, 16) for mask in told["capabilities"]} == {0}
    assert told["thread"] == [[[str(user.uid)] * 4, [str(user.gid)] * 4]]
    assert state.stat().st_uid == user.uid
    assert {file.stat().st_uid for file in state.iterdir()} == {user.uid}


@ROOT_ONLY
@pytest.mark.e2e
def test_a_server_drops_to_its_user(command: list[str], folder: Path) -> None:
    process = subprocess.Popen(
        [*command, "-m", "castd", "run", "-c", os.devnull],
        env={
            "PATH": os.environ["PATH"],
            "CASTD_SERVER__STATE_DIR": str(folder / "state"),
            "CASTD_SERVER__USER": NOBODY,
            "CASTD_LISTEN__HOST": "127.0.0.1",
            "CASTD_LISTEN__PORT": "0",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert "is ready" in process.stdout.readline()
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.terminate()
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    user = privileges.account(NOBODY)
    assert user is not None
    lines = dict(line.split(":\t", 1) for line in status.splitlines())
    assert set(lines["Uid"].split()) == {str(user.uid)}
    assert set(lines["Gid"].split()) == {str(user.gid)}
    assert set(map(int, lines["Groups"].split())) == set(user.groups)
    assert f"running as {NOBODY} from now on" in log
    assert "running as root" not in log


@ROOT_ONLY
@pytest.mark.parametrize(("name", "word"), [("no-such-user", "no such user"), ("root", "is root")])
def test_whom_root_cannot_become(name: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        privileges.account(name)


@ROOT_ONLY
def test_a_state_dir_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    user = privileges.account(NOBODY)
    assert user is not None
    with pytest.raises(ConfigError, match=rf"chown -R {NOBODY}: {tmp_path}"):
        privileges.own(tmp_path, user)
    assert tmp_path.stat().st_uid == 0


@ROOT_ONLY
def test_a_user_who_may_not_read_castd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module.py").touch(mode=0o600)
    monkeypatch.setattr(privileges, "__file__", str(tmp_path / "module.py"))
    monkeypatch.setattr(os, "__file__", __file__ if may_be_reached(__file__) else "/etc/passwd")
    groups = os.getgroups()
    with (
        pytest.raises(ConfigError, match=r"may not read .*module\.py"),
        privileges.acting_as(privileges.account(NOBODY)),
    ):
        pytest.fail("it went on")
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, groups)


def test_without_a_user_nothing_happens() -> None:
    before = os.getresuid(), os.getgroups()
    assert privileges.account("") is None
    with privileges.acting_as(None):
        privileges.become(None)
    assert (os.getresuid(), os.getgroups()) == before


def test_not_being_root_is_no_error(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65_533)
    assert privileges.account(NOBODY) is None
    privileges.warn("")
    assert not caplog.records
    privileges.warn(NOBODY)
    assert "only root can become another user; staying user 65533" in caplog.text


def test_staying_root_is_warned_about(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    privileges.warn(NOBODY)
    assert not caplog.records
    privileges.warn("")
    assert "running as root" in caplog.text


def test_what_the_system_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    user = privileges.Account("radio", 1000, 1000, (1000,))
    monkeypatch.setattr(os, "setgroups", refuse)
    with pytest.raises(ConfigError, match="cannot become it: Operation not permitted"):
        privileges.become(user)


def test_a_way_back_is_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, name, lambda *args: None)
    with pytest.raises(ConfigError, match="would let castd be root again"):
        privileges.become(privileges.Account("radio", 1000, 1000, (1000,)))

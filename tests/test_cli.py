"""The command line: exit codes, what is printed, and what must not be."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from castd import __version__, cli
from castd.access.secrets import Secrets
from castd.cli import main
from castd.config import Config
from castd.errors import ConfigError

Ready = Callable[[list[str]], None]
Run = Callable[[Config, Secrets, Ready], None]

HOST_ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def castd(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """castd as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "castd", *arguments],
        env={**HOST_ENVIRONMENT, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory of main(), which finds no configuration but the environment's."""
    monkeypatch.setattr(cli, "DEFAULT_CONFIG", tmp_path / "none.toml")
    monkeypatch.setenv("CASTD_SERVER__STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The limit of open files as main() sees it, so that the one of the tests stays."""
    current = {"soft": 1024, "hard": 65_536}

    def set_limit(which: int, limit: tuple[int, int]) -> None:
        current["soft"], current["hard"] = limit

    monkeypatch.setattr(resource, "getrlimit", lambda which: (current["soft"], current["hard"]))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    return current


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    logging.captureWarnings(False)
    root.handlers, root.level = handlers, level


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], None]:
    """Puts a function in place of castd.app.run."""

    def install(run: Run) -> None:
        async def fake(
            config: Config, secrets: Secrets, read: object, ready: Ready, predecessor: None, command: list[str]
        ) -> None:
            assert predecessor is None
            assert command[0] == sys.executable
            run(config, secrets, ready)

        module = ModuleType("castd.app")
        module.run = fake  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "castd.app", module)
        monkeypatch.setattr("castd.app", module, raising=False)

    return install


Install = Callable[[Run], None]


# As a process


def test_without_arguments_help_and_2() -> None:
    done = castd()
    assert done.returncode == 2
    assert "usage: castd" in done.stderr
    assert "check" in done.stderr


def test_version() -> None:
    done = castd("--version")
    assert (done.returncode, done.stdout) == (0, f"castd {__version__}\n")


@pytest.mark.parametrize("arguments", [["fly"], ["run", "--log-format", "xml"], ["check", "-c"]])
def test_wrong_arguments(arguments: list[str]) -> None:
    assert castd(*arguments).returncode == 2


@pytest.mark.parametrize("command", ["check", "run"])
def test_all_mistakes_are_told_without_a_traceback(tmp_path: Path, command: str) -> None:
    (tmp_path / "castd.toml").write_text("[limits]\nmax_sources = 0\n[servr]\n")
    done = castd(command, "-c", tmp_path / "castd.toml")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith(f"castd: {tmp_path}/castd.toml: limits.max_sources = 0: must be")
    assert "servr: unknown section; did you mean server?" in second
    assert done.stdout == ""


def test_check_does_not_load_the_server() -> None:
    code = "import sys; from castd.cli import main; main(['check']); print('trio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=HOST_ENVIRONMENT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.e2e
def test_a_real_start_and_stop(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "castd", "run", "-c", os.devnull],
        env={**HOST_ENVIRONMENT, "CASTD_SERVER__STATE_DIR": str(tmp_path / "s"), "CASTD_LISTEN__PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert "is ready" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 0


# In this process


def test_check(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "castd.toml"
    path.write_text('[[listen]]\nhost = "::1"\n[[listen]]\nport = 0\n[mounts.b]\n[mounts.a]\n[mounts.default]\n')
    assert main(["check", "-c", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"{path}: OK" in out
    assert "::1 port 8000, every address port any" in out
    assert "of their own for /a, /b\n" in out
    assert not state.exists()


def test_check_of_defaults(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert "defaults: OK" in out
    assert "the same for every mount" in out


def test_the_default_file_is_read_if_it_exists(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.toml").write_text("[limits]\nmax_sources = 0\n")
    assert main(["check"]) == 2
    assert "none.toml: limits.max_sources" in capsys.readouterr().err


def test_first_start(state: Path, app: Install, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Secrets] = []

    def run(config: Config, secrets: Secrets, ready: Ready) -> None:
        seen.append(secrets)
        ready(["http://localhost:8000", "http://[::1]:8001"])

    app(run)
    assert main(["run"]) == 0
    out = capsys.readouterr().out
    for text in (
        "http://localhost:8000/\n",
        "http://[::1]:8001/\n",
        "http://localhost:8000/status-json.xsl\n",
        f"source / {seen[0].source_password}\n",
        f"admin / {seen[0].admin_password}\n",
        seen[0].admin_token,
        f"ffmpeg -re -i song.mp3 -c copy -content_type audio/mpeg -f mp3 "
        f"icecast://source:{seen[0].source_password}@localhost:8000/live\n",
    ):
        assert text in out


def test_later_starts_show_no_secret(state: Path, app: Install, capsys: pytest.CaptureFixture[str]) -> None:
    app(lambda config, secrets, ready: ready(["http://localhost:8000"]))
    main(["run"])
    capsys.readouterr()
    assert main(["run"]) == 0
    captured = capsys.readouterr()
    for kept in state.iterdir():
        assert kept.read_text().strip() not in captured.out + captured.err
        assert f"in {kept}\n" in captured.out
    assert "http://localhost:8000/status-json.xsl" in captured.out


def test_where_configured_secrets_are(
    state: Path, app: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("veiled-1")
    monkeypatch.setenv("CASTD_AUTH__ADMIN_TOKEN_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("CASTD_AUTH__SOURCE_PASSWORD", "veiled-2")
    monkeypatch.setenv("CASTD_AUTH__ADMIN_PASSWORD", "veiled-3")
    app(lambda config, secrets, ready: ready(["http://localhost:8000"]))
    assert main(["run"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"source_password +configured\n", out)
    assert f"in {tmp_path}/secret\n" in out
    assert "veiled" not in out
    assert not state.exists()


@pytest.mark.parametrize("key", ["CASTD_AUTH__SOURCE_PASSWORD", "CASTD_MOUNTS__DEFAULT__SOURCE_PASSWORD"])
def test_a_configured_password_is_not_in_the_example(
    state: Path, app: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    monkeypatch.setenv(key, "veiled")
    monkeypatch.setenv("CASTD_AUTH__SOURCE_USER", "a/b")
    app(lambda config, secrets, ready: ready(["http://localhost:8000"]))
    assert main(["run"]) == 0
    out = capsys.readouterr().out
    assert "icecast://a%2Fb:PASSWORD@localhost:8000/live" in out
    assert "veiled" not in out


def test_the_environment_may_hold_what_no_terminal_can_show(
    state: Path, app: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CASTD_SERVER__STATE_DIR", f"{state}\udcff")
    app(lambda config, secrets, ready: ready(["http://localhost:8000"]))
    assert main(["run"]) == 0
    assert "state\\udcff:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error",
    [ConfigError("port 80:\ndenied"), BaseExceptionGroup("", [ExceptionGroup("", [ConfigError("port 80:\ndenied")])])],
)
def test_what_the_server_cannot_use_is_2(
    state: Path, app: Install, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def run(config: Config, secrets: Secrets, ready: Ready) -> None:
        raise error

    app(run)
    assert main(["run"]) == 2
    assert capsys.readouterr().err.endswith("castd: port 80:\ncastd: denied\n")


def test_interrupted(state: Path, app: Install) -> None:
    def run(config: Config, secrets: Secrets, ready: Ready) -> None:
        raise KeyboardInterrupt

    app(run)
    assert main(["run"]) == 130


def test_a_bug_shows_itself(state: Path, app: Install) -> None:
    def run(config: Config, secrets: Secrets, ready: Ready) -> None:
        raise ZeroDivisionError

    app(run)
    with pytest.raises((ZeroDivisionError, ExceptionGroup)):
        main(["run"])


def test_no_place_for_secrets_is_2(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state.write_text("in the way")
    assert main(["run"]) == 2
    assert "secrets cannot be kept" in capsys.readouterr().err


def test_nobody_reads_the_announcement(tmp_path: Path) -> None:
    code = (
        "import sys, types, castd\n"
        "async def run(config, secrets, read, ready, predecessor, command): ready(['http://x'])\n"
        "castd.app = sys.modules['castd.app'] = types.SimpleNamespace(run=run)\n"
        "from castd.cli import main\n"
        "sys.exit(main(['run']))\n"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**HOST_ENVIRONMENT, "CASTD_SERVER__STATE_DIR": str(tmp_path / "state")},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0
    assert "cannot write to standard output: No space left on device" in done.stderr
    assert "Exception ignored" not in done.stderr


# The limit of open files


def test_open_files_are_raised(
    state: Path, app: Install, limits: dict[str, int], capfd: pytest.CaptureFixture[str]
) -> None:
    app(lambda config, secrets, ready: None)
    assert main(["run"]) == 0
    assert limits["soft"] == 65_536
    assert "open files: at most 65536, enough for limits.max_listeners = 20000" in capfd.readouterr().err


def test_too_few_open_files_are_told(
    state: Path, app: Install, limits: dict[str, int], capfd: pytest.CaptureFixture[str]
) -> None:
    limits["hard"] = 4096
    app(lambda config, secrets, ready: None)
    assert main(["run"]) == 0
    err = capfd.readouterr().err
    assert re.search(r"WARNING castd.cli open files: at most 4096, about 3996 listeners", err)


def test_unlimited_files(
    state: Path,
    app: Install,
    limits: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    limits["hard"] = resource.RLIM_INFINITY
    app(lambda config, secrets, ready: None)
    assert main(["run"]) == 0
    assert "open files: at most any number" in capfd.readouterr().err

    def refuse(which: int, limit: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    limits["soft"] = 1024
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert main(["run"]) == 0
    err = capfd.readouterr().err
    assert "cannot raise the limit of open files from 1024" in err
    assert "at most 1024, about 924 listeners" in err


def test_json_log(state: Path, app: Install, capfd: pytest.CaptureFixture[str]) -> None:
    app(lambda config, secrets, ready: None)
    assert main(["run", "--log-format", "json", "--log-level", "info"]) == 0
    assert all(line.startswith('{"time": ') for line in capfd.readouterr().err.splitlines())

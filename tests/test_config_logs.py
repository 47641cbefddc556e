"""[sessions] and [logs] in castd.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from castd.config import load
from castd.errors import ConfigError


def test_paths_start_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "castd.toml"
    file.write_text('[logs]\naccess = "log/access.log"\nserver = "/var/log/castd.log"\n')
    config = load(file, {"HOME": str(tmp_path)})
    assert config.logs.access == str(tmp_path / "log" / "access.log")
    assert config.logs.server == "/var/log/castd.log"
    assert config.logs.playlist == ""


def test_two_logs_need_two_files(tmp_path: Path) -> None:
    file = tmp_path / "castd.toml"
    file.write_text('[logs]\naccess = "a.log"\nserver = "./a.log"\n')
    with pytest.raises(ConfigError) as caught:
        load(file, {"HOME": str(tmp_path)})
    assert str(caught.value).startswith(f"{file}: logs.server = ")
    assert str(caught.value).endswith(": must be another file than logs.access")


@pytest.mark.parametrize("key", ["recent = -1", "keep_days = -1", 'addresses = "md5"'])
def test_what_sessions_cannot_be(key: str, tmp_path: Path) -> None:
    file = tmp_path / "castd.toml"
    file.write_text(f"[sessions]\n{key}\n")
    with pytest.raises(ConfigError, match=f"sessions.{key.partition(' ')[0]}"):
        load(file, {"HOME": str(tmp_path)})

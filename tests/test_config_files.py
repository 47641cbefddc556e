"""[files]: castd's own secrets are never below the web root."""

from __future__ import annotations

from pathlib import Path

import pytest

from castd.config import load
from castd.errors import ConfigError

HOME = {"HOME": "/home/radio"}


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "castd.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_root_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    path = write(tmp_path, '[files]\nroot = "web"\n[server]\nstate_dir = "webstate"\n')
    assert load(path, HOME).files.root == str(tmp_path / "web")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[files]\nroot = "."', "this configuration"),
        ('[files]\nroot = "/"', "this configuration"),
        ('[files]\nroot = "web"\n[server]\nstate_dir = "web/state"', "server.state_dir"),
        ('[files]\nroot = "web"\n[server]\nstate_dir = "link"', "server.state_dir"),
        ('[files]\nroot = "web"\n[auth]\nadmin_token_file = "web/token"', "auth.admin_token_file"),
        ('[files]\nroot = "web"\n[mounts."/live"]\nsource_password_file = "web/token"', "of /live"),
    ],
)
def test_secrets_below_the_root(tmp_path: Path, text: str, word: str) -> None:
    path = write(tmp_path, text + "\n")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "token").write_text("a-long-enough-word")
    (tmp_path / "link").symlink_to("web")
    with pytest.raises(ConfigError, match="everybody could fetch") as caught:
        load(path, HOME)
    assert word in str(caught.value)
    assert "files.root" in str(caught.value)


def test_a_root_that_is_not_there_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(write(tmp_path, '[files]\nroot = "later"\n'), HOME)
    assert f'files.root = "{tmp_path}/later": no such directory' in caplog.text

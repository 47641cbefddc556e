"""The server's secrets: where they come from, who can read them, and how they are compared."""

from __future__ import annotations

import hmac
import logging
import math
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from castd.access import secrets
from castd.access.secrets import READABLE, Secrets, new_password, new_token, resolve, verify
from castd.config import Auth
from castd.errors import ConfigError

NAMES = {"source_password", "admin_password", "admin_token"}
CONFIGURED = Auth(source_password="one", admin_password="two", admin_token="three")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def values(found: Secrets) -> tuple[str, str, str]:
    return found.source_password, found.admin_password, found.admin_token


def test_configured_ones_need_no_directory(tmp_path: Path) -> None:
    found = resolve(CONFIGURED, tmp_path / "state")
    assert (values(found), found.generated) == (("one", "two", "three"), frozenset())
    assert not (tmp_path / "state").exists()


def test_generated_once_and_kept(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state"
    first = resolve(Auth(), state)
    assert first.generated == NAMES
    assert len({*values(first)}) == 3
    assert mode(state) == 0o700
    assert {path.name: mode(path) for path in state.iterdir()} == dict.fromkeys(NAMES, 0o600)
    second = resolve(Auth(), state)
    assert (values(second), second.generated) == (values(first), frozenset())


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        resolve(Auth(), tmp_path / "state")
    finally:
        os.umask(before)
    assert mode(tmp_path / "state") == 0o700
    assert mode(tmp_path / "state" / "admin_token") == 0o600


def test_configured_goes_before_kept(tmp_path: Path) -> None:
    kept = resolve(Auth(), tmp_path)
    found = resolve(Auth(admin_password="mine"), tmp_path)
    assert values(found) == (kept.source_password, "mine", kept.admin_token)


def test_only_what_is_missing_is_generated(tmp_path: Path) -> None:
    (tmp_path / "admin_token").write_text("kept by hand\n")
    (tmp_path / "admin_token").chmod(0o600)
    found = resolve(Auth(source_password="x"), tmp_path)
    assert found.admin_token == "kept by hand"
    assert found.generated == {"admin_password"}


def test_an_emptied_file_means_a_new_secret(tmp_path: Path) -> None:
    first = resolve(Auth(), tmp_path)
    (tmp_path / "source_password").write_text("")
    second = resolve(Auth(), tmp_path)
    assert second.generated == {"source_password"}
    assert second.source_password != first.source_password


def test_what_a_crash_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".source_password.new").write_text("half")
    assert resolve(Auth(), tmp_path).source_password != "half"
    assert {path.name for path in tmp_path.iterdir()} == NAMES


def test_a_failed_write_leaves_nothing_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match=r"No space left on device: secrets cannot be kept; .* auth\.admin_token"):
            resolve(Auth(), tmp_path)
    assert resolve(Auth(), tmp_path).generated == NAMES


def _resolve_in_child(state: Path, start: object, results: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    found = resolve(Auth(), state)
    results.put((values(found), sorted(found.generated)))  # type: ignore[attr-defined]


def test_servers_that_start_together_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(4), context.Queue()
    children = [context.Process(target=_resolve_in_child, args=(tmp_path / "state", start, results)) for _ in range(4)]
    for child in children:
        child.start()
    told = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert len({found for found, _ in told}) == 1
    assert sorted(generated for _, generated in told) == [[], [], [], sorted(NAMES)]


# Files castd does not trust


def test_a_file_others_can_read_is_tightened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = resolve(Auth(), tmp_path)
    (tmp_path / "admin_token").chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert resolve(Auth(), tmp_path).admin_token == first.admin_token
    assert mode(tmp_path / "admin_token") == 0o600
    assert "admin_token could be read by other users" in caplog.text
    assert first.admin_token not in caplog.text


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(Auth(), tmp_path)
    if os.geteuid() == 0:
        os.chown(tmp_path / "source_password", 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigError, match="source_password: must be a file of castd's own user"):
        resolve(Auth(), tmp_path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("secret")
    (tmp_path / "source_password").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="source_password: "):
        resolve(Auth(), tmp_path)


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "source_password", 0o600)
    with pytest.raises(ConfigError, match="must be a file"):
        resolve(Auth(), tmp_path)


@pytest.mark.parametrize("content", [b"hackme\n", b"two\nlines\n", b"x" * 1001, b"\x00"])
def test_a_useless_kept_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "source_password").write_bytes(content)
    (tmp_path / "source_password").chmod(0o600)
    with pytest.raises(ConfigError, match="source_password: must hold text of"):
        resolve(Auth(), tmp_path)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError, match=r"state: .*secrets cannot be kept; let server\.state_dir name a directory"):
        resolve(Auth(), tmp_path / "state")
    with pytest.raises(ConfigError, match="Not a directory"):
        resolve(Auth(), tmp_path / "state" / "below")


# What is generated


def test_passwords_are_readable_and_strong() -> None:
    password = new_password()
    characters = password.replace("-", "")
    assert set(characters) <= set(READABLE)
    assert len(characters) * math.log2(len(READABLE)) >= 95
    assert len(set(READABLE)) == len(READABLE)
    assert not set("il1o0") & set(READABLE)
    assert new_password() != password


def test_tokens_are_strong_and_need_no_quoting() -> None:
    token = new_token()
    assert len(token.removeprefix("castd_")) * 6 >= 128
    assert token.replace("_", "").replace("-", "").isalnum()
    assert new_token() != token


def test_repr_tells_nothing(tmp_path: Path) -> None:
    found = resolve(Auth(), tmp_path)
    assert not any(value in repr(found) for value in values(found))


# Comparison


@pytest.mark.parametrize(
    ("given", "expected", "same"),
    [
        ("secret", "secret", True),
        (b"secret", "secret", True),
        ("gehéim", "gehéim", True),
        ("gehéim".encode(), "gehéim", True),
        ("Secret", "secret", False),
        ("secret ", "secret", False),
        ("", "secret", False),
        ("", "", False),
        (b"", "", False),
        ("secret", "", False),
        ("hackme", "hackme", False),
        ("changeme", "changeme", False),
        (b"HackMe", "HackMe", False),
        ("\ud800\udcff", "secret", False),
        (b"\xff\x00", "secret", False),
    ],
)
def test_verify(given: str | bytes, expected: str, same: bool) -> None:
    assert verify(given, expected) is same


@pytest.mark.parametrize("given", ["", "x", "hackme", "secret", "x" * 10_000])
@pytest.mark.parametrize("expected", ["", "secret"])
def test_verify_always_compares_digests_of_equal_length(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: str
) -> None:
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    secrets.verify(given, expected)
    assert compared == [(32, 32)]

"""What may be opened below a web root: DSK-04, HTTP-17."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from castd.admin.web_root import open_below

if TYPE_CHECKING:
    from pathlib import Path

SECRET = b"root:x:0:0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a song in a folder; beside it what nobody may have."""
    (tmp_path / "root" / "folder").mkdir(parents=True)
    (tmp_path / "root" / "folder" / "song.mp3").write_bytes(b"la la la")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    (tmp_path / "rooted").mkdir()
    (tmp_path / "rooted" / "secret").write_bytes(SECRET)
    return tmp_path / "root"


def read(root: Path, path: str) -> bytes | None:
    """The file's content, None if it is refused."""
    file = open_below(str(root), path)
    if file is None:
        return None
    with open(file.descriptor, "rb") as opened:
        content = opened.read()
    assert len(content) == file.size
    return content


def test_a_file(root: Path) -> None:
    assert read(root, "/folder/song.mp3") == b"la la la"
    file = open_below(str(root), "/folder/song.mp3")
    assert file is not None
    assert file.modified_ns == (root / "folder" / "song.mp3").stat().st_mtime_ns
    assert not os.get_inheritable(file.descriptor)
    os.close(file.descriptor)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/folder",
        "/folder/",
        "/folder/song.mp3/",
        "/folder/song.mp3/x",
        "//folder/song.mp3",
        "/folder//song.mp3",
        "/../outside/secret",
        "/folder/../../outside/secret",
        "/./folder/song.mp3",
        "../outside/secret",
        "/folder/song.mp3\0",
        "/folder\\song.mp3",
        "/absent",
        "/\ud800",
        "/" + "x" * 300,
        "/" + "x/" * 3000,
    ],
)
def test_no_file(root: Path, path: str) -> None:
    assert read(root, path) is None


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    assert read(tmp_path / "absent", "/x") is None


def test_a_root_that_is_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(root)
    assert read(tmp_path / "current", "/folder/song.mp3") == b"la la la"


def test_links(root: Path, tmp_path: Path) -> None:
    (root / "latest.mp3").symlink_to("folder/song.mp3")
    (root / "absolute.mp3").symlink_to(root / "folder" / "song.mp3")
    (root / "twice.mp3").symlink_to("latest.mp3")
    (root / "out").symlink_to("../outside/secret")
    (root / "folder" / "out").symlink_to(tmp_path / "outside")
    (root / "folder" / "sibling").symlink_to("../../rooted")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nothing")
    (root / "proc").symlink_to("/proc/self/environ")
    for path in ("/latest.mp3", "/absolute.mp3", "/twice.mp3"):
        assert read(root, path) == b"la la la"
    for path in ("/out", "/folder/out/secret", "/folder/sibling/secret", "/loop", "/dangling", "/proc"):
        assert read(root, path) is None, path


def test_what_is_no_regular_file(root: Path) -> None:
    os.mkfifo(root / "fifo.mp3")
    listening = socket.socket(socket.AF_UNIX)
    place = os.getcwd()
    os.chdir(root)  # a socket's path is short
    try:
        listening.bind("socket.mp3")
    finally:
        os.chdir(place)
    with listening:
        assert read(root, "/fifo.mp3") is None
        assert read(root, "/socket.mp3") is None
    if os.geteuid() == 0:
        try:
            os.mknod(root / "zero.mp3", 0o20666, os.makedev(1, 5))
        except PermissionError:
            return
        assert read(root, "/zero.mp3") is None


def test_names_with_a_dot(root: Path) -> None:
    for name in (".git", ".well-known", ".well-known/.htpasswd"):
        (root / name).mkdir()
        (root / name / "x").write_bytes(b"x")
    (root / "git").symlink_to(".git")
    assert read(root, "/.well-known/x") == b"x"
    for path in ("/.git/x", "/.well-known/.htpasswd/x", "/git/x", "/.well-known"):
        assert read(root, path) is None


@pytest.mark.parametrize("victim", ["folder", "folder/song.mp3"])
def test_a_link_put_there_after_the_check_leads_nowhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    """The attacker's best moment: the path is resolved and found good, and not opened yet."""
    real = os.path.realpath
    (tmp_path / "outside" / "song.mp3").write_bytes(SECRET)

    def swap(path: str, *, strict: bool) -> str:
        found = real(path, strict=strict)
        if found.endswith("song.mp3"):
            (root / victim).rename(tmp_path / "away")
            (root / victim).symlink_to(tmp_path / "outside" / ("" if victim == "folder" else "song.mp3"))
        return found

    monkeypatch.setattr(os.path, "realpath", swap)
    before = len(os.listdir("/proc/self/fd"))
    assert read(root, "/folder/song.mp3") is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_descriptors_left_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match="Too many"):
        open_below(str(root), "/folder/song.mp3")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "folder" / "song.mp3").chmod(0)
    assert read(root, "/folder/song.mp3") is None
    assert "may not be read" in caplog.text

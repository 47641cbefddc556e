"""Lines of access.log and playlist.log beside those that Icecast wrote (captures L01, L03)."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from castd.http.messages import Request
from castd.stats.log_lines import access_line, playlist_line

if TYPE_CHECKING:
    from collections.abc import Iterator

COMBINED = re.compile(
    r"(?P<address>\S+) - (?P<user>\S+) \[(?P<date>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    r'"(?P<method>\S+) (?P<target>\S+) HTTP/(?P<version>\d\.\d)" (?P<status>\d{3}) (?P<bytes>\d+) '
    r'"(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)" (?P<seconds>\d+)'
)
"""What a log analyser makes of a line."""

ICECAST = """\
127.0.0.1 - - [22/Nov/2026:16:04:33 +0000] "GET /live.mp3 HTTP/1.1" 200 94273 "-" "-" 2
127.0.0.1 - - [22/Nov/2026:16:04:35 +0000] "SOURCE /meta.mp3 HTTP/1.0" 200 19 "-" "castd-probe/1" 8
127.0.0.1 - alice [22/Nov/2026:16:11:37 +0000] "GET /priv.mp3 HTTP/1.1" 401 360 "-" "-" 0
127.0.0.1 - - [22/Nov/2026:16:11:41 +0000] "STATS / HTTP/1.0" 401 360 "-" "-" 0"""

WALL = 1_795_363_473.9  # 2026-11-22 16:04:33.9 UTC


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def request(
    method: str = "GET",
    path: str = "/live.mp3",
    version: str = "1.1",
    query: dict[str, bytes] | None = None,
    **headers: str,
) -> Request:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, path, query or {}, fields, version, "127.0.0.1", "127.0.0.1:8000")


def parsed(line: str) -> dict[str, str]:
    match = COMBINED.fullmatch(line)
    assert match is not None, line
    return match.groupdict()


@pytest.mark.parametrize("line", ICECAST.splitlines())
def test_icecasts_own_lines_are_of_this_form(line: str) -> None:
    assert parsed(line)["address"] == "127.0.0.1"


def test_a_line_is_icecasts_to_the_byte() -> None:
    lines = ICECAST.splitlines()
    assert access_line(request(), "", 200, 94273, 2.9, WALL) == lines[0]
    source = request("SOURCE", "/meta.mp3", "1.0", user_agent="castd-probe/1")
    assert access_line(source, "", 200, 19, 8.0, WALL + 2) == lines[1]
    assert access_line(request(path="/priv.mp3"), "alice", 401, 360, 0.1, WALL + 424) == lines[2]


def test_dates_follow_the_machines_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    assert parsed(access_line(request(), "", 200, 0, 0, WALL))["date"] == "22/Nov/2026:21:34:33 +0530"


def test_nothing_a_client_sends_makes_another_field_or_line() -> None:
    line = access_line(
        request(
            "GET", '/a"b\\', user_agent='x" 200 1 "\\', referer='https://r.test/"\x1b[2J\u202e', query={"q": b"\n\r"}
        ),
        'al ice"\n',
        200,
        1,
        0,
        WALL,
    )
    fields = parsed(line)
    assert fields["target"] == '/a\\"b\\\\?q=%0A%0D'
    assert fields["agent"] == 'x\\" 200 1 \\"\\\\'
    assert fields["referer"] == 'https://r.test/\\"\\x1b[2J\\u202e'
    assert fields["user"] == "al%20ice%22%0A"
    assert line.isprintable()


def test_no_password() -> None:
    line = access_line(
        request(
            query={"pass": b"hunter2", "song": b"x"},
            referer="https://u:hunter2@r.test/?key=hunter2",
            authorization="Basic aHVudGVyMg==",
        ),
        "admin",
        200,
        1,
        0,
        WALL,
    )
    assert "hunter2" not in line
    assert "aHVudGVyMg" not in line
    assert "/live.mp3?pass=***&song=x" in line


def test_titles_are_icecasts_to_the_byte() -> None:
    assert playlist_line("/live.mp3", 1, "It's Bob's; 'quoted", WALL + 100) == (
        "22/Nov/2026:16:06:13 +0000|/live.mp3|1|It's Bob's; 'quoted"
    )
    assert playlist_line("/v.ogg", 0, "Art One - Vörbis Title", WALL).endswith("|/v.ogg|0|Art One - Vörbis Title")


def test_a_mount_does_not_make_a_field() -> None:
    assert playlist_line("/a|b", 3, "x|y\n", WALL).split("|", 3)[1:] == ["/a%7Cb", "3", "x|y\\n"]

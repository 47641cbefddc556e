"""Password lines and fields, as the recorded encoders send them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.errors import ClientError
from castd.wire.shoutcast import Login, login, password_line, refusal, split_fields


@pytest.mark.parametrize(
    ("received", "line", "rest"),
    [
        (b"s3cret\r\n", "s3cret", b""),
        (b"s3cret\nicy-name:x\n\n", "s3cret", b"icy-name:x\n\n"),
        (b"s3cret\r\nicy-name:x\r\n\r\n\xff\xfb", "s3cret", b"icy-name:x\r\n\r\n\xff\xfb"),
        ("pässwörd\r\n".encode(), "pässwörd", b""),
        ("pässwörd\r\n".encode("latin-1"), "pässwörd", b""),
        (b"two words\r\n", "two words", b""),
        (b"/live:s3cret\r\n", "/live:s3cret", b""),
        (b"!POKE\nicy-name:libshout server poke request\n\n", "!POKE", b"icy-name:libshout server poke request\n\n"),
    ],
)
def test_a_password_is_told_from_a_request(received: bytes, line: str, rest: bytes) -> None:
    assert password_line(received) == (line, rest)


@pytest.mark.parametrize(
    "received",
    [
        b"", b"s3cret", b"\r\n", b"\n\n", b"GET / HTTP/1.0\r\n", b"SOURCE /live ICE/1.0\r\n", b"GET /x\r\n",
        b"GET x y\r\n",
        b"GET /a b HTTP/1.1\r\n", b"\x16\x03\x01\r\n", b"a\0b\r\n", b" x\r\n", b"x" * 2000 + b"\r\n",
    ],
)  # fmt: skip
def test_what_is_no_password(received: bytes) -> None:
    assert password_line(received) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("s3cret", Login((("", "s3cret"),))),
        ("dj:s3cret", Login((("", "dj:s3cret"), ("dj", "s3cret")))),
        ("s3cret:#2", Login((("", "s3cret"),), stream_id=2)),
        ("dj:s3cret:#2", Login((("", "dj:s3cret"), ("dj", "s3cret")), stream_id=2)),
        ("/live:s3cret", Login((("", "s3cret"),), mount="/live")),
        ("/live:dj:s3cret", Login((("", "dj:s3cret"), ("dj", "s3cret")), mount="/live")),
        ("/live", Login((("", ""),), mount="/live")),
        ("x:#0", Login((("", "x:#0"), ("x", "#0")))),
    ],
)
def test_what_a_password_may_bring(text: str, meant: Login) -> None:
    assert login(text) == meant


@pytest.mark.parametrize(
    ("received", "fields", "rest"),
    [
        (b"\r\n\xff\xfb", {}, b"\xff\xfb"),
        (b"\n", {}, b""),
        (b"icy-name:SC Name\r\nicy-br:128\r\n\r\naudio", {"icy-name": "SC Name", "icy-br": "128"}, b"audio"),
        (b"icy-name: A: B\ncontent-type:audio/aacp\n\n", {"icy-name": "A: B", "content-type": "audio/aacp"}, b""),
        ("icy-name:Fünk\r\nnonsense\r\n\r\n".encode("latin-1"), {"icy-name": "Fünk"}, b""),
        (b"ICY-NAME:a\0b\r\r\n\r\n", {"icy-name": "ab"}, b""),
    ],
)
def test_fields(received: bytes, fields: dict[str, str], rest: bytes) -> None:
    assert split_fields(received, max_bytes=1000, max_fields=10) == (fields, rest)


@pytest.mark.parametrize("received", [b"", b"icy-name:x", b"icy-name:x\r\n", b"icy-name:x\r\nicy"])
def test_fields_that_are_not_whole_yet(received: bytes) -> None:
    assert split_fields(received, max_bytes=1000, max_fields=10) is None


@pytest.mark.parametrize("received", [b"x" * 1001, b"a:b\r\n" * 300, b"a:b\r\n" * 11 + b"\r\n"])
def test_fields_have_bounds(received: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        split_fields(received, max_bytes=1000, max_fields=10)
    assert caught.value.status == 431


def test_refusals() -> None:
    assert refusal(401, "wrong password") == b"invalid password\r\n"
    assert refusal(403, "Mountpoint\r\nin use") == b"Mountpoint in use\r\n"


@given(st.binary(max_size=300))
def test_any_bytes(received: bytes) -> None:
    if found := password_line(received):
        login(found[0])
    with suppress(ClientError):
        split_fields(received, max_bytes=200, max_fields=5)

"""Ranges: RFC 9110 §14, against a plain slice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.errors import ClientError
from castd.http.ranges import Part, requested_part

WHOLE = 1000


@pytest.mark.parametrize(
    ("field", "start", "size"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-1", 0, 2),
        ("bytes=0-", 0, 1000),
        ("bytes=999-", 999, 1),
        ("bytes=500-599", 500, 100),
        ("bytes=500-9999", 500, 500),
        ("bytes=-1", 999, 1),
        ("bytes=-5000", 0, 1000),
        ("Bytes = 7-8", 7, 2),
        (" bytes=00007-0008 ", 7, 2),
    ],
)
def test_a_part(field: str, start: int, size: int) -> None:
    assert requested_part(field, WHOLE) == Part(start, size, WHOLE)


@pytest.mark.parametrize(
    "field",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=--1",
        "bytes=1-2,5-6",
        "bytes=0-0,-1",
        "bytes=1-2-3",
        "bytes=٣-٤",
        "bytes=0x1-2",
        "seconds=1-2",
        "bytes=" + "9" * 5000 + "-",
        "bytes=" + ",".join(["0-"] * 500),
    ],
)
def test_the_whole(field: str) -> None:
    assert requested_part(field, WHOLE) is None


@pytest.mark.parametrize("field", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", f"bytes={'9' * 40}-"])
def test_not_satisfiable(field: str) -> None:
    with pytest.raises(ClientError) as caught:
        requested_part(field, WHOLE)
    assert caught.value.status == 416
    assert caught.value.headers == (("Content-Range", "bytes */1000"),)


def test_of_nothing() -> None:
    assert requested_part("bytes=-5", 0) is None
    with pytest.raises(ClientError):
        requested_part("bytes=0-", 0)


def test_content_range() -> None:
    assert Part(7, 2, 1000).content_range == "bytes 7-8/1000"


def answer(field: str, whole: int) -> tuple[int, Part | None]:
    """Status and part that a range of so many bytes is answered with."""
    try:
        part = requested_part(field, whole)
    except ClientError as refused:
        return refused.status, None
    return 206 if part else 200, part


@given(st.integers(0, 60), st.one_of(st.none(), st.integers(0, 60)), st.one_of(st.none(), st.integers(0, 60)))
def test_a_part_is_what_a_slice_is(whole: int, first: int | None, last: int | None) -> None:
    content = bytes(range(whole))
    if first is not None:
        expected = content[first:] if last is None else content[first : last + 1]
    else:
        expected = content[-last:] if last else b""
    status, part = answer(f"bytes={'' if first is None else first}-{'' if last is None else last}", whole)
    if part:
        assert part.size > 0
        assert content[part.start : part.start + part.size] == expected
    else:
        assert status in (200, 416)
        assert expected == b"" or (first, last) == (None, None)


@given(st.text(max_size=40), st.integers(0, 1 << 63))
def test_noise_is_the_whole_a_part_or_refused(noise: str, whole: int) -> None:
    for field in (noise, f"bytes={noise}"):
        status, part = answer(field, whole)
        assert status in (200, 206, 416)
        assert part is None or (part.start >= 0 and part.size > 0 and part.start + part.size <= whole)

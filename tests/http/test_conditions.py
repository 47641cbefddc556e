"""Conditional requests: RFC 9110 §13."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.http.conditions import Validators, http_date, outcome, part_is_of_this
from castd.http.messages import Request

MODIFIED = 784111777
"""Sun, 06 Nov 1994 08:49:37 GMT, the RFC's own example."""

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE, AFTER = formatdate(MODIFIED - 1, usegmt=True), formatdate(MODIFIED + 1, usegmt=True)
NOW = MODIFIED + 1000.5

THIS = Validators('"abc-1"', MODIFIED)


def request(**headers: str) -> Request:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", "/x", {}, fields, "1.1", "192.0.2.1", "127.0.0.1:8000")


def test_fields() -> None:
    assert THIS.fields == (("ETag", '"abc-1"'), ("Last-Modified", DATE))


@pytest.mark.parametrize("text", [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
def test_the_three_forms_of_a_date(text: str) -> None:
    assert http_date(text) == MODIFIED


@given(st.text(max_size=60) | st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,9} [0-9:]{1,12} GMT\Z"))
def test_noise_is_no_date(text: str) -> None:
    http_date(text)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"if_none_match": '"abc-1"'}, 304),
        ({"if_none_match": 'W/"abc-1"'}, 304),
        ({"if_none_match": '"x", W/"y,z" , "abc-1"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"abc-10"'}, 200),
        ({"if_none_match": "abc-1"}, 200),
        ({"if_none_match": '"x"', "if_modified_since": AFTER}, 200),
        ({"if_modified_since": DATE}, 304),
        ({"if_modified_since": AFTER}, 304),
        ({"if_modified_since": BEFORE}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_match": '"abc-1"'}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": 'W/"abc-1"'}, 412),
        ({"if_match": '"x"'}, 412),
        ({"if_match": '"abc-1"', "if_unmodified_since": BEFORE}, 200),
        ({"if_unmodified_since": BEFORE}, 412),
        ({"if_unmodified_since": DATE}, 200),
        ({"if_unmodified_since": "tomorrow"}, 200),
        ({"if_match": '"abc-1"', "if_none_match": '"abc-1"'}, 304),
    ],
)
def test_outcome(headers: dict[str, str], status: int) -> None:
    assert outcome(request(**headers), THIS) == status


@pytest.mark.parametrize(
    ("field", "applies"),
    [
        ("", True),
        ('"abc-1"', True),
        (' "abc-1" ', True),
        ('W/"abc-1"', False),
        ('"abc-2"', False),
        (DATE, True),
        (BEFORE, False),
        (AFTER, False),
        ("abc-1", False),
    ],
)
def test_if_range(field: str, applies: bool) -> None:
    assert part_is_of_this(request(if_range=field), THIS, NOW) is applies


def test_a_date_within_its_second_is_no_proof() -> None:
    assert not part_is_of_this(request(if_range=DATE), THIS, MODIFIED + 0.9)

"""URLs in logs: everything but what opens doors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.http.masking import masked_target, masked_url
from castd.http.messages import parse_query

PASSWORD = "hunter2"


@pytest.mark.parametrize(
    ("query", "logged"),
    [
        ("", ""),
        ("mount=/live&mode=updinfo&song=A%20-%20B", "?mount=/live&mode=updinfo&song=A%20-%20B"),
        (f"pass={PASSWORD}&song=x", "?pass=***&song=x"),
        (f"PASS={PASSWORD}", "?PASS=***"),
        (f"%70ass={PASSWORD}", "?pass=***"),
        (f"key={PASSWORD}&apikey={PASSWORD}&api_key={PASSWORD}", "?key=***&apikey=***&api_key=***"),
        (f"access_token={PASSWORD}&sig={PASSWORD}", "?access_token=***&sig=***"),
        (f"x[password]={PASSWORD}", "?x%5Bpassword%5D=***"),
        ("a=%0d%0aSet-Cookie", "?a=%0D%0ASet-Cookie"),
        ('a="%22 ', "?a=%22%22%20"),
    ],
)
def test_targets(query: str, logged: str) -> None:
    assert masked_target("/x", parse_query(query)) == "/x" + logged


@pytest.mark.parametrize(
    ("url", "logged"),
    [
        ("", ""),
        ("https://radio.test/page?x=1#part", "https://radio.test/page?x=1"),
        (f"https://user:{PASSWORD}@radio.test/?token={PASSWORD}", "https://radio.test/?token=***"),
        (f"//u:{PASSWORD}@radio.test", "//radio.test"),
        (f"https://radio.test/#access_token={PASSWORD}", "https://radio.test/"),
        ("x" * 5000, "x" * 1024),
    ],
)
def test_referers(url: str, logged: str) -> None:
    assert masked_url(url) == logged


@given(st.sampled_from(["pass", "Key", "my_token", "SECRET", "authkey"]), st.text(), st.text())
def test_no_value_of_such_a_name_is_ever_shown(name: str, before: str, after: str) -> None:
    assert PASSWORD not in masked_target("/", parse_query(f"a={before}&{name}={PASSWORD}{after.replace('&', '')}"))

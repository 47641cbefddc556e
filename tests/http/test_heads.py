"""Heads of replies: written once for many, and none that a value can end."""

from __future__ import annotations

import h11
import pytest

from castd.http import heads
from castd.http.conditions import http_date


def read(head: bytes) -> h11.Response:
    """As a client reads it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.receive_data(head)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    return response


def test_what_a_client_reads() -> None:
    heads._write.cache_clear()
    fields = (("X-Word", "é"), ("Content-Length", "0"))
    for _ in range(2):
        response = read(heads.reply_head(404, fields))
        found = {name.decode(): value.decode() for name, value in response.headers}
        assert response.status_code == 404
        assert response.reason == b"Not Found"
        assert found == {"server": heads.SERVER, "date": found["date"], "x-word": "é", "content-length": "0"}
        assert http_date(found["date"]) is not None
    assert heads._write.cache_info().hits == 1


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\0b"])
def test_no_value_ends_the_head(value: str) -> None:
    for _ in range(2):
        with pytest.raises(h11.LocalProtocolError):
            heads.reply_head(200, (("X-Word", value),))


def test_cookies_are_not_kept() -> None:
    heads._write.cache_clear()
    assert b"\r\nset-cookie: secret" in heads.reply_head(200, (("Set-Cookie", "secret"),)).lower()
    assert heads._write.cache_info().currsize == 0

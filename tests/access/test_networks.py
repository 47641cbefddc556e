"""Look-ups by prefix and by glob agree with looking at every entry."""

from __future__ import annotations

import fnmatch
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.access.address import network, parse
from castd.access.networks import GlobTable, NetworkTable, address_or_none, networks, share

ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda number: ip_address(number)),
    # close together, so that they are in each other's networks
    st.integers(0, 255).map(lambda number: ip_address(0xC0000200 + number)),
    st.integers(0, 2**16 - 1).map(lambda number: ip_address((0x20010DB8 << 96) + (number << 56))),
)


@st.composite
def some_networks(draw: st.DrawFn) -> str:
    address = draw(ADDRESSES)
    return str(ip_network((address, draw(st.integers(0, address.max_prefixlen))), strict=False))


@given(st.lists(some_networks(), max_size=30), st.lists(st.integers(0, 29), max_size=10), ADDRESSES)
def test_a_table_covers_what_its_networks_cover(given_networks: list[str], removed: list[int], address: object) -> None:
    table: NetworkTable[int] = NetworkTable()
    inside = dict(enumerate(given_networks))
    for number, text in inside.items():
        table.add(network(text), number)
    for number in removed:
        if number in inside:
            table.remove(network(inside.pop(number)), number)
    wanted = parse(str(address))
    found = list(table.covering(wanted))
    assert sorted(found) == sorted(n for n, text in inside.items() if wanted in network(text))
    lengths = [network(inside[number]).prefixlen for number in found]
    assert lengths == sorted(lengths, reverse=True)
    assert sorted(table.values()) == sorted(inside)


@given(st.lists(st.text("ab*?[]!", min_size=1, max_size=8), max_size=10, unique=True), st.text("abAB[]!", max_size=8))
def test_globs_match_as_fnmatch_does(globs: list[str], text: str) -> None:
    table: GlobTable[str] = GlobTable()
    for glob in globs:
        table.add(glob, glob)
    assert sorted(table.matching(text)) == sorted(g for g in globs if fnmatch.fnmatchcase(text.lower(), g))
    for glob in globs:
        table.remove(glob, glob)
    assert not list(table.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7", ["192.0.2.7/32"]),
        ("192.0.2.*", ["192.0.2.0/24"]),
        ("192.*.*.*", ["192.0.0.0/8"]),
        ("192.*", ["192.0.0.0/8"]),
        ("*", ["0.0.0.0/0", "::/0"]),
        ("2001:db8::/32", ["2001:db8::/32"]),
        ("::ffff:192.0.2.0/120", ["192.0.2.0/24"]),
    ],
)
def test_entries_of_lists(text: str, expected: list[str]) -> None:
    assert [str(each) for each in networks(text)] == expected


@pytest.mark.parametrize("text", ["", "example.org", "192.0.2.7/24", "*.0.2.1", "1.2.3.4.*", "fe80::1%eth0", "256.1.*"])
def test_no_entries(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        networks(text)


def test_shares() -> None:
    assert share("192.0.2.7") == "192.0.2.7"
    assert share("2001:db8:1:2:3:4:5:6") == share("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert share("not an address") == "not an address"
    assert address_or_none("nobody") is None

"""Whose request it is: one table of header fields, spoofed ones among them, and what is made of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castd.access.address import MAX_HOPS, Trust, address_text, derive, trust
from castd.config import Proxies
from castd.http.messages import Client, Request

TRUSTED = ("127.0.0.1", "::1", "10.0.0.0/8", "2001:db8:5::/48", "::ffff:192.168.0.0/112")
PROXY = "10.0.0.1"
XFF, FWD, REAL = "x-forwarded-for", "forwarded", "x-real-ip"


@dataclass(frozen=True)
class Row:
    """One combination: from whom, saying what; and whose request it is."""

    name: str
    said: dict[str, str]
    address: str
    header: str = XFF
    peer: str = PROXY
    fault: bool = False


def xff(name: str, value: str, address: str, peer: str = PROXY, *, fault: bool = False) -> Row:
    return Row(name, {XFF: value}, address, XFF, peer, fault)


def fwd(name: str, value: str, address: str, peer: str = PROXY, *, fault: bool = False) -> Row:
    return Row(name, {FWD: value}, address, FWD, peer, fault)


def real(name: str, value: str, address: str, peer: str = PROXY, *, fault: bool = False) -> Row:
    return Row(name, {REAL: value}, address, REAL, peer, fault)


ROWS = [
    # nobody in between
    Row("direct", {}, "203.0.113.9", peer="203.0.113.9"),
    Row("direct, IPv6", {}, "2001:db8::9", peer="2001:0DB8::0:9"),
    Row("direct, mapped", {}, "203.0.113.9", peer="::ffff:203.0.113.9"),
    Row("direct, mapped in hexadecimal", {}, "203.0.113.9", peer="::ffff:cb00:7109"),
    Row("direct, with a scope", {}, "fe80::1", peer="fe80::1%eth0"),
    Row("the proxy's own request", {}, PROXY),
    # strangers are not believed
    xff("spoofed", "1.1.1.1", "203.0.113.9", peer="203.0.113.9"),
    fwd("spoofed, Forwarded", "for=1.1.1.1", "203.0.113.9", peer="203.0.113.9"),
    real("spoofed, one address", "1.1.1.1", "203.0.113.9", peer="203.0.113.9"),
    xff("spoofed, as a proxy", "1.1.1.1, 10.0.0.1", "203.0.113.9", peer="203.0.113.9"),
    xff("a neighbour of the trusted", "1.1.1.1", "2001:db8:6::1", peer="2001:db8:6::1"),
    Row("another field than the configured", {FWD: "for=1.1.1.1", REAL: "1.1.1.1"}, PROXY, XFF),
    Row("X-Forwarded-For, Forwarded is configured", {XFF: "1.1.1.1"}, PROXY, FWD),
    Row("no field is believed", {XFF: "1.1.1.1", FWD: "for=1.1.1.1", "": "1.1.1.1"}, PROXY, ""),
    # X-Forwarded-For
    xff("one", "203.0.113.9", "203.0.113.9"),
    xff("over IPv6 loopback", "203.0.113.9", "203.0.113.9", peer="::1"),
    xff("a mapped proxy", "203.0.113.9", "203.0.113.9", peer="::ffff:127.0.0.1"),
    xff("a proxy of a mapped network", "203.0.113.9", "203.0.113.9", peer="192.168.7.7"),
    xff("with a port", "203.0.113.9:4711", "203.0.113.9"),
    xff("IPv6", "2001:db8::9", "2001:db8::9"),
    xff("IPv6, long and upper case", "2001:0DB8:0:0::0009", "2001:db8::9"),
    xff("IPv6 in brackets", "[2001:db8::9]", "2001:db8::9"),
    xff("IPv6 with a port", "[2001:db8::9]:4711", "2001:db8::9"),
    xff("mapped", "::ffff:203.0.113.9", "203.0.113.9"),
    xff("mapped, in brackets with a port", "[::ffff:203.0.113.9]:80", "203.0.113.9"),
    xff("spoofed in front", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
    xff("spoofed as trusted", "127.0.0.1, 10.9.9.9, 203.0.113.9", "203.0.113.9"),
    xff("spoofed behind a comma", "1.1.1.1,,, 203.0.113.9", "203.0.113.9"),
    xff("rubbish in front", "<script>, \0, 203.0.113.9", "203.0.113.9"),
    xff("through two proxies", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
    xff("spoofed, through two proxies", "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
    xff("through three, mixed", "203.0.113.9, 2001:db8:5::1, ::ffff:10.0.0.2", "203.0.113.9"),
    xff("a trusted client", "10.0.0.7", "10.0.0.7"),
    xff("all are trusted", "10.0.0.7, 10.0.0.8", "10.0.0.7"),
    xff("an untrusted proxy between", "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
    xff("empty", "", PROXY),
    xff("empty elements at the end", "203.0.113.9, ,", "203.0.113.9"),
    xff("tabs", "\t1.1.1.1\t,\t203.0.113.9\t", "203.0.113.9"),
    xff("unknown", "unknown", PROXY),
    xff("unknown behind a known proxy", "1.1.1.1, unknown, 10.0.0.2", "10.0.0.2"),
    xff("rubbish", "somebody", PROXY, fault=True),
    xff("rubbish behind a known proxy", "1.1.1.1, rubbish, 10.0.0.2", "10.0.0.2", fault=True),
    xff("a name", "localhost", PROXY, fault=True),
    xff("octal", "0177.0.0.1", PROXY, fault=True),
    xff("too few numbers", "10.1", PROXY, fault=True),
    xff("a number", "2130706433", PROXY, fault=True),
    xff("too large", "203.0.113.256", PROXY, fault=True),
    xff("a scope", "fe80::1%eth0", PROXY, fault=True),
    xff("a network", "203.0.113.0/24", PROXY, fault=True),
    xff("a bracket", "[2001:db8::9", PROXY, fault=True),
    xff("IPv4 in brackets", "[203.0.113.9]", "203.0.113.9"),
    xff("a long port", "203.0.113.9:123456", PROXY, fault=True),
    xff("digits of another script", "٢٠٣.0.113.9", PROXY, fault=True),
    xff("quoted", '"203.0.113.9"', PROXY, fault=True),
    xff("Forwarded's syntax", "for=203.0.113.9", PROXY, fault=True),
    # Forwarded
    fwd("one", "for=203.0.113.9", "203.0.113.9"),
    fwd("upper case", "FOR=203.0.113.9", "203.0.113.9"),
    fwd("quoted", 'for="203.0.113.9"', "203.0.113.9"),
    fwd("quoted with a port", 'for="203.0.113.9:4711"', "203.0.113.9"),
    fwd("with a port, not quoted as it should be", "for=203.0.113.9:4711", "203.0.113.9"),
    fwd("with an obfuscated port", 'for="203.0.113.9:_http"', "203.0.113.9"),
    fwd("IPv6", 'for="[2001:db8::9]"', "2001:db8::9"),
    fwd("IPv6 with a port", 'for="[2001:db8::9]:4711"', "2001:db8::9"),
    fwd("mapped", 'for="[::ffff:203.0.113.9]"', "203.0.113.9"),
    fwd("escaped", r'for="203\.0.113.9"', "203.0.113.9"),
    fwd("all parameters", 'by=10.0.0.1;for=203.0.113.9;host="a:80";proto=https', "203.0.113.9"),
    fwd("spaces", "for=1.1.1.1 , by=_x ; for=203.0.113.9 ", "203.0.113.9"),
    fwd("two elements", "for=1.1.1.1, for=203.0.113.9", "203.0.113.9"),
    fwd("two proxies", "for=1.1.1.1, for=203.0.113.9, for=10.0.0.2;by=10.0.0.1", "203.0.113.9"),
    fwd("a comma in quotes", 'for=203.0.113.9;x="a, for=1.1.1.1"', "203.0.113.9"),
    fwd("an element in quotes", r'for=203.0.113.9;host="x, for=1.1.1.1;a=\""', "203.0.113.9", fault=True),
    fwd("obfuscated", "for=_hidden", PROXY),
    fwd("obfuscated with a port", 'for="_hidden:_port"', PROXY),
    fwd("unknown", "for=unknown", PROXY),
    fwd("Unknown behind a known proxy", "for=1.1.1.1, for=Unknown, for=10.0.0.2", "10.0.0.2"),
    fwd("no for", "proto=https", PROXY),
    fwd("spoofed with an open quote", 'for="1.1.1.1, for=203.0.113.9', "203.0.113.9"),
    fwd("spoofed with an open quote before a quoted one", 'x=", for="[2001:db8::9]"', "2001:db8::9"),
    fwd("spoofed with an open quote before two", 'x=", for="[2001:db8::9]", for="10.0.0.2:80"', "2001:db8::9"),
    fwd("spoofed with a backslash", 'x="\\, for="203.0.113.9"', "203.0.113.9"),
    fwd("rubbish in front", "<>;;=, for=203.0.113.9", "203.0.113.9"),
    fwd("rubbish", "203.0.113.9", PROXY, fault=True),
    fwd("no address", "for=somebody", PROXY, fault=True),
    fwd("an open quote", 'for="203.0.113.9', PROXY, fault=True),
    fwd("junk behind the quote", 'for="203.0.113.9"x', PROXY, fault=True),
    fwd("IPv6 without brackets", 'for="2001:db8::9"', "2001:db8::9"),
    # one address
    real("one", "203.0.113.9", "203.0.113.9"),
    real("with a port", "203.0.113.9:80", "203.0.113.9"),
    real("IPv6", " [2001:db8::9] ", "2001:db8::9"),
    real("mapped", "::ffff:203.0.113.9", "203.0.113.9"),
    real("given twice", "1.1.1.1, 203.0.113.9", PROXY, fault=True),
    real("rubbish", "?", PROXY, fault=True),
    real("a trusted client", "10.0.0.7", "10.0.0.7"),
    Row("any name, any case", {"cf-connecting-ip": "203.0.113.9"}, "203.0.113.9", "CF-Connecting-IP"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.header}-{row.name}")
def test_address(row: Row) -> None:
    client = derive(trust(Proxies(trusted=TRUSTED, header=row.header)), row.peer, row.said)
    assert client.address == row.address
    assert bool(client.fault) == row.fault, client.fault


@dataclass(frozen=True)
class Link:
    """What a request says, besides `Host: host:1`, and what links begin with."""

    name: str
    said: dict[str, str]
    base_url: str
    header: str = XFF
    peer: str = PROXY
    scheme: str = field(default="http")
    fault: bool = False


PROTO, HOST, PREFIX = "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix"
ONE = {XFF: "203.0.113.9"}
TWO = {XFF: "203.0.113.9, 10.0.0.2"}
OURS = "http://host:1"

LINKS = [
    Link("direct", {}, OURS, peer="203.0.113.9"),
    Link("direct by TLS", {}, "https://host:1", peer="203.0.113.9", scheme="https"),
    Link("spoofed", {PROTO: "https", HOST: "evil", PREFIX: "/evil"}, OURS, peer="203.0.113.9"),
    Link("no field is believed", {PROTO: "https", HOST: "evil", PREFIX: "/evil"}, OURS, header=""),
    Link("all", ONE | {PROTO: "https", HOST: "a.test", PREFIX: "/radio"}, "https://a.test/radio"),
    Link("for its own sake", {PROTO: "https", HOST: "a.test:8443"}, "https://a.test:8443"),
    Link("upper case", ONE | {PROTO: "HTTPS"}, "https://host:1"),
    Link("from TLS to plain", ONE | {PROTO: "http"}, OURS, scheme="https"),
    Link("IPv6", ONE | {HOST: "[2001:db8::1]:80"}, "http://[2001:db8::1]:80"),
    Link("by one address", {REAL: "203.0.113.9", PROTO: "https"}, "https://host:1", header=REAL),
    Link("a client's behind a proxy that appends", ONE | {HOST: "evil, a.test"}, "http://a.test"),
    Link("two proxies, both say", TWO | {PROTO: "https, http", HOST: "a.test, inner"}, "https://a.test"),
    Link("two proxies, spoofed", TWO | {PROTO: "gopher, https, http"}, "https://host:1"),
    Link("two proxies, the first says", TWO | {PROTO: "https"}, "https://host:1"),
    Link("a slash at the end", ONE | {PREFIX: "/radio/"}, "http://host:1/radio"),
    Link("two segments", ONE | {PREFIX: "/radio/one"}, "http://host:1/radio/one"),
    Link("nothing", ONE | {PREFIX: "/", HOST: " ", PROTO: ""}, OURS),
    Link("no scheme", ONE | {PROTO: "javascript"}, OURS, fault=True),
    Link("no host", ONE | {HOST: "a.test/evil"}, OURS, fault=True),
    Link("a user", ONE | {HOST: "user@a.test"}, OURS, fault=True),
    Link("a tag", ONE | {HOST: '"><script>'}, OURS, fault=True),
    Link("no path", ONE | {PREFIX: "radio"}, OURS, fault=True),
    Link("another host", ONE | {PREFIX: "//evil"}, OURS, fault=True),
    Link("dots", ONE | {PREFIX: "/a/../b"}, OURS, fault=True),
    Link("encoded dots", ONE | {PREFIX: "/a/%2E%2e"}, OURS, fault=True),
    Link("a query", ONE | {PREFIX: "/a?b"}, OURS, fault=True),
    Link("a long path", ONE | {PREFIX: "/a" * 101}, OURS, fault=True),
    Link("Forwarded", {FWD: "for=203.0.113.9;proto=https;host=a.test"}, "https://a.test", header=FWD),
    Link("Forwarded, quoted", {FWD: 'for=_x;host="a.test:8443"'}, "http://a.test:8443", header=FWD),
    Link("Forwarded and prefix", {FWD: "proto=https", PREFIX: "/radio"}, "https://host:1/radio", header=FWD),
    Link("Forwarded, not the others", {FWD: "for=_x", PROTO: "https", HOST: "evil"}, OURS, header=FWD),
    Link("Forwarded, spoofed", {FWD: "for=1.1.1.1;host=evil, for=203.0.113.9;proto=https"}, "https://host:1", FWD),
    Link("Forwarded twice", {FWD: "for=_x;host=a.test;proto=https, for=10.0.0.2;host=inner"}, "https://a.test", FWD),
    Link("Forwarded, bad host", {FWD: 'for=203.0.113.9;host="a b"'}, OURS, FWD, fault=True),
]


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_links(link: Link) -> None:
    client = derive(trust(Proxies(trusted=TRUSTED, header=link.header)), link.peer, link.said, link.scheme)
    request = Request(
        "GET", "/", {}, {"host": "host:1"}, "1.1", client.address, "127.0.0.1:8000",
        scheme=client.scheme, forwarded_host=client.host, prefix=client.prefix,
    )  # fmt: skip
    assert request.base_url == link.base_url
    assert bool(client.fault) == link.fault, client.fault


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a:b", "user@a", "é.test", "[::1]]", "a.test:"])
def test_links_without_a_usable_host_are_to_our_own_address(host: str) -> None:
    assert Request("GET", "/", {}, {"host": host}, "1.1", "::1", "[::1]:8000").base_url == "http://[::1]:8000"


def test_nobody_is_trusted_by_default() -> None:
    nobody = trust(Proxies())
    assert derive(nobody, "127.0.0.1", {XFF: "1.1.1.1", PROTO: "https"}) == Client("127.0.0.1")
    assert not nobody.includes("127.0.0.1")


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("0.0.0.0/0", "203.0.113.9", "2001:db8::9"),
        ("::/0", "2001:db8::9", "203.0.113.9"),
        ("::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"),
        ("::ffff:0:0/96", "203.0.113.9", "2001:db8::9"),
        ("fe80::/10", "fe80::1", "text"),
    ],
)
def test_networks(network: str, inside: str, outside: str) -> None:
    trusted = trust(Proxies(trusted=(network,)))
    assert trusted.includes(inside)
    assert not trusted.includes(outside)


@given(st.ip_addresses())
def test_an_address_has_one_spelling(address: object) -> None:
    text = address_text(str(address))
    assert address_text(text) == text
    assert address_text(str(address).upper()) == text


@given(
    st.sampled_from([XFF, FWD, REAL]),
    st.text(alphabet='",;=\\ \tfor_:[]1.a', max_size=60),
    st.dictionaries(st.sampled_from([PROTO, HOST, PREFIX]), st.text(max_size=20)),
)
def test_whatever_a_client_wrote_first_changes_nothing(header: str, written: str, fields: dict[str, str]) -> None:
    """The proxy appends the client's address; what comes out is that, or for a single address the proxy's own."""
    trusted = Trust(trust(Proxies(trusted=("10.0.0.1",))).networks, header)
    for appended in ("203.0.113.9",) if header != FWD else ("for=203.0.113.9", 'for="203.0.113.9:80"'):
        client = derive(trusted, PROXY, {header: f"{written}, {appended}", **fields})
        assert client.address == (PROXY if header == REAL else "203.0.113.9")
        assert client.scheme in ("http", "https")


@pytest.mark.parametrize(
    "value",
    [
        "10.0.0.1, " * 1500,
        "for=10.0.0.1, " * 1100,
        "a=b;" * 4000,
        'a="' * 5000,
        ',a="' * 4000,
        "a=b" + " " * 16_000 + "x",
        "a=b" + " ;" * 8000,
        '"' + "\\" * 16_000,
        "a=" + "[" * 16_000,
    ],
)
def test_a_whole_head_of_it_takes_no_time(value: str) -> None:
    started = time.process_time()
    for header in (XFF, FWD):
        derive(Trust(trust(Proxies(trusted=("10.0.0.0/8",))).networks, header), PROXY, {header: value})
    assert time.process_time() - started < 0.1


def test_no_longer_chain_than_is_sensible() -> None:
    chain = ", ".join(f"10.0.1.{number}" for number in range(MAX_HOPS + 10, 0, -1))
    assert derive(trust(Proxies(trusted=("10.0.0.0/8",))), PROXY, {XFF: chain}).address == f"10.0.1.{MAX_HOPS}"

"""Whose request is it? The client's real address, and the URL it used, where proxies stand in between.

One function, `derive`, gives the address that logs, limits, bans and statistics know. What a request says of its origin
is believed from the nearest hop outwards: the peer of the connection is certain; what it says of the hop before is
believed if it is a trusted proxy; and so on. So the right-most address that is no trusted proxy's is the client's, and
whatever that client wrote itself, further left, is never looked at.

X-Forwarded-For has no standard; Forwarded is RFC 7239. X-Forwarded-Proto and -Host are what proxies send in place of
its `proto` and `host`; -Prefix is the part of the path they took off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from castd.http.messages import AUTHORITY, Client

if TYPE_CHECKING:
    from castd.config import Proxies

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_PORT = r"(?::(?:\d{1,5}|_[A-Za-z0-9._-]+))?"
_NODE = re.compile(rf"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+)){_PORT}")
"""RFC 7239 §6: an address with or without a port, which may be obfuscated; IPv6 in brackets."""

_UNTOLD = re.compile(rf"(?:unknown|_[A-Za-z0-9._-]+){_PORT}", re.IGNORECASE)
"""RFC 7239 §6.2 and §6.3: a proxy that does not know, or does not say."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = r'(?:"(?:[^"\\]|\\.)*"|[!#$%&\'*+.^_`|~0-9A-Za-z:\[\]-]+)'  # unquoted addresses with a port exist, too
_PAIR = rf"{_TOKEN}={_VALUE}"
_LAST_ELEMENT = re.compile(rf"(?:^|,)[ \t]*(?P<pairs>{_PAIR}(?:[ \t]*;[ \t]*{_PAIR})*)[ \t]*$", re.DOTALL)
"""RFC 7239 §4. From the right: what a client wrote into the field, an open quote say, does not touch the element that
its proxy put behind it."""

_NAME_VALUE = re.compile(rf"({_TOKEN})=({_VALUE})", re.DOTALL)

_PREFIX = re.compile(r"(/[A-Za-z0-9._~%!$&'()*+,;=:@-]+)+")
"""Whole, non-empty segments of a path (RFC 3986 §3.3)."""

MAX_PREFIX = 200
"""Characters: it goes into every link."""

MAX_HOPS = 30
"""Proxies one behind the other; no longer chain is followed, so that nobody trusted can make this slow."""

SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe, and which field; made of the configuration by `trust`.

    Attributes:
        networks: of trusted proxies.
        header: name of the field with the client's address, lower case; "" believes no field at all.
    """

    networks: tuple[Network, ...] = ()
    header: str = ""

    def includes(self, address: str) -> bool:
        """Whether a proxy at this address is believed; no text but an address is."""
        try:
            return self._includes(parse(address))
        except ValueError:
            return False

    def _includes(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class _Hop:
    """What one proxy says of whom it spoke with."""

    node: str
    proto: str = ""
    host: str = ""


def trust(proxies: Proxies) -> Trust:
    """The configured trust, ready for use."""
    return Trust(tuple(map(network, proxies.trusted)), proxies.header.lower())


def network(text: str) -> Network:
    """An address or network as `parse` makes addresses comparable with it: IPv4 mapped into IPv6 is IPv4.

    Raises:
        ValueError: it is neither, has a scope, or bits behind its prefix.
    """
    made = ip_network(text)
    if isinstance(made, IPv4Network):
        return made
    if made.network_address.scope_id is not None:
        raise ValueError("an address with a scope")
    mapped = made.network_address.ipv4_mapped
    # ::ffff:0:0/96 is all of IPv4 (RFC 4291 §2.5.5.2)
    return IPv4Network((mapped, made.prefixlen - 96)) if mapped and made.prefixlen >= 96 else made


def address_text(host: str) -> str:
    """An address as logs, limits and statistics know it: in its shortest spelling, IPv4 mapped into IPv6 as IPv4.

    Args:
        host: as the socket tells it; a scope ("%eth0") is left out, what is no address stays as it is.
    """
    try:
        return str(parse(host.partition("%")[0]))
    except ValueError:
        return host


def derive(trusted: Trust, peer: str, headers: Mapping[str, str], scheme: str = "http") -> Client:
    """Who sent a request, and by which URL.

    Args:
        trusted: whom to believe.
        peer: address of the other end of the connection, or what a trusted proxy's PROXY header says it is.
        headers: of the request, by lower-case name, repeated ones joined by commas.
        scheme: by which the connection itself came.

    Returns:
        The client. A field that makes no sense is as if it were absent, with a word on it in `fault`; then the nearest
        address that is known stands: the peer's, or a proxy's behind it.
    """
    address = address_text(peer)
    if not trusted.header or not trusted.includes(address):
        return Client(address, scheme)
    forwarded = trusted.header == "forwarded"
    value = headers.get(trusted.header, "")
    if forwarded:
        hops = _forwarded(value)
    elif trusted.header == "x-forwarded-for":
        hops = (_Hop(node) for node in _from_right(value))
    else:
        hops = iter((_Hop(value.strip()),) if value else ())
    faults: list[str] = []
    address, proto, host, believed = _outwards(trusted, address, hops, faults)
    if not forwarded:
        proto, host = (_said(headers, f"x-forwarded-{what}", believed) for what in ("proto", "host"))
    prefix = _said(headers, "x-forwarded-prefix", believed).rstrip("/")
    if proto and proto.lower() not in ("http", "https"):
        faults.append(f"{_shown(proto)} is neither http nor https")
        proto = ""
    if host and not AUTHORITY.fullmatch(host):
        faults.append(f"{_shown(host)} is no host")
        host = ""
    if prefix and not _is_prefix(prefix):
        faults.append(f"{_shown(prefix)} is no path")
        prefix = ""
    return Client(address, proto.lower() or scheme, host, prefix, "; ".join(faults))


def _outwards(trusted: Trust, peer: str, hops: Iterator[_Hop], faults: list[str]) -> tuple[str, str, str, int]:
    """Follow what trusted proxies say, from the peer on.

    Returns:
        The farthest address that is known, proto and host as the farthest believed proxy says that does, and how many
        proxies were believed.
    """
    address, proto, host, believed = parse(peer), "", "", 0
    try:
        for hop in islice(hops, MAX_HOPS):
            believed += 1
            proto, host = hop.proto or proto, hop.host or host
            if not hop.node or _UNTOLD.fullmatch(hop.node):
                break
            address = _parse_node(hop.node)
            if not trusted._includes(address):
                break
    except ValueError as error:
        faults.append(f"{trusted.header}: {error}")
    return str(address), proto, host, believed


def _from_right(value: str) -> Iterator[str]:
    """The elements of a list, the last first, empty ones left out (RFC 9110 §5.6.1)."""
    return (element for each in reversed(value.split(",")) if (element := each.strip()))


def _forwarded(value: str) -> Iterator[_Hop]:
    """The elements of a Forwarded field, the last first.

    Raises:
        ValueError: at the first that is none.
    """
    while value := value.rstrip(" \t,"):
        element = _LAST_ELEMENT.search(value)
        if element is None:
            raise ValueError(f"{_shown(value[-SHOWN_CHARACTERS:])} is no element of it")
        pairs = {name.lower(): _unquoted(text) for name, text in _NAME_VALUE.findall(element["pairs"])}
        yield _Hop(pairs.get("for", ""), pairs.get("proto", ""), pairs.get("host", ""))
        value = value[: element.start()]


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if value.startswith('"') else value


def _said(headers: Mapping[str, str], name: str, believed: int) -> str:
    """What a field says that each proxy may have appended to, as the farthest of the believed proxies said it."""
    said = list(_from_right(headers.get(name, "")))
    return said[min(max(believed, 1), len(said)) - 1] if said else ""


def _parse_node(node: str) -> Address:
    match = _NODE.fullmatch(node)
    host = (match["v6"] or match["v4"]) if match else node
    try:
        return parse(host)
    except ValueError:
        raise ValueError(f"{_shown(node)} is no address") from None


@lru_cache(4096)
def parse(text: str) -> Address:
    """An address; IPv4 mapped into IPv6 is IPv4.

    Raises:
        ValueError: it is none, or has a scope, which means nothing on another machine.
    """
    address = ip_address(text)
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:
        raise ValueError("an address with a scope")
    return address.ipv4_mapped or address


def _is_prefix(text: str) -> bool:
    dots = {".", "..", "%2e", ".%2e", "%2e.", "%2e%2e"}
    return len(text) <= MAX_PREFIX and bool(_PREFIX.fullmatch(text)) and dots.isdisjoint(text.lower().split("/"))


def _shown(text: str) -> str:
    return json.dumps(text[:SHOWN_CHARACTERS])

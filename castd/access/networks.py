"""Addresses looked up by prefix, and texts by glob: what lists of bans are kept in.

An address is in a network if its first bits are the network's. So a table has a dict for each length of prefix that
occurs, and a look-up asks each of them once: with a hundred thousand networks as with ten.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import Generic, TypeVar

from castd.access.address import Address, Network, network, parse

V = TypeVar("V")

SHARE_PREFIX_BITS = 64
"""What one customer has of IPv6 at least (RFC 6177): within it, addresses change at will."""

_WILD_OCTETS = re.compile(r"(?P<octets>(\d{1,3}\.){0,3})\*(\.\*){0,3}")
"""icecast-kh's way to write a network: 192.0.2.*"""

_NOT_LITERAL = re.compile(r"\[.*\]|[*?\[\]]", re.DOTALL)


def share(address: str) -> str:
    """What an address counts as where each shall have its share: an IPv4 address is itself, an IPv6 address its /64.

    Args:
        address: as castd.access.address has it; other text is itself, too.
    """
    if ":" not in address:
        return address
    try:
        number = int(IPv6Address(address))
    except ValueError:
        return address
    return f"{IPv6Address(number >> SHARE_PREFIX_BITS << SHARE_PREFIX_BITS)}/{SHARE_PREFIX_BITS}"


def networks(text: str) -> list[Network]:
    """The networks that an entry of a list names: an address, a network, or IPv4 with "*" for its last numbers.

    Raises:
        ValueError: it is none of these.
    """
    if text.count(".") < 4 and (match := _WILD_OCTETS.fullmatch(text)):
        octets = match["octets"].split(".")[:-1]
        made = [network(".".join([*octets, *["0"] * (4 - len(octets))]) + f"/{8 * len(octets)}")]
        return made if octets else [*made, network("::/0")]  # "*" alone is everybody
    return [network(text)]


class NetworkTable(Generic[V]):
    """Values by network."""

    def __init__(self) -> None:
        self._tables: dict[int, dict[int, dict[int, tuple[V, ...]]]] = {4: {}, 6: {}}
        self._lengths: dict[int, tuple[int, ...]] = {4: (), 6: ()}

    def __len__(self) -> int:
        """How many networks have a value."""
        return sum(len(each) for tables in self._tables.values() for each in tables.values())

    def add(self, key: Network, value: V) -> None:
        """Put one more value at a network."""
        table = self._table(key)
        prefix = _prefix(key)
        table[prefix] = (*table.get(prefix, ()), value)

    def remove(self, key: Network, value: V) -> None:
        """Take a value away; one that is not there is no error."""
        table = self._table(key)
        left = tuple(each for each in table.pop(_prefix(key), ()) if each != value)
        if left:
            table[_prefix(key)] = left
        if not table:
            del self._tables[key.version][key.prefixlen]
            self._sort(key.version)

    def covering(self, address: Address) -> Iterator[V]:
        """The values of all networks that hold an address, those of the longest prefix first."""
        number, tables = int(address), self._tables[address.version]
        for length in self._lengths[address.version]:
            yield from tables[length].get(number >> (address.max_prefixlen - length), ())

    def values(self) -> Iterator[V]:
        """All there are."""
        for tables in self._tables.values():
            for table in tables.values():
                for values in table.values():
                    yield from values

    def _table(self, key: Network) -> dict[int, tuple[V, ...]]:
        tables = self._tables[key.version]
        if key.prefixlen not in tables:
            tables[key.prefixlen] = {}
            self._sort(key.version)
        return tables[key.prefixlen]

    def _sort(self, version: int) -> None:
        self._lengths[version] = tuple(sorted(self._tables[version], reverse=True))


def _prefix(key: Network) -> int:
    return int(key.network_address) >> (key.max_prefixlen - key.prefixlen)


class GlobTable(Generic[V]):
    """Values by glob: "*" stands for any characters, "?" for one, "[abc]" and "[!abc]" for one of, or none of, these.

    As icecast-kh reads them (fnmatch(3) without escapes), only that capitals do not matter. Literal texts are looked
    up; of a glob, its longest literal piece is sought first, and nearly always that is all.
    """

    def __init__(self) -> None:
        self._literal: dict[str, tuple[V, ...]] = {}
        self._globs: dict[str, tuple[str, re.Pattern[str], tuple[V, ...]]] = {}

    def __len__(self) -> int:
        """How many different texts and globs have a value."""
        return len(self._literal) + len(self._globs)

    def add(self, glob: str, value: V) -> None:
        """Put one more value at a glob."""
        glob = glob.lower()
        if is_glob(glob):
            _, _, values = self._globs.get(glob, ("", None, ()))
            pattern = re.compile(fnmatch.translate(glob))
            self._globs[glob] = max(_NOT_LITERAL.split(glob), key=len), pattern, (*values, value)
        else:
            self._literal[glob] = (*self._literal.get(glob, ()), value)

    def remove(self, glob: str, value: V) -> None:
        """Take a value away; one that is not there is no error."""
        glob = glob.lower()
        if glob in self._globs:
            needle, pattern, values = self._globs.pop(glob)
            if left := tuple(each for each in values if each != value):
                self._globs[glob] = needle, pattern, left
        elif left := tuple(each for each in self._literal.pop(glob, ()) if each != value):
            self._literal[glob] = left

    def values(self) -> Iterator[V]:
        """All there are."""
        for values in self._literal.values():
            yield from values
        for _, _, values in self._globs.values():
            yield from values

    def matching(self, text: str) -> Iterator[V]:
        """The values of all that match a whole text, literal ones first."""
        text = text.lower()
        yield from self._literal.get(text, ())
        for needle, pattern, values in self._globs.values():
            if needle in text and pattern.match(text):
                yield from values


def is_glob(text: str) -> bool:
    """Whether a text has a character that stands for others."""
    return not {"*", "?", "["}.isdisjoint(text)


def address_or_none(text: str) -> Address | None:
    """An address, None if it is none: a memory stream's, say."""
    try:
        return parse(text)
    except ValueError:
        return None

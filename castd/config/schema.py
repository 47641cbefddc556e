"""The keys of a section, read off its dataclass: what a value from TOML or from the environment must look like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from castd.config.rules import Rule

KIND_WORDS = {int: "a whole number", float: "a number", bool: "true or false"}

SHOWN_CHARACTERS = 60
"""Of a wrong value in a message; the key tells the operator where the rest is."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section.

    Attributes:
        name: as in castd.toml.
        kind: str, int, float or bool.
        rule: what a value of that kind may be; None means anything.
        many: the value is a list of such; a tuple once accepted.
    """

    name: str
    kind: type
    rule: Rule | None
    many: bool = False

    @property
    def secret(self) -> bool:
        """Whether values must never be shown."""
        return self.rule is not None and self.rule.secret

    @property
    def allowed(self) -> str:
        """Completes the sentence "must be ..."."""
        return f"a list, each {self._one_allowed}" if self.many else self._one_allowed

    @property
    def _one_allowed(self) -> str:
        words = (KIND_WORDS.get(self.kind, ""), self.rule.allowed if self.rule else "")
        return ", ".join(filter(None, words)) or "text"

    def accept(self, value: object) -> Any:
        """Check a value as tomllib gives it.

        Returns:
            The value, whole numbers made float where the key is one.

        Raises:
            ValueError: wrong type or not allowed; the message tells what is.
        """
        if not self.many:
            return self._accept_one(value)
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be {self.allowed}")
        return tuple(self._accept_one(each) for each in value)

    def _accept_one(self, value: object) -> Any:
        # bool is an int to Python and 3 is a float to people, so isinstance alone says the wrong thing twice.
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits = whole or isinstance(value, float) if self.kind is float else type(value) is self.kind
        if not fits or (self.rule is not None and not self.rule.holds(value)):
            which = f"{shown(value)} " if self.many and not self.secret else ""
            raise ValueError(f"{which}must be {self._one_allowed}")
        return self.kind(value)

    def parse(self, text: str) -> Any:
        """Check a value as the environment gives it, a list with commas between; same answers as accept()."""
        if self.many:
            return tuple(self._parse_one(part.strip()) for part in text.split(",") if part.strip())
        return self._parse_one(text)

    def _parse_one(self, text: str) -> Any:
        value: object = text
        if self.kind is bool:
            value = {"true": True, "false": False}.get(text.strip().lower())
        elif self.kind is not str:
            try:
                value = self.kind(text)
            except ValueError:
                value = None
        return self._accept_one(value)

    def show(self, value: object) -> str:
        """The value for a message, such as ` = 90.0`; nothing at all where it is secret."""
        if self.secret:
            return ""
        if self.many and isinstance(value, list):
            return f" = {_shortened('[' + ', '.join(map(shown, value)) + ']')}"
        return f" = {shown(value)}"


def shown(value: object) -> str:
    """Any value from TOML as TOML spells it, shortened."""
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"  # Python refuses to print more than 4,300 digits, and hexadecimal ones get here
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    # ASCII only: what is wrong may well be an invisible character.
    text = json.dumps(value) if isinstance(value, str | bool) else str(value)
    return _shortened(text)


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


@cache
def keys(section: type) -> Mapping[str, Key]:
    """The keys of a section's dataclass by name, in its order.

    A field is `Annotated[kind, Rule]`, `Literal` of strings, a plain kind, a kind `| None` that is unset by default, or
    a `tuple[..., ...]` of any of these.
    """
    return MappingProxyType(
        {name: _key(name, hint) for name, hint in get_type_hints(section, include_extras=True).items()}
    )


def _key(name: str, hint: Any) -> Key:
    if get_origin(hint) is tuple:
        return replace(_key(name, get_args(hint)[0]), many=True)
    if get_origin(hint) is Annotated:
        kind, rule = get_args(hint)
        return Key(name, kind, rule)
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return Key(name, str, Rule(" or ".join(f'"{choice}"' for choice in choices), choices.__contains__))
    if isinstance(hint, UnionType):
        hint = get_args(hint)[0]
    return Key(name, hint, None)

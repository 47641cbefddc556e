"""The configuration in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.config.model import Config


class Current:
    """Holds the configuration in force; a reload replaces it whole.

    A part of castd keeps this and reads a value when it needs it: what it copied would outlive a reload.

    Attributes:
        config: never changed itself.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

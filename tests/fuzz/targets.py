"""Every target, by name."""

from __future__ import annotations

from tests.fuzz import config_files, connections, framing, heads, segments, texts
from tests.fuzz.harness import TARGETS

MODULES = (framing, texts, heads, segments, config_files, connections)
"""Where they are made."""

__all__ = ["TARGETS"]

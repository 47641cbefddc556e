"""Hooks: web services and programs that are told what happens; docs/hooks.md is what their authors read.

Everything here hangs behind a bounded subscription to castd.stats.events. However slow, broken or hostile a service or
program is, the worst it does is to lose its own events.
"""

from castd.stats.hooks.service import Hooks

__all__ = ["Hooks"]

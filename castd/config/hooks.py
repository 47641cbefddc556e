"""[[hooks]] that could not do anything, or not what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.config.model import Hook


def unusable(hooks: Sequence[Hook], failed: Set[str]) -> Iterator[str]:
    """What is wrong with each hook, in the words of the configuration.

    Args:
        failed: keys without a usable value; what depends on them is left out.
    """
    urls: set[str] = set()
    for number, hook in enumerate(hooks, 1):
        name = "hooks" if len(hooks) == 1 else f"hooks[{number}]"
        if not hook.events and "events" not in failed:
            yield f'{name}.events: must name at least one event, such as "source.*"'
        if bool(hook.url) == bool(hook.program) and not failed & {"url", "program"}:
            yield f"{name}: must have a url or a program{', not both' if hook.url else ''}"
        if hook.secret and not hook.url and "url" not in failed:
            yield f"{name}.secret: signs what goes to a url; a program needs none"
        if hook.args and not hook.program and "program" not in failed:
            yield f"{name}.args: are for a program"
        if hook.url in urls:
            yield f"{name}.url: the same as of one before it; give that one the events of both"
        if hook.url:
            urls.add(hook.url)

"""Moving the listeners of one mount to another, as operators do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from castd.delivery.listener import Listener
from castd.delivery.pump import SLICE

if TYPE_CHECKING:
    from castd.delivery.pump import Pump
    from castd.mount.mount import Mount

log = logging.getLogger(__name__)


class Misfit(Exception):
    """Players of the one mount cannot go on with the other; the message says why."""


def require_fit(here: Mount, to: Mount) -> None:
    """See that listeners of one mount can go on with another.

    Raises:
        Misfit: they cannot.
    """
    if not to.begun:
        raise Misfit(f"{to.name} has no source")
    if not here.shape.fits(to.shape):
        raise Misfit(f"{here.name} is {here.shape}, {to.name} is {to.shape}")


async def move_listeners(pump: Pump, here: Mount, to: Mount, by: str) -> int:
    """Move all listeners of one mount to another, and those on their way to the first.

    Who has not taken all of the first mount's audio yet comes later, when it has. Nobody's limits are asked.

    Args:
        by: who wants it so, for the log.

    Returns:
        How many were told to go.

    Raises:
        Misfit: they could not play it, or nothing is to be heard there.
    """
    require_fit(here, to)
    # who listens by segments has no connection to move
    listeners = [each for each in here.listeners.values() if isinstance(each, Listener)]
    for number, listener in enumerate([*listeners, *pump.on_the_way(here)]):
        if number and number % SLICE == 0:
            await trio.lowlevel.checkpoint()
            if to.closed or not here.shape.fits(to.shape):
                return number
        if listener.gone is None and (listener.mount is here or listener.bound_for is here):
            pump.move(listener, to)
    log.warning("%s: %d listeners moved to %s by %s", here.name, len(listeners), to.name, by)
    return len(listeners)

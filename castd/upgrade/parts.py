"""What of a server goes over to another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from castd.adaptive.sessions import Sessions
    from castd.delivery.icecast import Icecast
    from castd.delivery.pump import Pump
    from castd.front import FrontDoor
    from castd.ingest.fallback import Fallbacks
    from castd.ingest.intake import Intake
    from castd.ingest.relays import Relays
    from castd.mount.registry import Registry
    from castd.segments.segmenters import Segmenters


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of castd.app.Server that hold it."""

    registry: Registry
    pump: Pump
    front: FrontDoor
    intake: Intake
    listeners: Icecast
    fallbacks: Fallbacks
    relays: Relays
    segmenters: Segmenters
    sessions: Sessions

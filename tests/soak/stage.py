"""The mounts, who is on air there and since when: what listeners may be refused for, or let go."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tests.soak.hearing import Splices
from tests.soak.streams import Aac, Mp3, Opus

if TYPE_CHECKING:
    from tests.soak.streams import Form

How = Literal["PUT", "SOURCE", "chunked", "SHOUTcast"]

LINGER_SECONDS = 10.0
"""As castd is configured."""

SLACK_SECONDS = 3.0
"""What castd and we may be apart in what we take for the beginning and the end of an absence."""

DJ = ("dj", "dj-secret")


@dataclass
class Stand:
    """One mount.

    Attributes:
        how: its encoder sends.
        fallback: the mount that stands in, "" for none.
        flaps: its encoder comes and goes.
        dj: somebody takes over now and then.
        far: its encoder is behind the bad network.
        encoders: connected now.
        absences: since when nobody was here, and until when; the last one may go on.
    """

    name: str
    form: Form
    how: How
    fallback: str = ""
    flaps: bool = True
    dj: bool = False
    far: bool = False
    encoders: int = 0
    absences: list[tuple[float, float | None]] = field(default_factory=lambda: [(0.0, None)])
    splices: Splices = field(default_factory=Splices)

    def come(self) -> None:
        """An encoder was taken."""
        self.encoders += 1
        since, until = self.absences[-1]
        if until is None:
            self.absences[-1] = since, time.monotonic()

    def go(self, since: float | None = None) -> None:
        """An encoder is gone, or sends nothing since then."""
        self.encoders -= 1
        if self.encoders == 0:
            self.absences.append((time.monotonic() if since is None else since, None))

    def may_be_closed(self, since: float) -> bool:
        """The mount may have been closed for want of a source at some time after `since`."""
        if self.fallback:
            return self.absences[0][1] is None or self.absences[0][1] >= since
        now = time.monotonic()
        return any(
            (until or now) - begun >= LINGER_SECONDS - SLACK_SECONDS and (until or now) >= since - SLACK_SECONDS
            for begun, until in self.absences
        )


FORMS: tuple[Form, ...] = (Mp3(), Aac(), Opus())


def plan(sources: int) -> list[Stand]:
    """So many mounts: three that never flap and stand in for others, the rest in turn with and without a stand-in, of
    every codec and by every way of sending."""
    stands = [Stand(f"/night.{form.name}", form, "PUT", flaps=False) for form in FORMS]
    ways: tuple[How, ...] = ("PUT", "SOURCE", "chunked", "SHOUTcast")
    for number in range(max(0, sources - len(stands))):
        form = FORMS[number % len(FORMS)]
        how = ways[number // len(FORMS) % (3 if form.name == "opus" else 4)]
        fallback = "" if number % 2 else f"/night.{form.name}"
        stands.append(Stand(f"/m{number}.{form.name}", form, how, fallback, dj=number % 4 >= 2, far=number % 5 == 4))
    return stands

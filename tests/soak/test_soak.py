"""Three minutes of the soak, with a tenth of its listeners."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.report import write
from tests.soak.run import Options, soak

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SHORT = Options(minutes=2, listeners=300, sources=8, churn=5, upgrades=2, reloads=2, stops=1, seed=2)
"""With the warm-up, and until all is gone that lingers, three minutes."""


async def test_nothing_is_left_and_nothing_was_lost(tmp_path: Path) -> None:
    outcome = await soak(SHORT, tmp_path / "castd", print)
    report = write(outcome, tmp_path).read_text()
    assert not outcome.faults, report
    assert outcome.counts["upgrade"] == outcome.counts["reload"] == 2
    # it was no idle time: most have listened all along, encoders came and went, and others took over
    heard = outcome.counts["bytes compared"]
    assert heard > 300 * 2000 * 60
    assert outcome.counts["splices"] > 10
    assert outcome.counts["came by the bad network"] > 5
    assert outcome.counts["dead networks"] > 2
    assert max(each.listeners for each in outcome.samples) > 250

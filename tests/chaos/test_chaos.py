"""A short run of chaos: a few kills of workers, and one of the server."""

from __future__ import annotations

import pytest

from tests.chaos.chaos_run import Plan, run
from tests.patience import PATIENCE

pytestmark = pytest.mark.server

SHORT = Plan(
    seconds=10,
    workers=2,
    clients=4,
    burners=0,
    kill_every=3,
    settle_seconds=PATIENCE,
    heartbeat_timeout=4,
)


async def test_nothing_is_lost_doubled_or_stuck() -> None:
    """Threads of all shapes finish although workers and the server are killed; ``make chaos`` does it for longer."""
    figures, verdict = await run(SHORT, print)
    assert verdict.faults == [], figures

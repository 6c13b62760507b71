"""The worker and the oracle that the attacks of one module share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.attack.foreign import foreign_worker
from tests.attack.graphs import GRAPHS
from tests.attack.oracle import Oracle, watched_log
from tests.conftest import Stage


@pytest.fixture(scope="module")
async def oracle(server: WorkflowEnvironment) -> AsyncIterator[Oracle]:
    """An oracle whose worker serves all attacked graphs."""
    stage = Stage(server.client)
    with watched_log() as log:
        async with stage.serving(*GRAPHS.values()), foreign_worker(stage):
            yield Oracle(stage, log)

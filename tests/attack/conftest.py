"""The worker and the oracle that the attacks of one module share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from stepgraph.temporal.sdk_internals import set_deadlock_timeout
from tests.attack.foreign import foreign_worker
from tests.attack.graphs import GRAPHS
from tests.attack.oracle import CALL_SECONDS, Oracle, watched_log
from tests.conftest import Stage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Random graphs and configs may look like mistakes; that is no fault."""
    for item in items:
        if "attack" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("ignore::stepgraph.errors.GraphWarning"))


@pytest.fixture(scope="module")
async def oracle(server: WorkflowEnvironment) -> AsyncIterator[Oracle]:
    """An oracle whose worker serves all attacked graphs.

    The SDK's limit of 2 seconds for a workflow task is raised, because a busy machine exceeds it. A task that hangs is
    found anyway.
    """
    stage = Stage(server.client)
    with watched_log() as log:
        async with stage.serving(*GRAPHS.values()) as worker, foreign_worker(stage):
            set_deadlock_timeout(worker, int(CALL_SECONDS))
            yield Oracle(stage, log)

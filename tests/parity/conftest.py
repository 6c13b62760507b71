"""One worker for all graphs of a module; the threads of each test are replayed at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.conftest import Stage


@pytest.fixture(scope="module")
async def served(server: WorkflowEnvironment, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """A stage whose worker serves the graphs of the module's cases."""
    stage = Stage(server.client)
    async with stage.serving(*(case.compile() for case in request.module.cases.all)):
        yield stage


@pytest.fixture
async def stage(served: Stage) -> AsyncIterator[Stage]:
    """The same stage with threads of this test's own, which are replayed when it is done."""
    stage = Stage(served.client)
    stage.task_queue, stage.graphs = served.task_queue, served.graphs
    yield stage
    await stage.replay()

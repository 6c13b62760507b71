"""One worker for all graphs of a module. The histories of each test's threads are replayed at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.conftest import Stage


@pytest.fixture(scope="module")
async def module_stage(server: WorkflowEnvironment, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """A stage whose worker serves the graphs of the module's cases."""
    stage = Stage(server.client)
    async with stage.serving(*(case.compile() for case in request.module.cases.all)):
        yield stage


@pytest.fixture
async def stage(module_stage: Stage) -> AsyncIterator[Stage]:
    """A stage with the module's worker and this test's own threads, whose histories are replayed at the end."""
    stage = Stage(module_stage.client)
    stage.task_queue, stage.graphs = module_stage.task_queue, module_stage.graphs
    yield stage
    await stage.replay()

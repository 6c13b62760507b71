"""The fixtures: the deployment of a module's cells, and workers that do not wait for others."""

from __future__ import annotations

import pytest
from temporalio.testing import WorkflowEnvironment

pytest.register_assert_rewrite("tests.temporal.deployments.deployment", "tests.temporal.deployments.trial")

from tests.temporal.deployments.deployment import (  # noqa: E402 (after the rewrite is registered)
    OTHER_WORKER_ATTEMPTS,
    Cell,
    Deployment,
)


@pytest.fixture
def no_other_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no worker wait for another one with other code: there is none."""
    monkeypatch.setattr(OTHER_WORKER_ATTEMPTS, 1)


@pytest.fixture(scope="module")
async def deployment(
    server: WorkflowEnvironment, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Deployment:
    """The deployment of all selected cells of a test module, done once for all of its tests."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    parameters = [item.callspec.params for item in items if item.path == request.path and hasattr(item, "callspec")]
    selected = [cell for each in parameters if isinstance(cell := each.get("cell"), Cell)]
    deployment = Deployment(server.client, selected, tmp_path_factory.mktemp("versions"))
    await deployment.run()
    return deployment

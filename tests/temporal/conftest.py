"""What the tests on a real server share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.worker import Replayer

from stepgraph import GraphPlugin
from tests.conftest import Stage, temporal_binary
from tests.temporal.terminal import Terminal


@pytest.fixture
async def terminal(stage: Stage) -> AsyncIterator[Terminal]:
    """A terminal. What was started on it is replayed when the test is done, whatever became of it."""
    binary = temporal_binary()
    assert binary is not None, "the extra 'embedded' brings the temporal command"
    terminal = Terminal(stage, binary)
    yield terminal
    replayer = Replayer(workflows=[], plugins=[GraphPlugin(list(stage.graphs.values()))])
    for thread, run_id in terminal.started:
        handle = stage.client.get_workflow_handle(thread, run_id=run_id)
        await replayer.replay_workflow(await handle.fetch_history())

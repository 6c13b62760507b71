"""Fixtures of the tests that run workers in the process of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.conftest import Stage, replayer, temporal_binary
from tests.temporal.terminal import Terminal


@pytest.fixture
async def terminal(stage: Stage) -> AsyncIterator[Terminal]:
    """The `temporal` command. Every run that it started is replayed when the test has ended."""
    binary = temporal_binary()
    assert binary is not None, "the extra 'embedded' brings the temporal command"
    terminal = Terminal(stage, binary)
    yield terminal
    replays = replayer(stage.client, stage.graphs.values())
    for thread, run_id in terminal.started:
        handle = stage.client.get_workflow_handle(thread, run_id=run_id)
        await replays.replay_workflow(await handle.fetch_history())


@pytest.fixture
def frequent_heartbeats(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a node notice its cancellation at once, although its heartbeat timeout leaves a busy machine plenty of time.

    A worker learns of a cancellation from the response to a heartbeat.
    """
    monkeypatch.setattr("stepgraph_activities.heartbeats.MAX_INTERVAL", 0.1)
    stage.worker_options["max_heartbeat_throttle_interval"] = timedelta(seconds=0.1)

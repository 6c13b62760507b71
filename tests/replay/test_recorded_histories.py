"""Tests that histories recorded by earlier versions replay with the current code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from stepgraph import GraphPlugin
from tests.replay.scenarios import SCENARIOS

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def test_every_scenario_has_recorded_histories() -> None:
    """The scenarios cover failures, resumes, continue-as-new, fused super-steps, commands and queued inputs."""
    assert {path.stem.rpartition("-")[0] for path in HISTORIES} == set(SCENARIOS)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    """The workflow decides as it did when a history was recorded, so threads in flight continue."""
    history = WorkflowHistory.from_json(path.stem, path.read_text())
    replayer = Replayer(workflows=[], plugins=[GraphPlugin([graph for graph, _ in SCENARIOS.values()])])
    await replayer.replay_workflow(history)


async def test_a_history_of_other_decisions_does_not_replay() -> None:
    """A history with another activity is refused, which shows that the replay test can fail."""
    path = next(path for path in HISTORIES if path.stem == "pipeline-1")
    changed = json.loads(path.read_text().replace("pipeline.first", "pipeline.other"))
    replayer = Replayer(workflows=[], plugins=[GraphPlugin([SCENARIOS["pipeline"][0]])])
    with pytest.raises(Exception, match="Nondeterminism"):
        await replayer.replay_workflow(WorkflowHistory.from_json("changed", json.dumps(changed)))

"""Histories of earlier versions replay on the code as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from stepgraph import GraphPlugin
from tests.replay.scenes import SCENES

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def test_every_scene_has_its_histories() -> None:
    """Failures, resumes, hand-overs, errors at the commit, rows, orders of all kinds and a line are among them."""
    assert {path.stem.rpartition("-")[0] for path in HISTORIES} == set(SCENES)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    """The commands decided today are those that were decided then, so a thread in flight would go on."""
    history = WorkflowHistory.from_json(path.stem, path.read_text())
    replayer = Replayer(workflows=[], plugins=[GraphPlugin([graph for graph, _ in SCENES.values()])])
    await replayer.replay_workflow(history)


async def test_a_history_of_other_decisions_does_not_replay() -> None:
    """The check can fail: a history whose activity is another's is refused."""
    path = next(path for path in HISTORIES if path.stem == "pipeline-1")
    changed = json.loads(path.read_text().replace("pipeline.first", "pipeline.other"))
    replayer = Replayer(workflows=[], plugins=[GraphPlugin([SCENES["pipeline"][0]])])
    with pytest.raises(Exception, match="Nondeterminism"):
        await replayer.replay_workflow(WorkflowHistory.from_json("changed", json.dumps(changed)))

"""Tests that histories recorded by earlier versions replay with the current code."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.worker import Replayer

from stepgraph import GraphPlugin
from stepgraph_workflows import replay_history
from tests.patience import PATIENCE
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


REPLAY_WITHOUT_CODE = """
import asyncio, importlib.abc, json, sys
from pathlib import Path

CODE = ("stepgraph.execution", "stepgraph.graph", "stepgraph_activities", "stepgraph.serde.type_codec")

class NoCode(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith(CODE):
            raise ImportError(f"{name} is not for replays")

sys.meta_path.insert(0, NoCode())

from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from stepgraph_workflows import replay_history

async def main():
    for path in map(Path, sys.argv[1:]):
        history = WorkflowHistory.from_json(path.stem, path.read_text())
        run = await replay_history(history, DataConverter.default)
        answer = run.answer("get_state_history", {})
        print(json.dumps([path.stem, [each["values"] for each in answer["snapshots"]]]))

asyncio.run(main())
"""


def test_histories_are_read_where_no_code_of_a_graph_can_be_imported() -> None:
    """Nothing under the workflow reaches nodes, routers, reducers or types; values come back as they were recorded."""
    script = [sys.executable, "-c", REPLAY_WITHOUT_CODE, *map(str, HISTORIES)]
    lines = subprocess.run(script, capture_output=True, check=True, text=True).stdout.splitlines()
    values = dict(json.loads(line) for line in lines)
    assert values.keys() == {path.stem for path in HISTORIES}
    assert values["folding-1"][0] == {"best": [3], "words": []}  # the reducer failed here
    assert values["folding-2"][0] == {"best": [3, 5, 101], "words": ["high", "low", "[3, 5, 101]"]}


class SilentCodec(PayloadCodec):
    """A codec whose service does not answer."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Never return."""
        await asyncio.Event().wait()
        return list(payloads)

    decode = encode


async def test_a_replay_whose_codec_does_not_answer_ends_when_it_is_cancelled() -> None:
    """The SDK's replayer waits for its worker when it is cancelled, and that worker waits for the codec."""
    history = WorkflowHistory.from_json(HISTORIES[0].stem, HISTORIES[0].read_text())
    silent = dataclasses.replace(DataConverter.default, payload_codec=SilentCodec())
    replay = asyncio.ensure_future(replay_history(history, silent))
    done, _ = await asyncio.wait([replay], timeout=2)
    assert not done
    replay.cancel()
    done, _ = await asyncio.wait([replay], timeout=PATIENCE)
    assert done
    assert replay.cancelled()

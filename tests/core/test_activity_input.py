"""Tests of activity inputs: a request is restored exactly, with the fields that Temporal knows filled in."""

from __future__ import annotations

from typing import Any

import pytest

from stepgraph.engine.checkpoint import CheckpointData
from stepgraph.protocol.activity_input import from_activity_input, to_activity_input
from stepgraph.protocol.fused_run import FusedStepsRequest
from stepgraph.protocol.task_request import TaskRequest

RUN_ID = "0199-run"
TASK_FIELDS: dict[str, Any] = {
    "graph": "research",
    "node": "analyze",
    "step": 3,
    "thread_id": "t1",
    "run_id": RUN_ID,
    "checkpoint_id": f"{RUN_ID}.000002",
    "task_id": "analyze",
    "spec_hash": "abc",
}


def round_trip(request: TaskRequest | FusedStepsRequest, type: str) -> TaskRequest | FusedStepsRequest:
    """Return the request as an activity of this type reads it."""
    return from_activity_input(to_activity_input(request), graph="research", type=type, thread_id="t1", run_id=RUN_ID)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"checkpoint_id": "0198-earlier.000041"},
        {"task_id": "push:0"},
        {"node": "a.b", "task_id": "a.b"},
        {"node": "__start__", "task_id": "__start__", "input": {"query": "x"}},
        {"state": {"a": [1, None]}, "routers": ("route",), "answers": ("yes", None), "config": {"tags": ["x"]}},
    ],
)
def test_a_task_request_survives_a_round_trip(changes: dict[str, Any]) -> None:
    """Fields that the activity input leaves out are filled in from the activity's own data."""
    request = TaskRequest(**{**TASK_FIELDS, **changes})
    assert round_trip(request, f"research.{request.node}") == request


def test_a_fused_steps_request_survives_a_round_trip() -> None:
    """Fields that the activity input leaves out are filled in from the activity's own data."""
    head = CheckpointData(id=f"{RUN_ID}.000002", step=2, source="loop", created_at="now", triggers=("analyze",))
    request = FusedStepsRequest(
        graph="research",
        thread_id="t1",
        run_id=RUN_ID,
        spec_hash="abc",
        head=head,
        checkpoints_made=2,
        steps_left=7,
        breaks=(("a",), ()),
        max_steps=1,
        max_seconds=0.5,
        max_bytes=10,
    )
    assert round_trip(request, "research.steps") == request


def test_fields_that_temporal_knows_are_left_out() -> None:
    """An activity input omits what Temporal records anyway, because it is in the history of every super-step."""
    assert to_activity_input(TaskRequest(**TASK_FIELDS)) == {"step": 3, "checkpoint_id": ".000002", "spec_hash": "abc"}


@pytest.mark.parametrize("data", [None, [], "x", {}, {"step": "three"}, {"head": {}}])
def test_data_that_is_not_a_request_is_refused(data: Any) -> None:
    """Reading an invalid activity input raises a `ValueError`, which pydantic's validation errors are."""
    with pytest.raises(ValueError, match=r".+"):
        from_activity_input(data, graph="research", type="research.a", thread_id="t1", run_id=RUN_ID)

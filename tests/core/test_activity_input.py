"""Tests of activity inputs: a request is restored exactly, with the fields that Temporal knows filled in."""

from __future__ import annotations

from typing import Any

import pytest

from stepgraph.drive.thread_io import authors_of
from stepgraph.engine.changes import Splice
from stepgraph.engine.checkpoint import CheckpointData, TaskResult, new_tasks
from stepgraph.engine.folding import Entry
from stepgraph.engine.ids import task_id
from stepgraph.protocol.activity_input import ActivityRequest, from_activity_input, to_activity_input
from stepgraph.protocol.apply_writes_request import ApplyWritesRequest, AuthorWrites
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
    "task_id": task_id(f"{RUN_ID}.000002", "analyze"),
    "spec_hash": "abc",
}


def round_trip(request: ActivityRequest, type: str) -> ActivityRequest:
    """Return the request as an activity of this type reads it."""
    return from_activity_input(to_activity_input(request), graph="research", type=type, thread_id="t1", run_id=RUN_ID)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"checkpoint_id": "0198-earlier.000041"},
        {"task_id": "0123456789abcdef", "planned_at": f"{RUN_ID}.000001"},
        {"task_id": "0123456789abcdef", "sent_number": 0, "input": {"query": "x"}},
        {"node": "a.b", "task_id": task_id(f"{RUN_ID}.000002", "a.b")},
        {"node": "__start__", "task_id": task_id(f"{RUN_ID}.000002", "__start__"), "input": {"query": "x"}},
        {"stamps": {"tags": "set[str]#1"}, "storage": True},
        {"state": {"a": [1, None]}, "answers": ("yes", None), "config": {"tags": ["x"]}},
    ],
)
def test_a_task_request_survives_a_round_trip(changes: dict[str, Any]) -> None:
    """Fields that the activity input leaves out are filled in from the activity's own data."""
    request = TaskRequest(**{**TASK_FIELDS, **changes})
    assert round_trip(request, f"research.{request.node}") == request


def test_a_fused_steps_request_survives_a_round_trip() -> None:
    """Fields that the activity input leaves out are filled in from the activity's own data."""
    head = CheckpointData(
        id=f"{RUN_ID}.000002", step=2, source="loop", created_at="now", tasks=new_tasks("x", ("analyze",))
    )
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


def test_a_request_to_apply_writes_survives_a_round_trip() -> None:
    """A node may have the name of its activity type: the request is told apart by its channels."""
    shared = {name: value for name, value in TASK_FIELDS.items() if name not in ("node", "task_id")}
    result = TaskResult(writes=({"log": ["x"]},), changes={"log": Splice(keep=1, items=["x"])}, unrouted=True)
    authors = (AuthorWrites(key="0", node="analyze", result=result, route=True),)
    for request in (
        ApplyWritesRequest(**shared, authors=authors, channels=(), state={"log": []}),
        ApplyWritesRequest(**shared, channels=("log",)),
    ):
        assert round_trip(request, "research.apply_writes") == request


def test_a_request_that_only_asks_routers_survives_a_round_trip() -> None:
    """Nothing has to be folded, and what the tasks wrote is too large, so the activity queries for it."""
    shared = {name: value for name, value in TASK_FIELDS.items() if name not in ("node", "task_id")}
    request = ApplyWritesRequest(**shared, channels=())
    assert round_trip(request, "research.apply_writes") == request


def test_the_writes_that_are_queried_for_say_whose_routers_are_to_be_asked() -> None:
    """They are as complete as those that travel in the request."""
    result = TaskResult(writes=({"log": ["x"]},), unrouted=True)
    (author,) = authors_of([Entry("0123456789abcdef", "analyze", result)])
    assert author.route


def test_fields_that_temporal_knows_are_left_out() -> None:
    """An activity input omits what Temporal records anyway, because it is in the history of every super-step.

    A task's id is left out if it is that of the node's only task, planned at this checkpoint.
    """
    assert to_activity_input(TaskRequest(**TASK_FIELDS)) == {
        "v": 1,
        "step": 3,
        "checkpoint_id": ".000002",
        "spec_hash": "abc",
    }


@pytest.mark.parametrize("data", [None, [], "x", {}, {"step": "three"}, {"head": {}}, {"channels": ["log"]}])
def test_data_that_is_not_a_request_is_refused(data: Any) -> None:
    """Reading an invalid activity input raises a `ValueError`, which pydantic's validation errors are."""
    with pytest.raises(ValueError, match=r".+"):
        from_activity_input(data, graph="research", type="research.a", thread_id="t1", run_id=RUN_ID)

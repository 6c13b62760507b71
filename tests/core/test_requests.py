"""What an activity is asked comes back whole, with what Temporal tells it of itself."""

from __future__ import annotations

from typing import Any

import pytest

from stepgraph.engine.checkpoint import CheckpointData
from stepgraph.protocol.activity_input import from_activity_input, to_activity_input
from stepgraph.protocol.fused_run import FusedStepsRequest
from stepgraph.protocol.task_request import TaskRequest

RUN = "0199-run"
TASK: dict[str, Any] = {
    "graph": "research",
    "node": "analyze",
    "step": 3,
    "thread_id": "t1",
    "run_id": RUN,
    "checkpoint_id": f"{RUN}.000002",
    "task_id": "analyze",
    "spec_hash": "abc",
}


def there_and_back(request: TaskRequest | FusedStepsRequest, type: str) -> TaskRequest | FusedStepsRequest:
    return from_activity_input(to_activity_input(request), graph="research", type=type, thread_id="t1", run_id=RUN)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"checkpoint_id": "0198-earlier.000041"},
        {"task_id": "push:0"},
        {"node": "a.b", "task_id": "a.b"},
        {"node": "__start__", "task_id": "__start__", "input": {"query": "x"}},
        {"state": {"a": [1, None]}, "routers": ("route",), "answers": ("yes", None), "config": {"tags": ["x"]}},
    ],
)
def test_a_task_comes_back_whole(more: dict[str, Any]) -> None:
    """Whatever was left out."""
    request = TaskRequest(**{**TASK, **more})
    assert there_and_back(request, f"research.{request.node}") == request


def test_super_steps_come_back_whole() -> None:
    """Likewise."""
    head = CheckpointData(id=f"{RUN}.000002", step=2, source="loop", created_at="now", triggers=("analyze",))
    request = FusedStepsRequest(
        graph="research",
        thread_id="t1",
        run_id=RUN,
        spec_hash="abc",
        head=head,
        checkpoints_made=2,
        steps_left=7,
        breaks=(("a",), ()),
        max_steps=1,
        max_seconds=0.5,
        max_bytes=10,
    )
    assert there_and_back(request, "research.steps") == request


def test_what_temporal_tells_is_not_told_again() -> None:
    """It would be in the history of every super-step."""
    assert to_activity_input(TaskRequest(**TASK)) == {"step": 3, "checkpoint_id": ".000002", "spec_hash": "abc"}


@pytest.mark.parametrize("given", [None, [], "x", {}, {"step": "three"}, {"head": {}}])
def test_what_is_no_request_is_refused(given: Any) -> None:
    """With a `ValueError`, which pydantic's is."""
    with pytest.raises(ValueError, match=r".+"):
        from_activity_input(given, graph="research", type="research.a", thread_id="t1", run_id=RUN)

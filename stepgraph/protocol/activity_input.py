"""What an activity is asked, without what Temporal tells it anyway: its type, its workflow, its run.

An activity's input is in the history of every super-step, so its size counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.protocol.fused_run import FusedStepsRequest
from stepgraph.protocol.names import activity_type
from stepgraph.protocol.task_request import TaskRequest


def to_activity_input(request: TaskRequest | FusedStepsRequest) -> dict[str, Any]:
    """A request as JSON data."""
    left_out = {"graph", "thread_id", "run_id"}
    if isinstance(request, FusedStepsRequest):
        return request.model_dump(mode="json", exclude_defaults=True, exclude=left_out)
    left_out |= {"node"}
    if request.task_id == request.node:
        left_out |= {"task_id"}
    short = request.model_dump(mode="json", exclude_defaults=True, exclude=left_out)
    if short["checkpoint_id"].startswith(f"{request.run_id}."):
        short["checkpoint_id"] = short["checkpoint_id"].removeprefix(request.run_id)
    return short


def from_activity_input(
    given: Any, *, graph: str, type: str, thread_id: str, run_id: str
) -> TaskRequest | FusedStepsRequest:
    """The request, from its JSON data and from what the activity is told of itself. `ValueError` if it is none."""
    if not isinstance(given, Mapping):
        raise ValueError("not a JSON object")
    told = {"graph": graph, "thread_id": thread_id, "run_id": run_id, **given}
    if "head" in given:
        return FusedStepsRequest.model_validate(told)
    node = type.removeprefix(activity_type(graph, ""))
    told = {"node": node, "task_id": node, **told}
    if str(told.get("checkpoint_id", "")).startswith("."):
        told["checkpoint_id"] = f"{run_id}{told['checkpoint_id']}"
    return TaskRequest.model_validate(told)

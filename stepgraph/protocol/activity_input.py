"""The input of an activity as JSON data, without what an activity knows anyway: its type, its workflow and its run.

The history records an activity's input for every super-step, so its size matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.engine.ids import task_id
from stepgraph.protocol.apply_writes_request import ApplyWritesRequest
from stepgraph.protocol.fused_run import FusedStepsRequest
from stepgraph.protocol.names import activity_type, apply_writes_type
from stepgraph.protocol.task_request import TaskRequest

ActivityRequest = TaskRequest | FusedStepsRequest | ApplyWritesRequest


def to_activity_input(request: ActivityRequest) -> dict[str, Any]:
    """Return the request as JSON data, without defaults and without what `from_activity_input` can restore."""
    restorable = {"graph", "thread_id", "run_id"}
    if isinstance(request, FusedStepsRequest):
        return request.model_dump(mode="json", exclude_defaults=True, exclude=restorable)
    if isinstance(request, TaskRequest):
        restorable |= {"node"}
        if request.task_id == task_id(request.checkpoint_id, request.node):
            restorable |= {"task_id"}
    data = request.model_dump(mode="json", exclude_defaults=True, exclude=restorable)
    if data["checkpoint_id"].startswith(f"{request.run_id}."):
        data["checkpoint_id"] = data["checkpoint_id"].removeprefix(request.run_id)
    return data


def from_activity_input(data: Any, *, graph: str, type: str, thread_id: str, run_id: str) -> ActivityRequest:
    """Restore a request from an activity's input, and from the ids that Temporal gives the activity.

    Args:
        data: the input.
        graph: the workflow type.
        type: the activity type.
        thread_id: the workflow id.
        run_id: the workflow's run id.

    Raises:
        ValueError: the input is not a request.
        UnknownFormatError: another version of stepgraph made the request.
    """
    if not isinstance(data, Mapping):
        raise ValueError("not a JSON object")
    fields = {"graph": graph, "thread_id": thread_id, "run_id": run_id, **data}
    if "head" in data:
        return FusedStepsRequest.model_validate(fields)
    if str(fields.get("checkpoint_id", "")).startswith("."):
        fields["checkpoint_id"] = f"{run_id}{fields['checkpoint_id']}"
    if type == apply_writes_type(graph) and "channels" in data:
        return ApplyWritesRequest.model_validate(fields)
    node = type.removeprefix(activity_type(graph, ""))
    own_id = task_id(str(fields.get("checkpoint_id", "")), node)
    return TaskRequest.model_validate({"node": node, "task_id": own_id, **fields})

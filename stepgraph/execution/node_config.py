"""The ``config`` that nodes and routers get: LangGraph's, with the ids of the task."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from stepgraph.engine.spec import GraphSpec
from stepgraph.protocol.config import CONTEXT
from stepgraph.protocol.task_path import namespace_of, path_of, triggers_of
from stepgraph.protocol.task_request import TaskRequest


def node_config(spec: GraphSpec, request: TaskRequest, attempt: int, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config for one attempt at a task. It is a copy, which the node may change.

    Its ``metadata`` has the caller's keys, the node's, LangGraph's (``langgraph_node``, ``langgraph_step``,
    ``langgraph_triggers``, ``langgraph_path``, ``langgraph_checkpoint_ns``), and stepgraph's.

    Args:
        spec: the run's spec.
        request: the task.
        attempt: the number of the attempt.
        metadata: what the node's author says of it.
    """
    config = copy.deepcopy(request.config)
    config.pop(CONTEXT, None)  # for `Runtime.context`
    config["configurable"] = {
        **config.get("configurable", {}),
        "thread_id": request.thread_id,
        "checkpoint_id": request.checkpoint_id,
    }
    config["metadata"] = {
        **config.get("metadata", {}),
        **metadata,
        "thread_id": request.thread_id,
        "langgraph_step": request.step,
        "langgraph_node": request.node,
        "langgraph_triggers": triggers_of(spec, request.node, request.sent_number),
        "langgraph_path": path_of(request.node, request.sent_number),
        "langgraph_checkpoint_ns": namespace_of(request.node, request.task_id),
        "graph": request.graph,
        "node": request.node,
        "step": request.step,
        "run_id": request.run_id,
        "task_id": request.task_id,
        "attempt": attempt,
        "idempotency_key": request.idempotency_key,
    }
    return config

"""The Temporal activities of stepgraph: run nodes, apply writes, open a thread, read a checkpoint.

Owns what an activity owes Temporal: heartbeats, cancellation, which failures are final, where a task's state comes
from, and how functions that are not async run on threads.

Knows nothing of what a node may return (`stepgraph.execution`), of which tasks are due (`stepgraph.engine`), or of the
workflow that schedules the activities (`stepgraph_workflows`).

Read in this order: `dynamic_activity` (the entry point), `node_activity`, `state_source`, `fused_activity`,
`apply_writes_activity`. The activities for a thread as a whole are in `open_thread` and `read_checkpoint`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from stepgraph.execution.node_services import no_store
from stepgraph.execution.registry import GraphRegistry
from stepgraph.temporal.records import QueryRun, query_run
from stepgraph_activities.dynamic_activity import GraphActivity
from stepgraph_activities.open_thread import OpenThreadActivity
from stepgraph_activities.read_checkpoint import ReadCheckpointActivity

__all__ = ["activities_for"]


def activities_for(
    graphs: Mapping[str, GraphRegistry],
    executor: Executor,
    *,
    query: QueryRun = query_run,
    open_store: Callable[[], Any] = no_store,
) -> list[Callable[..., Any]]:
    """Return the activity functions to register with a worker.

    Args:
        graphs: the graphs that the worker serves, by name. They may change while it runs.
        executor: runs the nodes and routers that are not async.
        query: how to query other runs; by default, their workers are queried.
        open_store: returns the store of graphs that were compiled without one; called when a node first asks for it.
    """
    return [
        GraphActivity(graphs, executor, open_store).run,
        OpenThreadActivity(graphs, query).open_thread,
        ReadCheckpointActivity(query).read_checkpoint,
    ]

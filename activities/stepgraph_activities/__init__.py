"""The Temporal activities of stepgraph: run one node, run super-steps in a row, open a thread, help an update.

`activities_for` makes them for a worker that serves certain graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from stepgraph.execution.registry import GraphRegistry
from stepgraph_activities.command_activities import UpdatingActivities
from stepgraph_activities.dynamic_activity import GraphActivity
from stepgraph_activities.open_thread import OpeningActivity

__all__ = ["activities_for"]


def activities_for(graphs: Mapping[str, GraphRegistry], executor: Executor) -> list[Callable[..., Any]]:
    """The activity functions to register with a worker; functions of nodes that are not async run on the executor."""
    updating = UpdatingActivities(graphs, executor)
    return [
        GraphActivity(graphs, executor).run,
        OpeningActivity(graphs).open_thread,
        updating.read_checkpoint,
        updating.route,
    ]

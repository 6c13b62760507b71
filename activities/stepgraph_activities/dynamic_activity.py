"""The one dynamic activity of a worker. What it is given says what it is to do: one task, or super-steps in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from pydantic import ValidationError
from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from stepgraph.execution.registry import GraphRegistry
from stepgraph.protocol.activity_input import from_activity_input
from stepgraph.protocol.fused_run import FusedStepsRequest
from stepgraph.temporal.payloads import from_raw
from stepgraph_activities.fused_activity import StepsActivity
from stepgraph_activities.node_activity import NodeActivity


class GraphActivity:
    """Everything that graphs have activities for."""

    def __init__(self, graphs: Mapping[str, GraphRegistry], executor: Executor) -> None:
        self._node = NodeActivity(graphs, executor)
        self._steps = StepsActivity(graphs, executor)

    @activity.defn(dynamic=True)
    async def run(self, args: Sequence[RawValue]) -> RawValue:
        """Whichever its type says: ``research.analyze``, ``research.steps``."""
        info = activity.info()
        try:
            request = from_activity_input(
                from_raw(args[0]),
                graph=info.workflow_type or "",
                type=info.activity_type,
                thread_id=info.workflow_id or "",
                run_id=info.workflow_run_id or "",
            )
        except (ValidationError, ValueError, IndexError) as error:
            raise ApplicationError(
                f"Activity {info.activity_type!r} is no task of a graph, or comes from another version of stepgraph.",
                type="UnknownActivity",
                non_retryable=True,
            ) from error
        if isinstance(request, FusedStepsRequest):
            return await self._steps.run(request)
        return await self._node.run(request)

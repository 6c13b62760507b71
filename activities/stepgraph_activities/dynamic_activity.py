"""The dynamic activity of a worker: it takes every activity type of its graphs.

A worker can have one dynamic activity only. The activity type and the input decide whether it runs one node
(``research.analyze``) or fused super-steps (``research.steps``), or applies writes (``research.apply_writes``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from stepgraph.errors import UnknownFormatError
from stepgraph.execution.node_services import no_store
from stepgraph.execution.registry import GraphRegistry
from stepgraph.protocol.activity_input import from_activity_input
from stepgraph.protocol.apply_writes_request import ApplyWritesRequest
from stepgraph.protocol.fused_run import FusedStepsRequest
from stepgraph.serde.error_text import first_line
from stepgraph.temporal.payloads import from_raw
from stepgraph_activities.apply_writes_activity import ApplyWritesActivity
from stepgraph_activities.fused_activity import FusedStepsActivity
from stepgraph_activities.node_activity import NodeActivity
from stepgraph_activities.other_worker import other_worker_delay


class GraphActivity:
    """Dispatches an activity to `NodeActivity`, `FusedStepsActivity` or `ApplyWritesActivity`."""

    def __init__(
        self, graphs: Mapping[str, GraphRegistry], executor: Executor, open_store: Callable[[], Any] = no_store
    ) -> None:
        self._node = NodeActivity(graphs, executor, open_store)
        self._fused_steps = FusedStepsActivity(graphs, executor, open_store)
        self._apply_writes = ApplyWritesActivity(graphs, executor, open_store)

    @activity.defn(dynamic=True)
    async def run(self, args: Sequence[RawValue]) -> RawValue:
        """Run the activity that the input asks for. An input that is no request of stepgraph's fails for good."""
        info = activity.info()
        try:
            request = from_activity_input(
                from_raw(args[0]),
                graph=info.workflow_type or "",
                type=info.activity_type,
                thread_id=info.workflow_id or "",
                run_id=info.workflow_run_id or "",
            )
        except UnknownFormatError as error:
            delay = other_worker_delay(info.attempt)
            raise ApplicationError(
                error.message, type="UnknownActivity", non_retryable=delay is None, next_retry_delay=delay
            ) from error
        except (ValueError, IndexError) as error:  # pydantic's, too
            raise ApplicationError(
                f"Activity {info.activity_type!r} is no task of a graph, or comes from another version of stepgraph: "
                f"{first_line(error)}.",
                type="UnknownActivity",
                non_retryable=True,
            ) from error
        if isinstance(request, FusedStepsRequest):
            return await self._fused_steps.run(request)
        if isinstance(request, ApplyWritesRequest):
            return await self._apply_writes.run(request)
        return await self._node.run(request)

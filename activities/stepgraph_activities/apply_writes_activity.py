"""The activity that applies writes with the graph's code: ``research.apply_writes``.

Owns what Temporal needs: heartbeats, and where the values and the writes come from. What is done with them is decided
by `stepgraph.execution.apply_writes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any

from temporalio import activity
from temporalio.common import RawValue

from stepgraph.execution.apply_writes import apply_writes
from stepgraph.execution.node_services import NodeServices, no_store
from stepgraph.execution.registry import GraphRegistry
from stepgraph.execution.run_code import RunCode
from stepgraph.protocol.apply_writes_request import ApplyWritesRequest
from stepgraph.protocol.thread_errors import fault_of
from stepgraph.serde.sizes import size_limit
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.payloads import failure, to_raw
from stepgraph.temporal.storage import uses_storage
from stepgraph_activities.cancellable_thread import run_on_thread
from stepgraph_activities.heartbeats import heartbeats
from stepgraph_activities.other_worker import leave_to_another_worker, registry_of
from stepgraph_activities.state_source import StateUnavailableError, load_spec, load_state, load_writes

log = get_logger("apply_writes")


class ApplyWritesActivity:
    """Applies writes to threads of the graphs that a worker serves."""

    def __init__(
        self, graphs: Mapping[str, GraphRegistry], executor: Executor, open_store: Callable[[], Any] = no_store
    ) -> None:
        self._graphs = graphs
        self._executor = executor
        self._open_store = open_store

    async def run(self, request: ApplyWritesRequest) -> RawValue:
        """Make one attempt. An error of the graph's code is an answer; a state that cannot be read is a failure."""
        info = activity.info()
        registry = registry_of(self._graphs, request, attempt=info.attempt)
        bound = log.bind(graph=request.graph, thread=request.thread_id, run=request.run_id, step=request.step)
        try:
            async with heartbeats():
                state = await load_state(request)
                authors = request.authors if request.authors is not None else await load_writes(request)
                result = await apply_writes(
                    RunCode(registry, await load_spec(registry, request), NodeServices(self._open_store)),
                    request,
                    authors,
                    state,
                    run_sync=partial(run_on_thread, self._executor),
                    limit=size_limit(uses_external_storage=request.storage and uses_storage(activity.client())),
                )
        except StateUnavailableError as error:
            raise error.as_failure() from error
        except Exception as error:  # of stepgraph: another attempt would meet it again
            fault = fault_of(error)
            raise failure(fault.message, fault.to_wire(), type=type(fault).__name__) from error
        if result.error is not None:
            bound.warning("writes not applied", error=f"{result.error.get('type')}: {result.error.get('message')}")
            leave_to_another_worker(result.error, info.attempt)
        else:
            bound.info("writes applied", channels=sorted(result.changes), asked=len(result.results))
        return to_raw(result)

"""The activity with which every run begins. It reads the spec, the settings and the thread's record.

Its answer is recorded in the run's history, so a replay uses the same data on any worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from difflib import get_close_matches

from temporalio import activity
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from stepgraph.engine.record import Record
from stepgraph.errors import StepgraphError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.protocol.names import OPEN_THREAD, SHARED_TASK_QUEUE, task_queue_of
from stepgraph.protocol.opening import Opening, OpenRequest
from stepgraph.temporal.executions import MAX_RUNS_LISTED, Run, latest_run, list_runs
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph.temporal.records import QueryRun, load_record
from stepgraph.temporal.search_attributes import attributes_registered
from stepgraph.temporal.settings import run_settings
from stepgraph.temporal.storage import uses_storage
from stepgraph.temporal.task_queues import has_workers

POLLER_CHECKS = 4
"""How many times to ask the server for workers of a graph's own task queue."""

POLLER_CHECK_SECONDS = 0.5
"""The pause after each of these checks."""

VISIBILITY_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between requests to the visibility store. After the last one the attempt fails; Temporal makes another."""


class OpenThreadActivity:
    """Opens threads of the graphs that a worker serves."""

    def __init__(self, graphs: Mapping[str, GraphRegistry], query: QueryRun) -> None:
        self._graphs = graphs
        self._query = query

    @activity.defn(name=OPEN_THREAD)
    async def open_thread(self, raw: RawValue) -> RawValue:
        """Return the graph's spec in this worker's code, the settings, and the record of the thread's previous run."""
        request = OpenRequest.model_validate(from_raw(raw))
        try:
            record = None if request.has_record else await _record_before(activity.client(), request, self._query)
        except StepgraphError as error:  # another attempt reads the same
            raise ApplicationError(
                error.message, error.to_wire(), type=type(error).__name__, non_retryable=True
            ) from error
        registry = self._graphs.get(request.graph)
        settings = run_settings(
            search_attributes=await attributes_registered(activity.client()),
            uses_external_storage=uses_storage(activity.client()),
        )
        opening = Opening(
            settings=settings.model_copy(update={"task_queue": await self._own_task_queue(request)}),
            spec=registry.spec if registry is not None else None,
            record=record,
            known=() if registry is not None else tuple(sorted(self._graphs)),
        )
        return to_raw(opening)

    async def _own_task_queue(self, request: OpenRequest) -> str | None:
        """Return the graph's own task queue if the run came by the shared one, and a worker polls the graph's own.

        A worker that has just started is listed late, so the server is asked again if this worker lacks the graph. A
        name that is nearly that of a graph here is taken for a mistake.
        """
        if request.task_queue != SHARED_TASK_QUEUE:
            return None
        task_queue = task_queue_of(request.graph)
        may_be_late = request.graph not in self._graphs and not get_close_matches(request.graph, self._graphs, n=1)
        for _ in range(POLLER_CHECKS if may_be_late else 1):
            if await has_workers(activity.client(), task_queue):
                return task_queue
            if may_be_late:
                await asyncio.sleep(POLLER_CHECK_SECONDS)
        return None


async def _record_before(client: Client, request: OpenRequest, query: QueryRun) -> Record | None:
    """Return the record of the thread's run before this one; `None` if there is none.

    A client that starts a run names the run before it. For a run that was started by hand, the visibility store is
    searched, which lags behind.
    """
    if request.by_client:
        previous = await latest_run(client, request.thread_id, request.after) if request.after else None
        return await load_record(client, previous, query=query) if previous is not None else None
    for run in await _visible_runs(client, request):
        if run.run_id != request.run_id and (record := await load_record(client, run, query=query)) is not None:
            return record
    return None


async def _visible_runs(client: Client, request: OpenRequest) -> list[Run]:
    """Return the thread's runs once the visibility store has the requesting run, and so every run before it."""
    for pause in VISIBILITY_PAUSES:
        runs = await list_runs(client, request.thread_id, limit=MAX_RUNS_LISTED)
        if any(run.run_id == request.run_id for run in runs):
            return runs
        await asyncio.sleep(pause)
    raise RuntimeError(f"The visibility store does not list run {request.run_id} yet, and may lack the run before it.")

"""The local activity with which every run begins. It reads the spec, the settings and the thread's record.

Its answer is recorded in the run's history, so a replay uses the same data on any worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from temporalio import activity
from temporalio.client import Client
from temporalio.common import RawValue

from stepgraph.engine.record import Record
from stepgraph.execution.registry import GraphRegistry
from stepgraph.protocol.names import OPEN_THREAD
from stepgraph.protocol.opening import Opening, OpenRequest
from stepgraph.temporal.executions import MAX_RUNS_LISTED, Run, latest_run, list_runs
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph.temporal.records import load_record
from stepgraph.temporal.search_attributes import attributes_registered
from stepgraph.temporal.settings import run_settings
from stepgraph.temporal.storage import uses_storage

VISIBILITY_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between requests to the visibility store. After the last one the attempt fails; Temporal makes another."""


class OpenThreadActivity:
    """Opens threads of the graphs that a worker serves."""

    def __init__(self, graphs: Mapping[str, GraphRegistry]) -> None:
        self._graphs = dict(graphs)

    @activity.defn(name=OPEN_THREAD)
    async def open_thread(self, raw: RawValue) -> RawValue:
        """Return the graph's spec in this worker's code, the settings, and the record of the thread's previous run."""
        request = OpenRequest.model_validate(from_raw(raw))
        record = None if request.has_record else await _record_before(activity.client(), request)
        registry = self._graphs.get(request.graph)
        opening = Opening(
            settings=run_settings(
                search_attributes=await attributes_registered(activity.client()),
                uses_external_storage=uses_storage(activity.client()),
            ),
            spec=registry.spec if registry is not None else None,
            record=record,
            known=() if registry is not None else tuple(sorted(self._graphs)),
        )
        return to_raw(opening)


async def _record_before(client: Client, request: OpenRequest) -> Record | None:
    """Return the record of the thread's run before this one; `None` if there is none.

    A client that starts a run names the run before it. For a run that was started by hand, the visibility store is
    searched, which lags behind.
    """
    if request.by_client:
        previous = await latest_run(client, request.thread_id, request.after) if request.after else None
        return await load_record(client, previous) if previous is not None else None
    for run in await _visible_runs(client, request):
        if run.run_id != request.run_id and (record := await load_record(client, run)) is not None:
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

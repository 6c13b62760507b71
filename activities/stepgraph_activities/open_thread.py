"""The local activity with which every run begins: what the run is to work from.

Its answer is recorded in the run's history, so a replay, on whichever worker, works from the same.
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
from stepgraph.temporal.executions import MAX_RUNS_LISTED, Run, latest_run, runs_of
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph.temporal.records import load_record
from stepgraph.temporal.search_attributes import attributes_registered
from stepgraph.temporal.settings import run_settings
from stepgraph.temporal.storage import uses_storage

VISIBILITY_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between looks for a run started by hand; then the attempt fails, and the next one looks again."""


class OpeningActivity:
    """Opens threads of the graphs a worker has."""

    def __init__(self, graphs: Mapping[str, GraphRegistry]) -> None:
        self._graphs = dict(graphs)

    @activity.defn(name=OPEN_THREAD)
    async def open_thread(self, raw: RawValue) -> RawValue:
        """The spec as this worker's code has it, the settings, and the record of the thread's previous run."""
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
    """The record of the thread's run before this one.

    A client names that run, having asked the server, which is consistent. Only for a run started by hand has visibility
    to be asked, which lags.
    """
    if request.by_client:
        named = await latest_run(client, request.thread_id, request.after) if request.after else None
        return await load_record(client, named) if named is not None else None
    for run in await _visible_runs(client, request):
        if run.run_id != request.run_id and (record := await load_record(client, run)) is not None:
            return record
    return None


async def _visible_runs(client: Client, request: OpenRequest) -> list[Run]:
    """The thread's runs, once visibility has come as far as this very run: what was before it is there by then."""
    for pause in VISIBILITY_PAUSES:
        found = await runs_of(client, request.thread_id, limit=MAX_RUNS_LISTED)
        if any(run.run_id == request.run_id for run in found):
            return found
        await asyncio.sleep(pause)
    raise RuntimeError(f"visibility does not show run {request.run_id} yet, so neither perhaps the one before it")

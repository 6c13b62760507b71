"""The local activity with which every run begins: what the run is to work from.

Its answer is recorded in the run's history, so a replay, on whichever worker, works from the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from temporalio import activity
from temporalio.client import Client
from temporalio.common import RawValue

from stepgraph.code import GraphCode
from stepgraph.engine.record import Record
from stepgraph.payloads import from_raw, to_raw
from stepgraph.runs import latest_run, load_record, runs_of
from stepgraph.settings import run_settings
from stepgraph.wire import OPEN_THREAD, Opening, OpenRequest

RUNS_LOOKED_AT = 10


class OpeningActivity:
    """Opens threads of the graphs a worker has."""

    def __init__(self, graphs: Mapping[str, GraphCode]) -> None:
        self._graphs = dict(graphs)

    @activity.defn(name=OPEN_THREAD)
    async def open_thread(self, raw: RawValue) -> RawValue:
        """The spec as this worker's code has it, the settings, and the record of the thread's previous run."""
        request = OpenRequest.model_validate(from_raw(raw))
        record = None if request.has_record else await _record_before(activity.client(), request)
        code = self._graphs.get(request.graph)
        opening = Opening(
            settings=run_settings(),
            spec=code.spec if code is not None else None,
            record=record,
            known=() if code is not None else tuple(sorted(self._graphs)),
        )
        return to_raw(opening)


async def _record_before(client: Client, request: OpenRequest) -> Record | None:
    """The record of the thread's run before this one.

    A client names that run, having asked the server, which is consistent. Only for a run started by hand has visibility
    to be asked, where a run that closed within the last second or so may be missing.
    """
    if request.by_client:
        named = await latest_run(client, request.thread_id, request.after) if request.after else None
        return await load_record(client, named) if named is not None else None
    for run in await runs_of(client, request.thread_id, limit=RUNS_LOOKED_AT):
        if run.run_id != request.run_id and (record := await load_record(client, run)) is not None:
            return record
    return None
